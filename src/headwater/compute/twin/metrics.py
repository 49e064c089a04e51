"""What a run was worth: completion, waiting, slowdown, use, fairness and losses, each beside its lower bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.state import Floats, Ints
from headwater.compute.twin.bounds import Bounds, pool_bounds, together
from headwater.compute.twin.simulate import Run, Setting, lanes_of
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
    cost: float | None
    decisions: int
    complete: bool
    bounds: Bounds | None
    series_s: tuple[float, ...]
    series_use: tuple[float, ...]


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
    units = run.trace.units[run.segment_job].astype(np.float64)
    moments = np.concatenate([run.segment_from_s, ends])
    by_time = np.argsort(moments, kind="stable")
    level = np.cumsum(np.concatenate([units, -units])[by_time])
    at = moments[by_time]
    busy = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(at))]) if len(at) else np.zeros(1)
    total = np.interp(edges, at, busy) if len(at) else np.zeros(steps + 1)
    return (edges[1:] + edges[:-1]) / 2, np.diff(total) / (capacity * np.diff(edges))


def cost_of(run: Run, price_per_unit_h: Mapping[str, float]) -> float | None:
    """Return what the held unit-hours cost, None where a site's price is not known."""
    names = [site.name for site in run.setting.sites]
    if any(name not in price_per_unit_h for name in names):
        return None
    price = np.array([price_per_unit_h[name] for name in names])
    ends = np.where(np.isnan(run.segment_to_s), run.clock_s, run.segment_to_s)
    hours = (ends - run.segment_from_s) / 3600 * run.trace.units[run.segment_job]
    return float((hours * price[run.segment_site]).sum())


def bounds_for(trace: Trace, setting: Setting) -> Bounds | None:
    """Return the trace's lower bounds, lane by lane; None where sites differ in speed or a job fits nowhere."""
    if any(site.speed != 1.0 for site in setting.sites) or not len(trace):
        return None
    lanes, pools = lanes_of(trace, setting), []
    for lane in np.unique(lanes):
        rows = lanes == lane
        capacity = sum(sum(site.node_units) for site in setting.sites if site.lane == lane)
        largest = max((sum(site.node_units) for site in setting.sites if site.lane == lane), default=0)
        if trace.units[rows].max() > largest:
            return None
        pools.append(pool_bounds(trace.submit_s[rows], trace.duration_s[rows], trace.units[rows], capacity))
    return together(pools)


def estimate_error(run: Run, ended: Ints) -> float | None:
    estimates = run.estimate_s[ended]
    known = ~np.isnan(estimates) & (estimates > 0)
    if not known.any():
        return None
    ratio = estimates[known] / run.trace.duration_s[ended][known]
    return float(np.median(np.maximum(ratio, 1 / ratio)))


def measure(run: Run, *, bounds: Bounds | None = None, price_per_unit_h: Mapping[str, float] | None = None) -> Measured:
    """Return the figures of a run."""
    trace, ended = run.trace, np.flatnonzero(~np.isnan(run.end_s))
    completion = run.end_s[ended] - trace.submit_s[ended]
    held = run_s(run)
    slowdown = np.maximum(completion / np.maximum(trace.duration_s[ended], SLOWDOWN_FLOOR_S), 1.0)
    some = len(ended) > 0
    until = float(run.end_s[ended].max()) if some else run.clock_s
    middles, use = use_series(run, until) if len(trace) else (np.zeros(0), np.zeros(0))
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
        cost=cost_of(run, price_per_unit_h or {}),
        decisions=run.decisions,
        complete=run.complete,
        bounds=bounds,
        series_s=tuple(float(x) for x in middles),
        series_use=tuple(float(x) for x in use),
    )


def all_speed_one(setting: Setting) -> bool:
    return all(site.speed == 1.0 for site in setting.sites)
