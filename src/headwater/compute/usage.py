"""What organisations have used of late: the average units that their jobs held, the past counting half for every half-life. Pure.

A job that held u units from a to b counts u (2^-(now-b)/h - 2^-(now-a)/h) for half-life h: what the scheduler's own queues come to
when they are aged from moment to moment. A job counts for its organisation and for all above it. Of a job that was stopped and went
on, its last attempt counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import Connection, select

from headwater.compute import jobs, pool
from headwater.compute.jobs import ON_ENGINE, Job

HALF_LIVES = 10
"""After so many, what was used counts less than a thousandth."""
MOST_JOBS = 5000


def recent(connection: Connection, *, now: datetime, half_life_s: float) -> tuple[Job, ...]:
    """Return the jobs whose use of engines still counts: the latest that ended, and those that run."""
    column, since = jobs.jobs.c, now - timedelta(seconds=min(HALF_LIVES * half_life_s, 1e9))
    ended = select(jobs.jobs).where(column.ended_at > since, column.started_at.is_not(None)).order_by(column.ended_at.desc())
    running = select(jobs.jobs).where(column.state.in_(sorted(ON_ENGINE)))
    return tuple(map(jobs.from_row, (*connection.execute(ended.limit(MOST_JOBS)), *connection.execute(running))))


def decayed(used: Iterable[Job], *, now: datetime, half_life_s: float, outside: str) -> dict[str, float]:
    """Return the decayed use by organisation, in normalised units; jobs of the engine `outside` are in no queue."""
    found: dict[str, float] = defaultdict(float)
    for job in used:
        if job.engine == outside or job.started_at is None:
            continue
        units = pool.normalised_units(job.spec.resources)
        amount = units * (_kept(job.ended_at or now, now, half_life_s) - _kept(job.started_at, now, half_life_s))
        for path in lineage(job.organisation):
            found[path] += amount
    return dict(found)


@lru_cache(maxsize=1 << 16)
def lineage(path: str) -> tuple[str, ...]:
    """Return an organisation's path and those of all above it, the topmost first."""
    parts = path.split("/")
    return tuple("/".join(parts[: count + 1]) for count in range(len(parts)))


def _kept(at: datetime, now: datetime, half_life_s: float) -> float:
    return float(0.5 ** (max((now - at).total_seconds(), 0.0) / half_life_s)) if half_life_s > 0 else 0.0
