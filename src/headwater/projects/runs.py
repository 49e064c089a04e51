"""Runs of projects: one project file, submitted once, and what became of its jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Column, Connection, Index, String, Table, Text, insert, select

from headwater.compute import artifacts, jobs, sites
from headwater.compute.jobs import ANYWHERE, ENDS, GOOD_ENDS, Job, State
from headwater.compute.sites import ENGINES
from headwater.core import canonical, identity, ledger
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import NotFound
from headwater.core.identity import Actor, Permission
from headwater.core.platform import Platform
from headwater.projects.check import PLATFORM, Handed, check, compile_jobs

runs = Table(
    "project_run",
    metadata,
    Column("id", String(60), primary_key=True),
    Column("project", String(40), nullable=False),
    Column("title", JSON, nullable=False),
    Column("organisation", String(200), nullable=False),
    Column("submitted_by", String(64), nullable=False),
    Column("submitted_at", UtcTime, nullable=False),
    Column("text", Text, nullable=False),
    Column("files", JSON, nullable=False),
    Index("ix_project_run_submitted_at", "submitted_at"),
)


class RunState(StrEnum):
    """How a run stands, from its jobs."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it was submitted."""

    id: str
    project: str
    title: Mapping[str, str]
    organisation: str
    submitted_by: str
    submitted_at: datetime
    text: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a project is to be run: for which organisation, on which engine (None: as the settings say), and whether to reuse nothing."""

    organisation: str | None = None
    engine: str | None = None
    force: bool = False


def submit(platform: Platform, actor: Actor, text: str, files: Mapping[str, str], wish: Wish | None = None) -> Run:
    """Check a project, enter its jobs, and return the run.

    `files` gives the stored artifact of each file that the project uses, by its path in the project.
    Raises BadFile, Refused, NotFound for an artifact that the actor may not use or an engine that is not here.
    """
    wish = wish or Wish()
    organisation = wish.organisation or actor.organisation
    identity.require(actor, Permission.PROJECTS_RUN, organisation)
    checked = check(text, "project.yaml", files.__contains__)
    with platform.db.read() as connection:
        for name in checked.files:
            artifacts.require_held(connection, files[name], actor.scopes(Permission.ARTIFACTS_READ))
    run_id = f"{checked.file.name}-{uuid.uuid4().hex[:8]}"
    engine = chosen_engine(platform, wish.engine)
    graph = compile_jobs(checked, Handed(run=run_id, files=files, engine=engine, force=wish.force))
    run = Run(
        id=run_id,
        project=checked.file.name,
        title={str(language): title for language, title in checked.file.title.items()} or {"en": checked.file.name},
        organisation=organisation,
        submitted_by=actor.id,
        submitted_at=platform.clock.now(),
        text=text,
        files=dict(files),
    )
    platform.db.write(lambda connection: _enter(connection, run, graph))
    return run


def chosen_engine(platform: Platform, asked: str | None) -> str:
    """Return the engine or site that a run's jobs go to. Raises NotFound for one that is not installed, set up or registered."""
    chosen = asked or platform.settings.engine
    there = [name for name in ENGINES.names() if name != PLATFORM and ENGINES.get(name).wanted(platform.settings)]
    with platform.db.read() as connection:
        there += [ANYWHERE, *(one.name for one in sites.listed(connection) if one.name not in there)]
    if chosen not in there:
        what = f"There is no engine '{chosen[:40]}' here."
        raise NotFound(what, f"There are: {', '.join(there)}; others are set up in the settings, or registered: headwater site add.")
    return chosen


def _enter(connection: Connection, run: Run, graph: tuple[jobs.NewJob, ...]) -> None:
    fields = {name: getattr(run, name) for name in Run.__slots__}
    connection.execute(insert(runs).values(**fields))
    body = {"project": run.project, "organisation": run.organisation, "file": canonical.digest(run.text), "files": dict(run.files)}
    ledger.append(connection, "run.submitted", subject=run.id, actor=run.submitted_by, at=run.submitted_at, body=body)
    jobs.submit(connection, run.id, graph, organisation=run.organisation, actor=run.submitted_by, at=run.submitted_at)


def get(connection: Connection, run: str) -> Run:
    """Return a run. Raises NotFound."""
    row = connection.execute(select(runs).where(runs.c.id == run)).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run[:60]}.", "List them with `headwater project list`.")
    return Run(**row._asdict())


def listed(connection: Connection, *, scopes: Iterable[str], limit: int = 100) -> tuple[Run, ...]:
    """Return the newest runs within some organisations' scopes."""
    query = select(runs).where(jobs.within(runs.c.organisation, scopes)).order_by(runs.c.submitted_at.desc()).limit(limit)
    return tuple(Run(**row._asdict()) for row in connection.execute(query))


def state_of(graph: Iterable[Job]) -> RunState:
    """Return how a run stands, from its jobs."""
    states = {job.state for job in graph}
    if not states <= ENDS:
        return RunState.RUNNING
    if states <= GOOD_ENDS:
        return RunState.DONE
    return RunState.CANCELLED if State.CANCELLED in states and not states & {State.FAILED, State.REFUSED} else RunState.FAILED


def cancel(connection: Connection, run: Run, *, actor: str, at: datetime) -> None:
    """Ask for the end of every job of a run that has not ended."""
    for job in reversed(jobs.of_graph(connection, run.id)):
        jobs.ask_cancel(connection, job.id, actor=actor, at=at)
