"""What a run cost, drew, emitted and moved: hire, electricity by the time of day, carbon both ways, egress.

An accelerator counts at its stated power for as long as a job holds it, times the site's power usage effectiveness; idle
chips and hosts are not counted. Where a site does not state a figure, the sum covers the rest and says for which share of
the held unit-hours it is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.state import Floats
from headwater.compute.twin.simulate import Run
from headwater.compute.twin.sites import Federation, TwinSite


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A sum over what is known, and the share of the held unit-hours (or moved GiB) for which it is not."""

    known: float
    unknown_share: float = 0.0

    @property
    def whole(self) -> float | None:
        """The sum, or None where a part of it is not known."""
        return self.known if self.unknown_share == 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sums of one run. Money in fen, energy at the meter in kWh, carbon in kg of CO2."""

    hire_fen: Amount
    electricity_fen: Amount
    egress_fen: Amount
    energy_kwh: Amount
    location_kgco2: Amount
    """By the grid around each site."""
    market_kgco2: Amount
    """By what each site has under contract."""
    egress_gib: float

    @property
    def cost_fen(self) -> Amount:
        """Hire, electricity and egress together; not known where one of them is not."""
        parts = (self.hire_fen, self.electricity_fen, self.egress_fen)
        return Amount(known=sum(part.known for part in parts), unknown_share=max(part.unknown_share for part in parts))


def figures(rows: Sequence[TwinSite], name: str) -> Floats:
    """Return one figure of every row, NaN where it is not known."""
    return np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows], np.float64)


def amount(values: Floats, weight: Floats) -> Amount:
    """Return the sum of the values that are known; the rest is told as its share of the weight."""
    silent = np.isnan(values)
    lost, total = float(weight[silent].sum()), float(weight.sum())
    return Amount(known=float(values[~silent].sum()), unknown_share=lost / total if total > 0 else 0.0)


def account_of(run: Run, federation: Federation) -> Account:
    """Return the sums of a run; the federation's rows are those of its setting, in order."""
    rows, site = federation.sites, run.segment_site
    ends = np.where(np.isnan(run.segment_to_s), run.clock_s, run.segment_to_s)
    unit_h = (ends - run.segment_from_s) / 3600 * run.segment_units
    kwh = unit_h * figures(rows, "kw_per_unit")[site]
    moved_gib, egress = transfers(run, federation)
    return Account(
        hire_fen=amount(unit_h * figures(rows, "fen_per_unit_h")[site], unit_h),
        electricity_fen=amount(_electricity(run, rows, ends), unit_h),
        egress_fen=amount(moved_gib * egress, moved_gib),
        energy_kwh=amount(kwh, unit_h),
        location_kgco2=amount(kwh * figures(rows, "location_kgco2_per_kwh")[site], unit_h),
        market_kgco2=amount(kwh * figures(rows, "market_kgco2_per_kwh")[site], unit_h),
        egress_gib=float(moved_gib.sum()),
    )


def _electricity(run: Run, rows: Sequence[TwinSite], ends: Floats) -> Floats:
    """Return what each segment's draw cost by the time of day, NaN where it is not known."""
    cost = np.full(len(ends), np.nan)
    for index, row in enumerate(rows):
        if row.tariff is None or row.kw_per_unit is None:
            continue
        here = run.segment_site == index
        kw = row.kw_per_unit * run.segment_units[here]
        cost[here] = kw * row.tariff.fen_per_kw(run.segment_from_s[here], ends[here])
    return cost


def transfers(run: Run, federation: Federation) -> tuple[Floats, Floats]:
    """Return for each start of a run the GiB that its input came over a link, and the sending site's price of one.

    Where a job starts again in the pool that it ran in last, its input is there already.
    """
    places = {name: row for row, name in enumerate(federation.places)}
    at = np.array([places[row.site] for row in federation.sites], np.int64)
    asks, job, site = run.trace.asks, run.segment_job, run.segment_site
    by_job = np.lexsort((np.arange(len(job)), job))
    stays = np.zeros(len(job), bool)
    stays[by_job[1:]] = (job[by_job[1:]] == job[by_job[:-1]]) & (site[by_job[1:]] == site[by_job[:-1]])
    source = np.array([places.get(name, -1) for name in asks.input_site], np.int64)[job]
    away = (source >= 0) & (source != at[site]) & ~stays
    gib = np.where(away, np.nan_to_num(asks.input_gib)[job], 0.0)
    price = np.array([figures([federation.rows(name)[0]], "egress_fen_per_gib")[0] for name in places] + [np.nan])
    return gib, np.where(gib > 0, price[source], 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """What no schedule can go below; None where a figure that a job could meet is not known."""

    cost_fen: float | None
    energy_kwh: float | None
    location_kgco2: float | None
    market_kgco2: float | None
    egress_gib: float


def least_of(run: Run, federation: Federation) -> Least:
    """Return lower bounds: every job alone on the row that is best for it, at the best hour. Jobs that no row may take count 0."""
    trace, pools, served = run.trace, federation.sites, run.served
    unit_h = trace.duration_s / 3600 * trace.units
    kw = figures(pools, "kw_per_unit")
    tariff = np.array([np.nan if row.tariff is None else row.tariff.least_fen_per_kwh for row in pools])
    gib = np.nan_to_num(trace.asks.input_gib)
    away, may = served.away, served.may

    def least(per_unit_h: Floats, per_gib: Floats) -> float | None:
        total = 0.0
        for klass in np.flatnonzero(may.any(axis=1)):
            here, open_to = served.klass == klass, may[klass]
            rate, moved = per_unit_h[open_to] / served.speed[klass, open_to], per_gib[klass, open_to]
            if np.isnan(rate).any() or np.isnan(moved).any():
                return None
            if not moved.any() or not gib[here].any():
                total += float(unit_h[here].sum() * rate.min())
            else:
                total += float((np.outer(unit_h[here], rate) + np.outer(gib[here], moved)).min(axis=1).sum())
        return total

    free = np.zeros(may.shape)
    return Least(
        cost_fen=least(figures(pools, "fen_per_unit_h") + kw * tariff, served.matrix.egress_fen_per_gib),
        energy_kwh=least(kw, free),
        location_kgco2=least(kw * figures(pools, "location_kgco2_per_kwh"), free),
        market_kgco2=least(kw * figures(pools, "market_kgco2_per_kwh"), free),
        egress_gib=least(np.zeros(len(pools)), away.astype(np.float64)) or 0.0,
    )
