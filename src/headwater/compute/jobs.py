"""Jobs as the platform records them: their states, the one table of allowed changes, and the queries over them.

A job's life is `waiting -> queued -> starting -> running -> done`. A job whose process was lost, that
made room for another, or whose step may be retried, goes back to `queued` under a new attempt. It may also end as `reused` (an
equal job had finished before), `failed`, `refused` (its gate stayed closed), `cancelled`, or `skipped`
(a job it needs did not succeed).
Every change is one transaction with its ledger entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Column, Connection, Float, ForeignKey, Index, Integer, Select, String, Table, select, update
from sqlalchemy.engine import Row

from headwater.core import bulk, ledger
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import Conflict, NotFound
from headwater.core.steps import Resources


class State(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


MOVES: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.QUEUED, State.SKIPPED, State.CANCELLED}),
    State.QUEUED: frozenset({State.STARTING, State.REUSED, State.CANCELLED, State.FAILED}),
    State.STARTING: frozenset({State.RUNNING, State.QUEUED, State.DONE, State.FAILED, State.REFUSED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.DONE, State.FAILED, State.REFUSED, State.CANCELLED}),
}
GOOD_ENDS = frozenset({State.DONE, State.REUSED})
ENDS = GOOD_ENDS | {State.FAILED, State.REFUSED, State.CANCELLED, State.SKIPPED}
ON_ENGINE = frozenset({State.STARTING, State.RUNNING})
ANYWHERE = "any"
"""What stands for an engine in a job that may go to any site."""

jobs = Table(
    "job",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("graph", String(60), nullable=False),
    Column("name", String(80), nullable=False),
    Column("position", Integer, nullable=False),
    Column("organisation", String(200), nullable=False),
    Column("submitted_by", String(64), nullable=False),
    Column("step", String(80)),
    Column("spec", JSON, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(1000), nullable=False, default=""),
    Column("engine", String(40), nullable=False),
    Column("asked", String(40), nullable=False, default="", server_default=""),
    Column("place", String(400), nullable=False, default=""),
    Column("attempt", Integer, nullable=False, default=0),
    Column("reuse_key", String(71)),
    Column("reused_from", String(120)),
    Column("result", JSON),
    Column("error", JSON),
    Column("usage", JSON),
    Column("devices", JSON),
    Column("submitted_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("cancel_asked_by", String(64)),
    Column("decision", JSON),
    Column("attained_s", Float, nullable=False, default=0.0, server_default="0"),
    Column("preempted_for", String(120)),
    Column("preemptions", Integer, nullable=False, default=0, server_default="0"),
    Column("moves", Integer, nullable=False, default=0, server_default="0"),
    Column("home", String(32)),
    Index("ix_job_graph", "graph", "position"),
    Index("ix_job_state", "state"),
    Index("ix_job_reuse_key", "reuse_key"),
    Index("ix_job_ended_at", "ended_at"),
    Index("ix_job_submitted_at", "submitted_at"),
)
needs = Table(
    "job_need",
    metadata,
    Column("job", String(120), ForeignKey("job.id"), primary_key=True),
    Column("needs", String(120), ForeignKey("job.id"), primary_key=True),
    Index("ix_job_need_needs", "needs"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where an input comes from: an artifact, or an output of another job of the graph."""

    artifact: str | None = None
    job: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a job is to do: a step with parameters, or a command."""

    step: str | None = None
    argv: tuple[str, ...] = ()
    params: Mapping[str, Any]
    inputs: Mapping[str, Input]
    resources: Resources = Resources()
    gate: tuple[str, ...] = ()
    project: str = ""
    seed: int = 0
    code: str = ""
    """Digest of the step's code and of the libraries that change its result."""
    outputs: tuple[str, ...] = ()
    """Outputs that a command must leave in `outputs/`; a step declares its own."""
    reuse: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def spec_from(told: Mapping[str, Any]) -> Spec:
    """Return the spec that `Spec.as_json` wrote."""
    inputs = {name: Input(**one) for name, one in told["inputs"].items()}
    rest = {key: value for key, value in told.items() if key not in ("inputs", "resources", "argv", "gate", "outputs")}
    return Spec(
        inputs=inputs,
        resources=_resources(told["resources"]),
        argv=tuple(told["argv"]),
        gate=tuple(told["gate"]),
        outputs=tuple(told["outputs"]),
        **rest,
    )


