"""When waiting jobs can be expected to start: the twin run on from the state as it is now.

Nobody else arrives. It is done three times, with every job's run time short, as expected and long; the policy decides by the
estimates that it has, and jobs end by the run times. A run time that is only stated is taken at half, once and twice. Where a job
neither states one nor has one predicted, no start is made up, and the answer says for how many jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.scheduler.snapshot import lay_out, snapshot
from headwater.compute.scheduler.state import Floats
from headwater.compute.scheduler.tables import decisions_table, floats, ints, most_decisions, table

SHARES = (0.5, 1.0, 2.0)
"""What a stated run time is taken at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTime:
    """A predicted run time: one job in ten is shorter than `short_s`, one in ten longer than `long_s`."""

    short_s: float
    expected_s: float
    long_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A waiting job's expected start in seconds, and the earliest and latest over the shares of its forerunners' run times.

    None, with the reason, where it is not known or the job would never start.
    """

    job: str
    start_s: float | None
    earliest_s: float | None
    latest_s: float | None
    reason: str = ""


def forecast(
    requests: Sequence[Request],
    sites: Sequence[SiteShape],
    policy: Policy,
    now_s: float,
    queues: Sequence[QueueShape] = (),
    run_times: Mapping[str, RunTime] = MappingProxyType({}),
) -> tuple[Forecast, ...]:
    """Return the expected start of every waiting request, in their order; `run_times` are predictions, by name.

    Raises BadInput as `decide` does.
    """
    waiting = [row for row, request in enumerate(requests) if request.site is None]
    silent = sum(request.name not in run_times and request.estimate_s is None for request in requests)
    if silent:
        reason = f"{silent} of {len(requests)} jobs state no run time."
        return tuple(Forecast(job=requests[row].name, start_s=None, earliest_s=None, latest_s=None, reason=reason) for row in waiting)
    lengths = np.array([_lengths(request, run_times.get(request.name)) for request in requests], np.float64).reshape(-1, len(SHARES))
    starts = np.array([_starts(requests, sites, policy, now_s, queues, lengths[:, lot]) for lot in range(len(SHARES))])
    return tuple(_forecast(requests[row].name, starts[:, row]) for row in waiting)


def _lengths(request: Request, predicted: RunTime | None) -> tuple[float, ...]:
    """Return the job's run time short, expected and long, no shorter than what it has already run."""
    stated = [(request.estimate_s or 0.0) * share for share in SHARES]
    found = stated if predicted is None else [predicted.short_s, predicted.expected_s, predicted.long_s]
    return tuple(max(length, request.attained_s) for length in found)


def _forecast(name: str, starts: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Forecast:
    if np.isnan(starts).any():
        return Forecast(
            job=name, start_s=None, earliest_s=None, latest_s=None, reason="It would never start as things are: see why it waits."
        )
    return Forecast(job=name, start_s=float(starts[1]), earliest_s=float(starts.min()), latest_s=float(starts.max()))


def _starts(
    requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape], length: Floats
) -> list[float]:
    """Return every request's first start from now on, NaN where it never starts."""
    from headwater.compute.scheduler.snapshot_kernel import take_in
    from headwater.compute.twin.forecast_kernel import resume
    from headwater.compute.twin.simulate_kernel import CHANGE, DONE, FULL, MOMENT, SEGMENT, TRUTH, World, advance

    state, rules = snapshot(requests, sites, queues, now_s, policy.placement), policy.rules()
    most = most_decisions(state)
    room = 4 * len(requests) + 8 * most
    world = World(
        truth=table(TRUTH, {"duration_s": length, "end_s": np.nan, "segment": -1}),
        due=table(MOMENT, {"at_s": floats(room)}),
        outages=table(CHANGE, {"at_s": floats(len(sites), now_s), "site": np.arange(len(sites)), "up": 1}),
        log=table(SEGMENT, {"from_s": floats(room), "to_s": np.nan}),
        dirty=ints(len(state.lanes)),
        counts=ints(8),
        clock_s=floats(1, now_s),
    )
    lay_out(state, rules, requests)
    take_in(state, rules)
    resume(state, world, float(now_s))
    out = decisions_table(most)
    while (outcome := advance(state, rules, world, 1_000_000, out)) != DONE:
        if outcome == FULL:
            from headwater.compute.twin.simulate import grown

            world = grown(world)
    return [float(value) for value in state.jobs.first_start_s]
