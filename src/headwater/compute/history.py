"""The platform's own past as a trace for the twin: from the jobs table and the ledger's entries about each job.

A job is submitted when it could first have run: when it was queued, after what it needs had succeeded. Only jobs that ran to a good
end of their own are replayed; others are counted by the same rules as in any trace. Reused jobs never ran, and are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from headwater.compute import jobs, pool
from headwater.compute.jobs import Job, State
from headwater.compute.twin.asks import Ask
from headwater.compute.twin.rows import RawJob, build_trace
from headwater.compute.twin.trace import FaultBook, Trace
from headwater.compute.twin.traces import PREFIX
from headwater.core import ledger, platform, settings
from headwater.core.errors import NotFound

RAN = frozenset({State.DONE, State.FAILED, State.REFUSED, State.CANCELLED, State.STARTING, State.RUNNING, State.QUEUED})


def read_history(folder: Path) -> Trace:
    """Return the trace of the platform in a data folder. Raises NotFound where there is none."""
    chosen = settings.load(data_folder=folder)
    if not chosen.database_url and not (chosen.data_folder / "headwater.db").is_file():
        raise NotFound(f"There is no platform in '{folder}'.", f"Give its data folder: {PREFIX}.headwater")
    with platform.opened(chosen) as opened, opened.db.read() as connection:
        return trace_of_platform(connection, name=chosen.data_folder.name)


def trace_of_platform(connection: Connection, *, name: str) -> Trace:
    """Return the trace of all jobs that a database knows, on the clock of their first submission."""
    queued = _first_queued(connection)
    rows = connection.execute(select(jobs.jobs).order_by(jobs.jobs.c.submitted_at, jobs.jobs.c.graph, jobs.jobs.c.position))
    known = [job for job in map(jobs.from_row, rows) if job.state in RAN and (job.attempt > 0 or job.state is State.QUEUED)]
    known.sort(key=lambda job: queued.get(job.id, job.submitted_at))
    origin = min((queued.get(job.id, job.submitted_at) for job in known), default=None)
    return build_trace(name, _rows(known, queued, origin), FaultBook())


def _first_queued(connection: Connection) -> dict[str, datetime]:
    """Return when each job that had to wait for others could first have run."""
    first: dict[str, datetime] = {}
    for entry in ledger.entries(connection, kind="job.queued"):
        if entry.body.get("attempt") == 0:
            first.setdefault(entry.subject, entry.at)
    return first


def _rows(known: list[Job], queued: dict[str, datetime], origin: datetime | None) -> Iterator[RawJob]:
    for row, job in enumerate(known, 1):
        assert origin is not None
        asked, submit = job.spec.resources, queued.get(job.id, job.submitted_at)
        whole = job.state is State.DONE and job.took_s is not None
        once = whole and job.attained_s == 0 and job.started_at is not None
        yield RawJob(
            row=row,
            job_id=job.id,
            submit_s=(submit - origin).total_seconds(),
            duration_s=job.attained_s + job.took_s if whole and job.took_s is not None else None,
            accelerators=float(max(asked.accelerators.values(), default=0)),
            cores=asked.cpus,
            start_s=(job.started_at - origin).total_seconds() if once and job.started_at else None,
            end_s=(job.ended_at - origin).total_seconds() if once and job.ended_at else None,
            walltime_s=asked.wall_s,
            wait_s=(job.started_at - submit).total_seconds() if once and job.started_at else None,
            tenant=job.organisation,
            pool=pool.row_of(job.engine, asked),
            label=f"{job.spec.project}.{job.name}",
            ask=Ask(
                deadline_s=None if asked.deadline_s is None else (submit - origin).total_seconds() + asked.deadline_s,
                checkpoint_s=asked.checkpoint_s or None,  # 0 is "whenever asked", which is what a trace that says nothing means
            ),
        )
