"""Run times from the platform's own past: finished jobs as the scheduler's predictor takes them. How it predicts is in the scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from headwater.compute import jobs
from headwater.compute.jobs import Job, State
from headwater.compute.scheduler.prediction import History, Past, RunTime
from headwater.core.identity import ROOT

LONGEST_HISTORY = 2000


def past(connection: Connection, scopes: Iterable[str] = (ROOT,)) -> tuple[Past, ...]:
    """Return the latest runs that ended well in some organisations; the scheduler learns from those of all."""
    column = jobs.jobs.c
    query = select(jobs.jobs).where(column.state == State.DONE, jobs.within(column.organisation, scopes))
    rows = connection.execute(query.order_by(column.ended_at.desc()).limit(LONGEST_HISTORY))
    return tuple(_past(job) for job in map(jobs.from_row, rows) if job.took_s is not None)


def predicted(history: History, job: Job) -> RunTime | None:
    """Return the run time to expect of a job; None where nothing has run."""
    return history.predict(job.submitted_by, name_of(job), shape_of(job))


def name_of(job: Job) -> str:
    """Return what a job is, whoever hands it in: its organisation's project, step, and program."""
    program = job.spec.step or (job.spec.argv[0] if job.spec.argv else "")
    return f"{job.organisation} {job.spec.project}.{job.name} {program}"


def shape_of(job: Job) -> str:
    """Return what a job asks for."""
    asked = job.spec.resources
    chips = ",".join(f"{chip}x{count}" for chip, count in sorted(asked.accelerators.items()))
    return f"{asked.cpus:g} {asked.memory_gib:g} {chips}"


def kind_of(job: Job) -> str:
    """Return the name that like jobs share, as the scheduler learns from them while they run."""
    return f"{job.submitted_by} {name_of(job)} {shape_of(job)}"


def _past(job: Job) -> Past:
    assert job.ended_at is not None
    assert job.took_s is not None
    return Past(
        user=job.submitted_by,
        name=name_of(job),
        shape=shape_of(job),
        submitted_s=job.submitted_at.timestamp(),
        ended_s=job.ended_at.timestamp(),
        run_s=job.attained_s + job.took_s,
    )
