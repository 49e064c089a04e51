"""When waiting jobs can be expected to start: the twin run on from the state as it is now.

Nobody else arrives, and run times are the estimates, once each as stated, shorter and longer. A forecast needs every job's
estimate: where one is missing the start is not known, and the answer says for how many jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.scheduler.snapshot import snapshot
from headwater.compute.scheduler.tables import decisions_table, floats, ints, most_decisions, table

SHARES = (0.5, 1.0, 2.0)
"""Run times as shares of the estimates: what the interval covers."""


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
    requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape] = ()
) -> tuple[Forecast, ...]:
    """Return the expected start of every waiting request, in their order. Raises BadInput as `decide` does."""
    waiting = [row for row, request in enumerate(requests) if request.site is None]
    silent = sum(request.estimate_s is None for request in requests)
    if silent:
        reason = f"{silent} of {len(requests)} jobs state no run time."
        return tuple(Forecast(job=requests[row].name, start_s=None, earliest_s=None, latest_s=None, reason=reason) for row in waiting)
    starts = np.array([_starts(requests, sites, policy, now_s, queues, share) for share in SHARES])
    return tuple(_forecast(requests[row].name, starts[:, row]) for row in waiting)


def _forecast(name: str, starts: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Forecast:
    if np.isnan(starts).any():
        return Forecast(
            job=name, start_s=None, earliest_s=None, latest_s=None, reason="It would never start as things are: see why it waits."
        )
    return Forecast(job=name, start_s=float(starts[1]), earliest_s=float(starts.min()), latest_s=float(starts.max()))


def _starts(
    requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape], share: float
) -> list[float]:
    """Return every request's first start from now on, NaN where it never starts."""
    from headwater.compute.scheduler.snapshot_kernel import take_in
    from headwater.compute.twin.forecast_kernel import resume
    from headwater.compute.twin.simulate_kernel import CHANGE, DONE, FULL, MOMENT, SEGMENT, TRUTH, World, advance

    state, rules = snapshot(requests, sites, queues, now_s), policy.rules()
    most = most_decisions(state)
    room = 4 * len(requests) + 8 * most
    length = np.array([max((r.estimate_s or 0.0) * share, r.attained_s) for r in requests], np.float64)
    world = World(
        truth=table(TRUTH, {"duration_s": length, "end_s": np.nan, "segment": -1}),
        due=table(MOMENT, {"at_s": floats(room)}),
        outages=table(CHANGE, {"at_s": floats(len(sites), now_s), "site": np.arange(len(sites)), "up": 1}),
        log=table(SEGMENT, {"from_s": floats(room), "to_s": np.nan}),
        dirty=ints(len(state.lanes)),
        counts=ints(8),
        clock_s=floats(1, now_s),
    )
    take_in(state, rules)
    resume(state, world, float(now_s))
    out = decisions_table(most)
    while (outcome := advance(state, rules, world, 1_000_000, out)) != DONE:
        if outcome == FULL:
            from headwater.compute.twin.simulate import grown

            world = grown(world)
    return [float(value) for value in state.jobs.first_start_s]
