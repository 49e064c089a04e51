"""When waiting jobs can be expected to start: the scheduler's own decisions run on from now, nobody else arriving.

Pure. It is done three times, with every job's run time at its p10, p50 and p90; the policy decides by the estimates that it has, and
jobs end by the run times. A run time that is only stated, not predicted, is taken at half, once and twice. Where neither is known
for a job, no start is made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.policy import Policy, check_figures
from headwater.compute.scheduler.prediction import RunTime
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.scheduler.snapshot import lay_out, snapshot
from headwater.compute.scheduler.state import RUNNING, WAITING, Floats, Rules, State
from headwater.compute.scheduler.tables import decisions_table, most_decisions

STATED_SHARES = (0.5, 1.0, 2.0)
MOST_EVENTS = 100_000
"""Ends looked ahead, after which a start is called unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A waiting job's start in seconds of the clock: expected, and where run times are short or long. None, with the reason, if unknown."""

    start_s: float | None
    earliest_s: float | None
    latest_s: float | None
    reason: str = ""


def expected_starts(
    requests: Sequence[Request],
    sites: Sequence[SiteShape],
    policy: Policy,
    now_s: float,
    queues: Sequence[QueueShape] = (),
    run_times: Mapping[str, RunTime] | None = None,
) -> dict[str, Expected]:
    """Return the expected start of every waiting request by name. `run_times` are predictions, by name.

    Raises BadInput as `decide` does.
    """
    check_figures(policy, sites)
    known = run_times or {}
    waiting = [row for row, request in enumerate(requests) if request.site is None]
    silent = sum(request.name not in known and request.estimate_s is None for request in requests)
    if silent:
        reason = f"Of {len(requests)} jobs, {silent} neither state a run time nor have one predicted."
        return {requests[row].name: unknown(reason) for row in waiting}
    lengths = np.array([lengths_of(request, known.get(request.name)) for request in requests], np.float64).reshape(-1, 3)
    starts = []
    for lot in range(3):
        state = snapshot(requests, sites, queues, now_s, policy.placement)
        starts.append(run_on(state, policy.rules(), requests, lengths[:, lot], float(now_s)))
    return {requests[row].name: expected(np.array([lot[row] for lot in starts])) for row in waiting}


def unknown(reason: str) -> Expected:
    return Expected(start_s=None, earliest_s=None, latest_s=None, reason=reason)


def lengths_of(request: Request, predicted: RunTime | None) -> tuple[float, float, float]:
    """Return the job's run time in reference seconds: short, expected and long."""
    if predicted is not None:
        return predicted.p10_s, predicted.p50_s, predicted.p90_s
    short, once, long = (share * (request.estimate_s or 0.0) for share in STATED_SHARES)
    return short, once, long


def expected(starts: Floats) -> Expected:
    if np.isnan(starts[1]):
        return unknown("As things are it would never start: see why it waits.")
    earliest = float(np.nanmin(starts))
    latest = None if np.isnan(starts).any() else float(starts.max())
    return Expected(start_s=float(starts[1]), earliest_s=earliest, latest_s=latest)


def run_on(state: State, rules: Rules, requests: Sequence[Request], length_s: Floats, now_s: float) -> Floats:
    """Return when each job first starts from now on, NaN where it never does; jobs end when they have run their lengths."""
    from headwater.compute.scheduler.snapshot_kernel import decide_all, end_listed, take_in

    out = decisions_table(most_decisions(state))
    lay_out(state, rules, requests)
    take_in(state, rules)
    decide_all(state, rules, now_s, out)
    for _ in range(MOST_EVENTS):
        ends = ends_of(state, length_s)
        now_s = min(float(ends.min(initial=np.inf)), next_edge(state, now_s))
        if now_s == np.inf or not (state.jobs.state == WAITING).any():
            break
        end_listed(state, rules, np.flatnonzero(ends <= now_s), now_s)
        decide_all(state, rules, now_s, out)
    return np.asarray(state.jobs.first_start_s)


def ends_of(state: State, length_s: Floats) -> Floats:
    """Return when each running job will have run its length, infinity for the others; an outlived length ends at once."""
    jobs = state.jobs
    left = np.maximum(length_s - jobs.attained_s, 0.0) / np.maximum(jobs.rate, 1e-12)
    return np.where(jobs.state == RUNNING, jobs.settled_s + jobs.overhead_s + left, np.inf)


def next_edge(state: State, now_s: float) -> float:
    """Return when a window next opens or ends."""
    edges = np.concatenate([state.windows.from_s, state.windows.to_s])
    return float(edges[edges > now_s].min(initial=np.inf))