def _resources(told: Mapping[str, Any]) -> Resources:
    return Resources(**(dict(told) | {"residency": tuple(told.get("residency", ()))}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands."""

    id: str
    graph: str
    name: str
    position: int
    organisation: str
    submitted_by: str
    step: str | None
    spec: Spec
    state: State
    reason: str
    engine: str
    """Where it runs or ran; while it waits, where it is to run: `ANYWHERE` for any site."""
    place: str
    attempt: int
    reuse_key: str | None
    reused_from: str | None
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    usage: Mapping[str, Any] | None
    devices: Mapping[str, Sequence[int]] | None
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_asked_by: str | None
    decision: Mapping[str, Any] | None
    """What was decided last about it: a code, why, and what would unblock it."""
    attained_s: float
    """Work that stopped attempts left in its checkpoints, in seconds."""
    preempted_for: str | None
    """The job that this one makes room for, while it stops."""
    preemptions: int
    """How many of its attempts were stopped for other jobs, or lost with their site: they use up no retries."""
    asked: str = ""
    """The engine that was asked for; empty: the same as `engine`."""
    moves: int = 0
    """How many of its attempts were left behind on a site that was lost, and may still run there."""
    home: str | None = None
    """The folder that its engine keeps the present attempt in (see `engines/home.py`)."""

    @property
    def key(self) -> str:
        """The engine's key of the present attempt."""
        return f"{self.id}.{self.attempt}"

    @property
    def outputs(self) -> Mapping[str, str]:
        """The artifacts that the job made, by output name."""
        return dict((self.result or {}).get("outputs", {}))

    @property
    def took_s(self) -> float | None:
        """Seconds from start to end, or None while it has not ended."""
        return (self.ended_at - self.started_at).total_seconds() if self.started_at and self.ended_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to submit; `needs` are ids of jobs of the same graph."""

    id: str
    name: str
    spec: Spec
    engine: str
    needs: frozenset[str] = frozenset()


def submit(connection: Connection, graph: str, new: Sequence[NewJob], *, organisation: str, actor: str, at: datetime) -> None:
    """Enter a graph of jobs, whole. Submitting the same graph id again changes nothing."""
    if connection.execute(select(jobs.c.id).where(jobs.c.graph == graph).limit(1)).first():
        return
    rows = []
    for position, job in enumerate(new):
        state = State.WAITING if job.needs else State.QUEUED
        row = {"id": job.id, "graph": graph, "name": job.name, "position": position, "state": state, "engine": job.engine}
        spec = {"organisation": organisation, "submitted_by": actor, "submitted_at": at, "step": job.spec.step, "spec": job.spec.as_json()}
        rows.append(row | spec | {"asked": job.engine})
    bulk.insert_all(connection, jobs, rows)
    bulk.insert_all(connection, needs, [{"job": job.id, "needs": need} for job in new for need in sorted(job.needs)])
    ledger.append(connection, "graph.submitted", subject=graph, actor=actor, at=at, body={"jobs": [job.id for job in new]})


def get(connection: Connection, job: str) -> Job:
    """Return a job. Raises NotFound."""
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job[:60]}.", "List them with `headwater job list`.")
    return from_row(row)


def of_graph(connection: Connection, graph: str) -> tuple[Job, ...]:
    """Return a graph's jobs in the order they were given."""
    return tuple(from_row(row) for row in connection.execute(select(jobs).where(jobs.c.graph == graph).order_by(jobs.c.position)))


def in_states(connection: Connection, states: Collection[State], *, limit: int | None = None) -> tuple[Job, ...]:
    """Return the jobs that are in one of the states, oldest first."""
    query = select(jobs).where(jobs.c.state.in_(sorted(states))).order_by(jobs.c.submitted_at, jobs.c.graph, jobs.c.position)
    return tuple(from_row(row) for row in connection.execute(query.limit(limit)))


def listed(connection: Connection, *, scopes: Iterable[str], limit: int = 100, state: State | None = None) -> tuple[Job, ...]:
    """Return the newest jobs within some organisations' scopes."""
    return tuple(from_row(row) for row in connection.execute(_newest_first(select(jobs), scopes, state).limit(limit)))


def newest(connection: Connection, *, scopes: Iterable[str], limit: int, state: State | None = None) -> list[str]:
    """Return the ids of the newest jobs within some organisations' scopes."""
    return list(connection.execute(_newest_first(select(jobs.c.id), scopes, state).limit(limit)).scalars())


def named(connection: Connection, ids: Collection[str]) -> tuple[Job, ...]:
    """Return the jobs with some ids, in no order; those that are not there are left out."""
    return tuple(from_row(row) for row in connection.execute(select(jobs).where(bulk.among(connection, jobs.c.id, list(ids)))))


def _newest_first(query: Select[Any], scopes: Iterable[str], state: State | None) -> Select[Any]:
    query = query.where(within(jobs.c.organisation, scopes)).order_by(jobs.c.submitted_at.desc(), jobs.c.position)
    return query if state is None else query.where(jobs.c.state == state)


def within(column: Any, scopes: Iterable[str]) -> Any:
    """Return the condition that an organisation column lies in one of the scopes; none where there is no scope."""
    from sqlalchemy import false, or_

    return or_(false(), *((column == scope) | column.startswith(scope + "/", autoescape=True) for scope in scopes))


def needed_by(connection: Connection, job: str) -> tuple[Job, ...]:
    """Return the jobs that a job needs."""
    query = select(jobs).join(needs, needs.c.needs == jobs.c.id).where(needs.c.job == job)
    return tuple(from_row(row) for row in connection.execute(query.order_by(jobs.c.position)))


def finished_like(connection: Connection, reuse_key: str, organisation: str) -> tuple[Job, ...]:
    """Return done jobs of the same organisation that did exactly the same, newest first."""
    query = select(jobs).where(jobs.c.reuse_key == reuse_key, jobs.c.organisation == organisation, jobs.c.state == State.DONE)
    return tuple(from_row(row) for row in connection.execute(query.order_by(jobs.c.ended_at.desc()).limit(5)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of a job's state; `values` are other columns that change with it."""

    job: Job
    to: State
    actor: str
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def move(connection: Connection, job: Job, to: State, *, at: datetime, actor: str, reason: str = "", **values: Any) -> None:
    """Change a job's state with its ledger entry. Raises Conflict where the table of moves, or another writer, forbids it."""
    if not move_all(connection, [Move(job=job, to=to, actor=actor, reason=reason, values=values)], at=at):
        raise Conflict(f"Job {job.id} is no longer {job.state} in attempt {job.attempt}.", "Another writer was first.")


def move_all(connection: Connection, wanted: Sequence[Move], *, at: datetime) -> frozenset[str]:
    """Change many jobs' states with their ledger entries, and return those that changed: what another writer moved stays as it is.

    Raises Conflict where the table of moves forbids one of them.
    """
    for one in wanted:
        if one.to not in MOVES.get(one.job.state, frozenset()):
            raise Conflict(f"Job {one.job.id} is {one.job.state} and cannot become {one.to}.", "Look at it again.")
    known = {one.job.id: {"state": one.job.state, "attempt": one.job.attempt} for one in wanted}
    fresh: set[str] = set()
    for rows in _alike([_changed(one, at) for one in wanted]):
        fresh |= bulk.update_seen(connection, jobs, "id", rows, {row["id"]: known[row["id"]] for row in rows})
    made = [one for one in wanted if one.job.id in fresh]
    if made:
        ledger.extend(connection, [_told(one, at) for one in made])
    if ended := [one for one in made if one.to in ENDS]:
        _release(connection, ended, at=at)
    return frozenset(one.job.id for one in made)


def note_all(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Set columns that say why queued jobs wait, with no entry in the ledger; each row names its `id`. What has moved on stays as it is."""
    bulk.update_seen(connection, jobs, "id", rows, {row["id"]: {"state": State.QUEUED} for row in rows})


def _changed(one: Move, at: datetime) -> dict[str, Any]:
    values = {"id": one.job.id, "state": one.to, "reason": one.reason[:1000], **one.values}
    if one.to in ENDS:
        values["ended_at"] = at
    elif one.to is State.QUEUED and one.job.asked:
        values["engine"] = one.job.asked
    return values


def _alike(rows: Sequence[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Return rows in groups that name the same columns."""
    by_columns: dict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_columns[frozenset(row)].append(row)
    return by_columns.values()


def _told(one: Move, at: datetime) -> ledger.Told:
    body = {"attempt": one.values.get("attempt", one.job.attempt), "reason": one.reason[:1000]}
    return ledger.Told(kind=f"job.{one.to}", subject=one.job.id, actor=one.actor, at=at, body=body)


def ask_room(connection: Connection, job: Job, *, for_job: str, why: str, at: datetime, actor: str) -> None:
    """Ask a job on an engine to stop and wait again, because another comes first. Raises Conflict where it is not there any more."""
    changed = connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.state == job.state, jobs.c.attempt == job.attempt, jobs.c.preempted_for.is_(None))
        .values(preempted_for=for_job)
    )
    if changed.rowcount != 1:
        raise Conflict(f"Job {job.id} is no longer {job.state} in attempt {job.attempt}.", "Another writer was first.")
    ledger.append(connection, "job.preempted", subject=job.id, actor=actor, at=at, body={"for": for_job, "why": why[:1000]})


def ask_cancel(connection: Connection, job: str, *, actor: str, at: datetime) -> None:
    """Ask for a job's end. One not yet started ends now; the dispatcher ends one that runs."""
    found = get(connection, job)
    if found.state in ENDS or found.cancel_asked_by:
        return
    if found.state in (State.WAITING, State.QUEUED):
        move(connection, found, State.CANCELLED, at=at, actor=actor, reason="cancelled before it started")
        return
    connection.execute(update(jobs).where(jobs.c.id == job).values(cancel_asked_by=actor))
    ledger.append(connection, "job.cancel_asked", subject=job, actor=actor, at=at)


def _release(connection: Connection, ended: Sequence[Move], *, at: datetime) -> None:
    """Queue what waited for these jobs alone, or skip it where one of them did not succeed."""
    over = {one.job.id: one for one in ended}
    below = select(needs.c.job, needs.c.needs).join(jobs, needs.c.job == jobs.c.id)
    waiting: dict[str, list[Move]] = defaultdict(list)
    for child, parent in connection.execute(below.where(bulk.among(connection, needs.c.needs, list(over)), jobs.c.state == State.WAITING)):
        waiting[child].append(over[parent])
    if not waiting:
        return
    held = select(needs.c.job).join(jobs, needs.c.needs == jobs.c.id).where(needs.c.job.in_(list(waiting)), jobs.c.state.not_in(GOOD_ENDS))
    unready = set(connection.execute(held).scalars())
    found = connection.execute(select(jobs).where(jobs.c.id.in_(list(waiting))).order_by(jobs.c.graph, jobs.c.position))
    moves = []
    for child in map(from_row, found):
        bad = next((one for one in waiting[child.id] if one.to not in GOOD_ENDS), None)
        actor = waiting[child.id][0].actor
        if bad is not None:
            reason = f"needs '{bad.job.name}', which did not succeed"
            moves.append(Move(job=child, to=State.SKIPPED, actor=bad.actor, reason=reason))
        elif child.id not in unready:
            moves.append(Move(job=child, to=State.QUEUED, actor=actor))
    move_all(connection, moves, at=at)


def from_row(row: Row[Any]) -> Job:
    """Return the job in a row of the table."""
    told = row._asdict()
    return Job(**(told | {"spec": spec_from(told["spec"]), "state": State(told["state"])}))
