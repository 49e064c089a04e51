"""What a run was worth: completion, waiting, slowdown, use, fairness and losses, each beside its lower bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.state import Floats, Ints
from headwater.compute.twin.accounts import Account, Least, account_of, least_of
from headwater.compute.twin.bounds import Bounds, pool_bounds, together
from headwater.compute.twin.serving import Served
from headwater.compute.twin.serving import served as served_by
from headwater.compute.twin.simulate import Run, Setting, lanes_of
from headwater.compute.twin.sites import Federation
from headwater.compute.twin.trace import Trace

SLOWDOWN_FLOOR_S = 10.0
"""The bound of bounded slowdown (Feitelson et al. 1997): shorter jobs count as this long."""
SERIES_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean, median and 99th percentile."""

    mean: float
    median: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one run, over the jobs that ended; None where a figure cannot be had, never 0."""

    policy: str
    jobs: int
    ended: int
    refused: int
    unfinished: int
    completion_s: Spread | None
    wait_s: Spread | None
    """Time from submission to end not spent running."""
    slowdown: Spread | None
    makespan_s: float | None
    utilisation: float | None
    """Busy unit-seconds over capacity, from the first submission to the last end."""
    fairness: float | None
    """Jain's index over the mean slowdown of each group: 1 = all alike."""
    fairness_over: str
    preemptions: int
    lost_unit_s: float
    restart_unit_s: float | None
    estimate_error: float | None
    """Median over jobs of the larger of estimate / run time and its inverse; 1 = exact."""
    account: Account | None
    least: Least | None
    deadlines: int
    """Jobs that state one, among those that could run."""
    missed: int
    """Of those, how many ended after it or had not ended when it passed."""
    fragmentation: float | None
    """Share of free units that a job drawn from the trace could not use, over the run's time."""
    decisions: int
    complete: bool
    bounds: Bounds | None
    series_s: tuple[float, ...]
    series_use: tuple[float, ...]
    fragmentation_s: tuple[float, ...]
    series_fragmentation: tuple[float, ...]
    """Where nothing was free there is no point."""


def spread(values: Floats) -> Spread:
    return Spread(mean=float(values.mean()), median=float(np.median(values)), p99=float(np.percentile(values, 99)))


def jain(values: Floats) -> float:
    """Return Jain's fairness index (Jain, Chiu and Hawe 1984)."""
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))


def fairness(trace: Trace, slowdown: Floats, ended: Ints) -> tuple[float | None, str]:
    """Return Jain's index over tenants' mean slowdown, or over size classes where the trace names fewer than two tenants."""
    tenants = trace.tenant[ended].astype(str)
    if len(set(tenants)) > 1:
        groups, over = tenants, "tenants"
    else:
        groups, over = np.ceil(np.log2(trace.units[ended])).astype(int).astype(str), "size classes"
    means = np.array([slowdown[groups == group].mean() for group in sorted(set(groups))])
    return (jain(means), over) if len(means) > 1 else (None, over)


def run_s(run: Run) -> Floats:
    """Return how long each job held its units, over all its runs."""
    held = np.zeros(len(run.trace))
    ends = np.where(np.isnan(run.segment_to_s), run.clock_s, run.segment_to_s)
    np.add.at(held, run.segment_job, ends - run.segment_from_s)
    return held


def use_series(run: Run, until_s: float, steps: int = SERIES_STEPS) -> tuple[Floats, Floats]:
    """Return the middles of equal spans of time and the share of all units busy in each."""
    capacity = sum(sum(site.node_units) for site in run.setting.sites)
    first = float(run.trace.submit_s[0])
    edges = np.linspace(first, max(until_s, first + 1e-9), steps + 1)
    ends = np.where(np.isnan(run.segment_to_s), run.clock_s, run.segment_to_s)
    units = run.segment_units.astype(np.float64)
    moments = np.concatenate([run.segment_from_s, ends])
    by_time = np.argsort(moments, kind="stable")
    level = np.cumsum(np.concatenate([units, -units])[by_time])
    at = moments[by_time]
    busy = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(at))]) if len(at) else np.zeros(1)
    total = np.interp(edges, at, busy) if len(at) else np.zeros(steps + 1)
    return (edges[1:] + edges[:-1]) / 2, np.diff(total) / (capacity * np.diff(edges))


