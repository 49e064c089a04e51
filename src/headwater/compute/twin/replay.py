"""Several policies over one trace, side by side, as the sites are and as a question would make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.shapes import QueueShape
from headwater.compute.twin import whatif
from headwater.compute.twin.metrics import Measured, bounds_for, measure
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.sites import Federation, shapes_for
from headwater.compute.twin.trace import Fault, Trace
from headwater.compute.twin.whatif import WhatIf

Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One replay: under which variant of the sites, and its figures."""

    variant: str
    measured: Measured
    nowhere: tuple[tuple[int, str], ...] = ()
    """How many jobs no site may run, and the rules that forbid it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a comparison found. `partial` where it was stopped before its end."""

    trace: str
    rows_read: int
    jobs: int
    faults: tuple[Fault, ...]
    sites: tuple[str, ...]
    units: int
    remarks: tuple[str, ...]
    """What the sites or the trace do not say, and what was made of it."""
    rows: tuple[Row, ...]
    partial: bool


def setting_for(federation: Federation, policy: Policy, trace: Trace, asked: WhatIf, checkpoint_s: float) -> Setting:
    """Return the setting of one replay; tenants become queues where the policy shares by them or a quota is asked."""
    tenants = sorted({str(tenant) for tenant in trace.tenant if tenant is not None})
    limits = whatif.quotas(asked, tenants)
    queues: tuple[QueueShape, ...] = whatif.queues_with(tenants, limits) if limits or policy.order.by == "fair_share" else ()
    return Setting(
        sites=shapes_for(federation),
        policy=policy,
        queues=queues,
        pools=federation.pools,
        checkpoint_s=checkpoint_s,
        outages=whatif.outages(asked, federation, float(trace.submit_s[0]) if len(trace) else 0.0),
    )


def compare(
    trace: Trace,
    federation: Federation,
    policies: Sequence[Policy],
    *,
    asked: WhatIf | None = None,
    checkpoint_s: float = 0.0,
    tell: Told | None = None,
) -> Report:
    """Return the figures of every policy, with a second row each where something is asked. Ctrl-C ends it early, marked partial."""
    variants = [("as it is", federation, WhatIf())]
    if asked:
        variants.append(("what if", whatif.changed_sites(federation, asked), asked))
    rows: list[Row] = []
    for policy in policies:
        for variant, sites, change in variants:
            setting = setting_for(sites, policy, trace, change, checkpoint_s)
            name = policy.name if len(variants) == 1 else f"{policy.name} ({variant})"
            run = simulate(trace, setting, None if tell is None else _named(tell, name))
            bounds = bounds_for(trace, setting, run.served) if not setting.outages else None
            found = measure(run, bounds=bounds, federation=sites)
            rows.append(Row(variant=variant, measured=found, nowhere=tuple(run.served.nowhere())))
            if not run.complete:
                return report_of(trace, federation, rows, partial=True)
    return report_of(trace, federation, rows, partial=False)


def _named(tell: Told, name: str) -> Callable[[int, int], None]:
    return lambda done, total: tell(name, done, total)


def report_of(trace: Trace, federation: Federation, rows: Sequence[Row], *, partial: bool) -> Report:
    return Report(
        trace=trace.name,
        rows_read=trace.rows_read,
        jobs=len(trace),
        faults=trace.faults,
        sites=tuple(s.name for s in federation.sites),
        units=sum(sum(site.node_units) for site in federation.sites),
        remarks=tuple(remarks_on(trace, federation)),
        rows=tuple(rows),
        partial=partial,
    )


def remarks_on(trace: Trace, federation: Federation) -> list[str]:
    """Return what was not known and how it was taken."""
    said = []
    if federation.begins is None and any(site.tariff is not None for site in federation.sites):
        said.append("The trace has no date: its origin counts as midnight at every site (--begins).")
    if federation.begins is None and any(site.maintenance for site in federation.sites):
        said.append("The trace has no date: maintenance windows are left out (--begins).")
    for name, what in STATED.items():
        silent = [site.name for site in federation.sites if getattr(site, name) is None]
        if silent and len(silent) < len(federation.sites):
            said.append(f"{what} is not known for {', '.join(silent)}.")
    strange = sorted({str(place) for place in trace.asks.input_site if place is not None} - set(federation.places))
    if strange:
        said.append(f"Inputs lie at {', '.join(strange[:5])}, which is none of the sites: their jobs run nowhere.")
    return said


STATED = {
    "fen_per_unit_h": "The price of an hour",
    "tariff": "The price of electricity",
    "watts_per_unit": "The power of a chip",
    "power_usage_effectiveness": "Power usage effectiveness",
    "location_kgco2_per_kwh": "The grid's carbon factor",
    "market_kgco2_per_kwh": "The contracted carbon factor",
    "egress_fen_per_gib": "The price of egress",
    "chip_memory_gib": "The memory of a chip",
}
