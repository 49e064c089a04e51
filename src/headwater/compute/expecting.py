"""When a queued job can be expected to start, and a running one to end, with an interval. Pure.

The start is the policy run on from now by the twin's own clock: nobody else arrives, and every job runs for what is expected of it,
once as stated, once for half as long and once for twice. A job of which nothing like has run is taken to run for its own limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headwater.compute.jobs import Job
from headwater.compute.prediction import Expected
from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.shapes import Request
from headwater.compute.situation import Facts, situation
from headwater.compute.twin.forecast import forecast

MOST_JOBS, MOST_STOPPED_BY_ORDER = 200, 40
"""Jobs waiting and running up to which a start is forecast while someone waits for the answer; a policy that ranks all of them anew
at each moment is slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A moment to expect, and the earliest and latest that it may be; `basis` says what it rests on, or why it is not known."""

    at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    basis: str


def expected_start(facts: Facts, job: Job) -> Expectation:
    """Return when a queued job can be expected to start."""
    given = situation(facts, job.engine)
    rows, known = given.requests, {one.id: one for one in (*facts.active, *facts.queued)}
    if len(rows) > (MOST_STOPPED_BY_ORDER if given.policy.preemption.when == "by_order" else MOST_JOBS):
        return Expectation(basis=f"{len(rows)} jobs wait and run, too many to forecast while you wait.")
    told = [_told(row, _run_s(known[row.name], facts.expected)) for row in rows]
    with interpreted():
        found = next(one for one in forecast(told, given.sites, given.policy, given.now_s, given.queues) if one.job == job.id)
    if found.start_s is None or found.earliest_s is None or found.latest_s is None:
        return Expectation(basis=found.reason)
    limits = sum(row.name not in facts.expected for row in rows)
    return Expectation(
        at=_moment(found.start_s, facts.now),
        earliest=_moment(found.earliest_s, facts.now),
        latest=_moment(found.latest_s, facts.now),
        basis=_basis(len(rows), limits),
    )


def expected_end(job: Job, expected: Expected | None) -> Expectation:
    """Return when a job on an engine can be expected to end."""
    if expected is None or job.started_at is None:
        return Expectation(basis="Nothing like it has run before.")
    begun = job.started_at - timedelta(seconds=job.attained_s)
    low_s, high_s = (expected.run_s if one is None else one for one in (expected.low_s, expected.high_s))
    basis = f"the latest {expected.runs} run(s) of the same {expected.likeness}"
    if expected.low_s is None:
        return Expectation(at=begun + timedelta(seconds=expected.run_s), basis=f"{basis}; too few runs were foretold for an interval")
    return Expectation(
        at=begun + timedelta(seconds=expected.run_s),
        earliest=begun + timedelta(seconds=low_s),
        latest=begun + timedelta(seconds=high_s),
        basis=f"{basis}; 8 of 10 runs ended within the interval",
    )


def _told(row: Request, run_s: float) -> Request:
    """Return a request with its run time. A waiting one counts as never started: its next start is what is asked."""
    return replace(row, estimate_s=run_s, starts=0 if row.site is None else row.starts)


def _run_s(job: Job, expected: Mapping[str, Expected]) -> float:
    return expected[job.id].run_s if job.id in expected else job.spec.resources.wall_s


def _moment(at_s: float, now: datetime) -> datetime:
    return datetime.fromtimestamp(max(at_s, now.timestamp()), tz=now.tzinfo)


def _basis(jobs: int, limits: int) -> str:
    taken = f"; {limits} of them, of which nothing like has run, by their own time limits" if limits else ""
    return f"the policy run on over {jobs} jobs with the run times expected of them{taken}; earliest and latest: half and twice those"