def bounds_for(trace: Trace, setting: Setting, served: Served | None = None) -> Bounds | None:
    """Return the trace's lower bounds, lane by lane; None where a job fits nowhere."""
    if not len(trace):
        return None
    matched = served_by(trace.asks, setting.sites) if served is None else served
    lanes, pools = lanes_of(trace, setting), []
    for lane in np.unique(lanes):
        rows, columns = lanes == lane, np.array([site.lane == lane for site in setting.sites], bool)
        capacity = np.array([sum(site.node_units) for site in setting.sites]) * columns
        speed = matched.speed * columns
        least = np.fmin(trace.units[rows], np.nan_to_num(trace.asks.least_units[rows], nan=np.inf))
        if (least > (capacity * (speed > 0)).max(axis=1)[matched.klass[rows]]).any():
            return None
        fastest = speed.max(axis=1)[matched.klass[rows]] * np.fmax(1.0, trace.asks.most_units[rows] / trace.units[rows])
        rate = float((speed.max(axis=0) * capacity).sum())
        pools.append(pool_bounds(trace.submit_s[rows], trace.duration_s[rows], trace.units[rows], rate, fastest))
    return together(pools)


def deadlines_of(run: Run) -> tuple[int, int]:
    """Return how many jobs state a deadline, and how many of those missed it; what could still meet its own is not counted."""
    deadline = np.delete(run.trace.asks.deadline_s, run.refused)
    end = np.delete(run.end_s, run.refused)
    stated = ~np.isnan(deadline)
    late = stated & np.where(np.isnan(end), run.clock_s > deadline, end > deadline)
    return int(stated.sum()), int(late.sum())


def mean_over_time(at_s: Floats, values: Floats) -> float | None:
    """Return the mean of samples, each weighted by the time to the next; None where there is none."""
    if len(at_s) < 2:
        return None
    span, value = np.diff(at_s), values[:-1]
    seen = ~np.isnan(value) & (span > 0)
    return float(np.average(value[seen], weights=span[seen])) if seen.any() else None


def thinned(at_s: Floats, values: Floats, steps: int = SERIES_STEPS) -> tuple[Floats, Floats]:
    """Return at most `steps` of the samples that have a value, evenly picked."""
    seen = np.flatnonzero(~np.isnan(values))
    kept = seen[np.unique(np.linspace(0, len(seen) - 1, min(steps, len(seen))).astype(np.int64))] if len(seen) else seen
    return at_s[kept], values[kept]


def estimate_error(run: Run, ended: Ints) -> float | None:
    estimates = run.estimate_s[ended]
    known = ~np.isnan(estimates) & (estimates > 0)
    if not known.any():
        return None
    ratio = estimates[known] / run.trace.duration_s[ended][known]
    return float(np.median(np.maximum(ratio, 1 / ratio)))


def measure(run: Run, *, bounds: Bounds | None = None, federation: Federation | None = None) -> Measured:
    """Return the figures of a run; its account where the sites' prices and factors are given."""
    trace, ended = run.trace, np.flatnonzero(~np.isnan(run.end_s))
    completion = run.end_s[ended] - trace.submit_s[ended]
    held = run_s(run)
    slowdown = np.maximum(completion / np.maximum(trace.duration_s[ended], SLOWDOWN_FLOOR_S), 1.0)
    some = len(ended) > 0
    until = float(run.end_s[ended].max()) if some else run.clock_s
    middles, use = use_series(run, until) if len(trace) else (np.zeros(0), np.zeros(0))
    stated, missed = deadlines_of(run)
    scattered_s, scattered = thinned(*run.fragmentation)
    index, over = fairness(trace, slowdown, ended) if some else (None, "tenants")
    useful = trace.duration_s[ended] * trace.units[ended]
    overhead = float((held[ended] * trace.units[ended]).sum() - useful.sum() - (run.lost_s[ended] * trace.units[ended]).sum())
    return Measured(
        policy=run.setting.policy.name,
        jobs=len(trace),
        ended=len(ended),
        refused=len(run.refused),
        unfinished=len(trace) - len(ended) - len(run.refused),
        completion_s=spread(completion) if some else None,
        wait_s=spread(np.maximum(completion - held[ended], 0.0)) if some else None,
        slowdown=spread(slowdown) if some else None,
        makespan_s=until - float(trace.submit_s[0]) if some else None,
        utilisation=float(use.mean()) if some else None,
        fairness=index,
        fairness_over=over,
        preemptions=int(np.maximum(run.starts - 1, 0).sum()),
        lost_unit_s=float((run.lost_s * trace.units).sum()),
        restart_unit_s=max(overhead, 0.0) if all_speed_one(run.setting) else None,
        estimate_error=estimate_error(run, ended),
        account=None if federation is None else account_of(run, federation),
        least=None if federation is None else least_of(run, federation),
        deadlines=stated,
        missed=missed,
        fragmentation=mean_over_time(*run.fragmentation),
        decisions=run.decisions,
        complete=run.complete,
        bounds=bounds,
        series_s=tuple(float(x) for x in middles),
        series_use=tuple(float(x) for x in use),
        fragmentation_s=tuple(float(x) for x in scattered_s),
        series_fragmentation=tuple(float(x) for x in scattered),
    )


def all_speed_one(setting: Setting) -> bool:
    return all(site.speed == 1.0 for site in setting.sites)
