"""What no schedule of a trace can beat: lower bounds on makespan and mean completion time.

The mean-busy-time bound (Goemans et al. 2002) holds for preemptive rigid jobs that share no unit: on one machine of the
pool's whole speed, preemptive static shortest-work-first minimises the sum of mean busy times M, and a rigid job of
length d ends no earlier than M + d/2. Each pool that does not lend has its own bound; the trace's is their job-weighted mean.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.state import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Lower bounds for one pool of `capacity` units; seconds."""

    jobs: int
    makespan_s: float
    utilisation_ceiling: float
    mean_duration_s: float
    mean_srpt_s: float
    mean_busy_time_s: float

    @property
    def mean_completion_s(self) -> float:
        """The best of the bounds on mean completion time."""
        return max(self.mean_duration_s, self.mean_srpt_s, self.mean_busy_time_s)

    even: bool = True
    """Whether no job can run faster in one place, or on more units, than in another."""

    @property
    def mean_wait_s(self) -> float | None:
        """What no schedule can go below that stops no job; None where run times differ by place."""
        return self.mean_completion_s - self.mean_duration_s if self.even else None


def makespan_bound_s(submit_s: Floats, soonest_s: Floats, work_s: Floats) -> float:
    """Return the least time from the first submission to the last end; work in seconds of the whole pool."""
    work_from = np.cumsum(work_s[::-1])[::-1]
    return float(max((submit_s + work_from).max(), (submit_s + soonest_s).max()) - submit_s[0])


def served_first(submit_s: Floats, work_s: Floats, *, remaining: bool) -> tuple[Floats, Floats]:
    """Return each job's end and mean busy time on one machine that always serves the least work.

    `remaining`: least work left (SRPT); otherwise least work at submission, which never changes.
    """
    end, busy, left = np.zeros(len(submit_s)), np.zeros(len(submit_s)), work_s.copy()
    queue: list[tuple[float, int]] = []
    now, coming = 0.0, 0
    while queue or coming < len(submit_s):
        if not queue:
            now = max(now, float(submit_s[coming]))
        while coming < len(submit_s) and submit_s[coming] <= now:
            heapq.heappush(queue, (float(work_s[coming]), coming))
            coming += 1
        rank, job = heapq.heappop(queue)
        until = float(submit_s[coming]) if coming < len(submit_s) else np.inf
        ran = min(float(left[job]), until - now)
        busy[job] += ran * (now + ran / 2)
        left[job] -= ran
        now += ran
        if left[job] <= 1e-9 * max(1.0, float(work_s[job])):
            end[job] = now
        else:
            heapq.heappush(queue, (float(left[job]) if remaining else rank, job))
    return end, busy / work_s


def pool_bounds(submit_s: Floats, duration_s: Floats, units: Ints, capacity: float, fastest: float | Floats = 1.0) -> Bounds:
    """Return the bounds for jobs sorted by submission.

    `capacity` is the most units' work that the pool does in a second, `fastest` how many times faster than `duration_s` a job
    can run at the most: on the fastest chip it may use, with all the units of its range. Work is the same at any speed.
    """
    work, soonest_s = duration_s * units / capacity, duration_s / fastest
    srpt_end, _ = served_first(submit_s, work, remaining=True)
    _, busy = served_first(submit_s, work, remaining=False)
    makespan = makespan_bound_s(submit_s, soonest_s, work)
    return Bounds(
        jobs=len(submit_s), makespan_s=makespan, utilisation_ceiling=float(work.sum() / makespan),
        mean_duration_s=float(soonest_s.mean()), mean_srpt_s=float((srpt_end - submit_s).mean()),
        mean_busy_time_s=float((busy + soonest_s / 2 - submit_s).mean()), even=bool(np.all(fastest == 1.0)),
    )  # fmt: skip


def together(pools: list[Bounds]) -> Bounds:
    """Return the bounds of a trace whose pools do not lend: means weighted by jobs, the longest makespan."""
    jobs = np.array([pool.jobs for pool in pools], np.float64)

    def mean(name: str) -> float:
        return float(np.average([getattr(pool, name) for pool in pools], weights=jobs))

    return Bounds(
        jobs=int(jobs.sum()), makespan_s=max(pool.makespan_s for pool in pools), utilisation_ceiling=mean("utilisation_ceiling"),
        mean_duration_s=mean("mean_duration_s"), mean_srpt_s=mean("mean_srpt_s"), mean_busy_time_s=mean("mean_busy_time_s"),
        even=all(pool.even for pool in pools),
    )  # fmt: skip
