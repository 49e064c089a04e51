"""The figures of a comparison as a reader sees them: what each column of its two tables says of a row, and of its lower bound."""

from __future__ import annotations

from headwater.compute.twin.accounts import Amount
from headwater.compute.twin.metrics import Spread
from headwater.compute.twin.replay import Row

NOT_KNOWN = "not known"
NO_BOUND = "-"
HEADINGS = {
    "time": (
        "policy", "sites", "completion", "median", "p99", "wait", "median", "p99", "slowdown", "use", "fragm.", "fair", "missed", "stops",
        "lost unit-h", "/bound",
    ),
    "accounts": (
        "policy", "sites", "cost yuan", "hire", "electricity", "egress", "egress GiB", "energy MWh", "CO2 t, grid", "CO2 t, contract",
    ),
}  # fmt: skip
Cells = tuple[str, ...]


def duration(seconds: float | None) -> str:
    """Return a time as people read it."""
    if seconds is None:
        return NOT_KNOWN
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def figure(value: float | None, form: str = ",.2f") -> str:
    return NOT_KNOWN if value is None else format(value, form)


def amount(found: Amount, per: float, form: str = ",.0f") -> str:
    """Return a sum in a larger unit; where a part of it is not known, what it is at least."""
    if found.unknown_share == 0:
        return format(found.known / per, form)
    return NOT_KNOWN if found.unknown_share == 1 else f"over {found.known / per:{form}} ({found.unknown_share:.0%} not known)"


def of_accounts(row: Row) -> bool:
    """Tell whether any price, power or moved input is known."""
    found = row.measured.account
    if found is None:
        return False
    return found.egress_gib > 0 or any(part.known > 0 for part in (found.hire_fen, found.electricity_fen, found.energy_kwh))


def cells(row: Row, part: str) -> Cells:
    """Return one row of a table, by HEADINGS."""
    name = row.measured.policy + ("" if row.measured.complete else " (partial)")
    return (name, row.variant, *(_times(row) if part == "time" else _accounts(row)))


def bound_cells(row: Row, part: str) -> Cells:
    """Return what no schedule of the variant that a row belongs to can beat."""
    return ("lower bound", row.variant, *(_time_bounds(row) if part == "time" else _account_bounds(row)))


def _times(row: Row) -> Cells:
    found = row.measured
    completion, wait, bounds = found.completion_s, found.wait_s, found.bounds
    ratio = completion.mean / bounds.mean_completion_s if completion is not None and bounds is not None else None
    return (
        *_spread(completion),
        *_spread(wait),
        figure(found.slowdown.mean if found.slowdown else None, ",.1f"),
        figure(found.utilisation, ".1%"),
        figure(found.fragmentation, ".1%"),
        figure(found.fairness, ".3f"),
        f"{found.missed:,} of {found.deadlines:,}" if found.deadlines else NO_BOUND,
        f"{found.preemptions:,}",
        figure((found.lost_unit_s + (found.restart_unit_s or 0.0)) / 3600, ",.0f"),
        figure(ratio, ".2f"),
    )


def _spread(found: Spread | None) -> Cells:
    return (NOT_KNOWN,) * 3 if found is None else (duration(found.mean), duration(found.median), duration(found.p99))


def _time_bounds(row: Row) -> Cells:
    bounds = row.measured.bounds
    if bounds is None:
        return (NO_BOUND,) * (len(HEADINGS["time"]) - 2)
    wait = NO_BOUND if bounds.mean_wait_s is None else duration(bounds.mean_wait_s)
    ceiling = f"at most {bounds.utilisation_ceiling:.1%}"
    least = (duration(bounds.mean_completion_s), NO_BOUND, NO_BOUND, wait, NO_BOUND, NO_BOUND, "1.0", ceiling, "0.0%", "at most 1")
    return (*least, "0" if row.measured.deadlines else NO_BOUND, "0", "0", "1.00")


def _accounts(row: Row) -> Cells:
    found = row.measured.account
    if found is None:
        return (NOT_KNOWN,) * (len(HEADINGS["accounts"]) - 2)
    money = [amount(part, 100) for part in (found.cost_fen, found.hire_fen, found.electricity_fen, found.egress_fen)]
    carbon = [amount(part, 1000, ",.1f") for part in (found.energy_kwh, found.location_kgco2, found.market_kgco2)]
    return (*money, f"{found.egress_gib:,.0f}", *carbon)


def _account_bounds(row: Row) -> Cells:
    found = row.measured.least
    if found is None:
        return (NO_BOUND,) * (len(HEADINGS["accounts"]) - 2)
    tonnes = [
        NO_BOUND if value is None else f"{value / 1000:,.1f}" for value in (found.energy_kwh, found.location_kgco2, found.market_kgco2)
    ]
    cost = NO_BOUND if found.cost_fen is None else f"{found.cost_fen / 100:,.0f}"
    return (cost, NO_BOUND, NO_BOUND, NO_BOUND, f"{found.egress_gib:,.0f}", *tonnes)
