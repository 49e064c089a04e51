"""The queue: each job that waits for an engine, why, what would unblock it, and when it can be expected to start.

What it costs is bounded whatever is queued: a page of rows, two counts, and one decision over the oldest jobs. Up to `MOST_JOBS`
waiting, starts are forecast and the rows come in the order of those starts, which is the policy's. Above it they come as they were
handed in, each with the reason that the dispatcher recorded last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from headwater.compute import deciding, jobs
from headwater.compute.deciding import CLOSED, Decision, Verdict
from headwater.compute.expecting import MOST_JOBS, Expectation, expected_starts_on
from headwater.compute.jobs import Job, State
from headwater.compute.judging import Judge
from headwater.compute.situation import Facts, groups

MOST_NAMES = 200
"""Organisations to choose from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which waiting jobs are asked for; what is empty is any. An organisation stands for all below it too."""

    organisation: str = ""
    chip: str = ""
    engine: str = ""
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One waiting job."""

    job: Job
    waited_s: float
    code: str
    reason: str
    unblocks: str
    start: Expectation


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A page of the queue: `count` fit, `total` wait in all; `forecast` tells whether the order is that of expected starts."""

    rows: tuple[Waiting, ...]
    count: int
    total: int
    forecast: bool
    policy: str
    problem: str = ""


def look(connection: Connection, judge: Judge, wanted: Wanted, *, scopes: Iterable[str], now: datetime) -> Queue:
    """Return a page of the queue, of jobs within some organisations' scopes."""
    fitting = _fitting(wanted, scopes)
    total = _count(connection, jobs.jobs.c.state == State.QUEUED)
    count = _count(connection, *fitting)
    forecast = total <= MOST_JOBS
    limit, offset = (None, None) if forecast else (wanted.limit, wanted.offset)
    query = select(jobs.jobs).where(*fitting).order_by(*OLDEST_FIRST).limit(limit).offset(offset)
    found = tuple(map(jobs.from_row, connection.execute(query)))
    if forecast and found:
        rows = _forecast(found, judge.facts(connection, queued=jobs.in_states(connection, {State.QUEUED}, limit=MOST_JOBS), now=now))
    else:
        rows = tuple(_recorded(job, now, total) for job in found)
    told = any(row.start.at is not None for row in rows)
    if forecast:
        rows = rows[wanted.offset : wanted.offset + wanted.limit]
    return Queue(rows=rows, count=count, total=total, forecast=forecast and told, policy=judge.policy.name, problem=judge.file.problem)


def organisations(connection: Connection, scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the organisations whose jobs wait, within some scopes."""
    column = jobs.jobs.c.organisation
    query = select(column).where(jobs.jobs.c.state == State.QUEUED, jobs.within(column, scopes)).distinct().order_by(column)
    return tuple(connection.execute(query.limit(MOST_NAMES)).scalars())


OLDEST_FIRST = (jobs.jobs.c.submitted_at, jobs.jobs.c.graph, jobs.jobs.c.position)


def _fitting(wanted: Wanted, scopes: Iterable[str]) -> list[Any]:
    column = jobs.jobs.c
    conditions = [column.state == State.QUEUED, jobs.within(column.organisation, scopes)]
    if wanted.organisation:
        conditions.append(jobs.within(column.organisation, [wanted.organisation]))
    if wanted.engine:
        conditions.append(column.engine == wanted.engine)
    if wanted.chip:
        conditions.append(column.spec[("resources", "accelerators", wanted.chip)].as_float() > 0)
    return conditions


def _count(connection: Connection, *conditions: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(jobs.jobs).where(*conditions)).scalar_one())


def _forecast(found: Sequence[Job], facts: Facts) -> tuple[Waiting, ...]:
    """Return jobs as the policy decides about them now, in the order of their expected starts."""
    if not facts.capacity:
        return tuple(_recorded(job, facts.now, len(found)) for job in found)
    made = {one.job: one for one in deciding.decisions(facts)}
    never = {one.job for one in made.values() if one.verdict is Verdict.NEVER or one.code in CLOSED}
    starts = {job: start for group in groups(facts) for job, start in _starts(facts, group, never).items()}
    rows = [_decided(job, made[job.id], starts, facts.now) for job in found if job.id in made]
    far = datetime.max.replace(tzinfo=facts.now.tzinfo)
    return tuple(sorted(rows, key=lambda row: (row.start.at or far, row.job.submitted_at, row.job.graph, row.job.position)))


def _starts(facts: Facts, group: frozenset[str], aside: set[str]) -> dict[str, Expectation]:
    """Return expected starts on a group of engines; what could never run there, or waits for one that is closed, is left aside."""
    able = tuple(job for job in facts.queued if job.id not in aside and job.engine in group)
    return expected_starts_on(replace(facts, queued=able), group) if able else {}


def _decided(job: Job, one: Decision, starts: Mapping[str, Expectation], now: datetime) -> Waiting:
    starting = one.verdict is Verdict.START
    start = Expectation(at=now, earliest=now, latest=now, basis="it fits now") if starting else starts.get(job.id)
    return Waiting(
        job=job,
        waited_s=_waited_s(job, now),
        code=one.code,
        reason="nothing holds it back" if starting else one.reason,
        unblocks="The dispatcher's next look at the queue." if starting else one.unblocks,
        start=start or Expectation(basis=one.reason),
    )


def _recorded(job: Job, now: datetime, total: int) -> Waiting:
    told = job.decision or {}
    nobody = "nobody has decided about it yet: no server runs, or older jobs are looked at first"
    return Waiting(
        job=job,
        waited_s=_waited_s(job, now),
        code=str(told.get("code", "not_looked_at")),
        reason=str(told.get("why", nobody)),
        unblocks=str(told.get("unblocks", "")),
        start=Expectation(basis=f"{total} jobs wait, too many to forecast, or no server has run here yet."),
    )


def _waited_s(job: Job, now: datetime) -> float:
    return max((now - job.submitted_at).total_seconds(), 0.0)
