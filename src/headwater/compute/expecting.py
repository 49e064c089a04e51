"""When a queued job can be expected to start, and a running one to end, with an interval. Pure.

A start is the policy's own decisions run on from now over all that waits and runs, by predicted run times. A job of which nothing
has run yet is taken to run for half its time limit at best, and for all of it otherwise: then it is ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headwater.compute.jobs import Job
from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.expected import Expected, expected_starts
from headwater.compute.scheduler.prediction import BASES, RunTime
from headwater.compute.situation import Facts, group_of, situation

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
    return expected_starts_on(facts, group_of(facts, job.engine))[job.id]


def expected_starts_on(facts: Facts, group: frozenset[str]) -> dict[str, Expectation]:
    """Return when each job that is queued for a group of engines can be expected to start, by job."""
    given, queued = situation(facts, group), [job.id for job in facts.queued if job.engine in group]
    count = len(given.requests)
    if count > (MOST_STOPPED_BY_ORDER if given.policy.preemption.when == "by_order" else MOST_JOBS):
        return dict.fromkeys(queued, Expectation(basis=f"{count} jobs wait and run, too many to forecast while you wait."))
    told = {one.id: facts.expected.get(one.id) or _by_limit(one) for one in (*facts.active, *facts.queued)}
    anew = [replace(row, starts=0) if row.site is None else row for row in given.requests]  # its next start is what is asked
    with interpreted():
        found = expected_starts(anew, given.sites, given.policy, given.now_s, given.queues, told)
    basis = _basis(count, sum(row.name not in facts.expected for row in given.requests))
    return {job: _expectation(found[job], facts.now, basis) for job in queued}


def _expectation(found: Expected, now: datetime, basis: str) -> Expectation:
    at, earliest, latest = (_moment(one, now) for one in (found.start_s, found.earliest_s, found.latest_s))
    return Expectation(at=at, earliest=earliest, latest=latest, basis=found.reason or basis)


def expected_end(job: Job, expected: RunTime | None) -> Expectation:
    """Return when a job on an engine can be expected to end."""
    if expected is None or job.started_at is None:
        return Expectation(basis="No job has ended yet that could tell.")
    begun = job.started_at - timedelta(seconds=job.attained_s)
    at, earliest, latest = (begun + timedelta(seconds=one) for one in (expected.p50_s, expected.p10_s, expected.p90_s))
    alike = "any kind" if expected.basis == BASES[-1] else f"the same {expected.basis}"
    return Expectation(at=at, earliest=earliest, latest=latest, basis=f"the latest {expected.runs} run(s) of {alike}; p10, p50 and p90")


def _by_limit(job: Job) -> RunTime:
    limit_s = job.spec.resources.wall_s
    return RunTime(p10_s=limit_s / 2, p50_s=limit_s, p90_s=limit_s, basis=BASES[-1], runs=0)


def _moment(at_s: float | None, now: datetime) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(max(at_s, now.timestamp()), tz=now.tzinfo)


def _basis(jobs: int, limits: int) -> str:
    taken = f"; {limits} of them by their time limits, as no job has ended yet that could tell" if limits else ""
    return f"the policy run on over {jobs} jobs, with their predicted run times at p50, p10 and p90{taken}"
