"""Where a version comes from and what was made of it, read from signed statements.

Backwards each statement names its inputs. Forwards an index of those inputs is needed: it is brought up
to date from the ledger, which lists every statement in order, whenever someone asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, String, Table, insert, select, update

from headwater.core import evidence, ledger, statement
from headwater.core.clock import to_text
from headwater.core.db import metadata
from headwater.core.errors import BadStatement
from headwater.core.evidence import Held
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.core.statement import DATA_VERSION, LINEAGE, PUBLICATION, bare
from headwater.data.authorisation import grants
from headwater.data.catalogue.sets import DataSet, Version

DEEPEST = 30
MOST = 10_000
KINDS = (LINEAGE, DATA_VERSION)

data_inputs = Table(
    "data_input",
    metadata,
    Column("input", String(64), primary_key=True),
    Column("statement", String(71), primary_key=True),
    Index("ix_data_input_statement", "statement"),
)
data_inputs_read = Table(
    "data_input_read",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One step of a lineage: what was made, by which step of which job, from what."""

    digest: str
    statement: str
    step: str
    job: str | None
    at: datetime
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    depth: int

    def as_json(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__} | {"at": to_text(self.at)}
        return told | {"parameters": dict(self.parameters), "inputs": dict(self.inputs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Who used a data set: distinct jobs, published models, and grants with at least one use."""

    jobs: tuple[str, ...]
    models: tuple[str, ...]
    grants: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many there are in all."""
        return len(self.jobs) + len(self.models) + len(self.grants)

    def as_json(self) -> dict[str, Any]:
        """Return the reuse as JSON values."""
        return {"count": self.count, "jobs": list(self.jobs), "models": list(self.models), "grants": list(self.grants)}


def ancestry(connection: Connection, keyring: Keyring, version: Version, *, now: datetime) -> tuple[Made, ...]:
    """Return what a version was made of, step by step, nearest first; statements that are not valid now are left out."""
    found: dict[str, Made] = {}
    pending = [(version.digest, 0)]
    while pending and len(found) < MOST:
        digest, depth = pending.pop(0)
        for held in _makers(connection, keyring, digest, now):
            if held.digest in found or depth >= DEEPEST:
                continue
            found[held.digest] = made = _made(held, digest, depth)
            pending += [(one, depth + 1) for one in made.inputs.values()]
    return tuple(found.values())


def reuse(platform: Platform, dataset: DataSet, versions: Iterable[Version]) -> Reuse:
    """Return who used a data set's versions, directly or through what was made of them."""
    read_new(platform)
    with platform.db.read() as connection:
        roots = {bare(one) for version in versions for one in (version.digest, *(file.digest for file in version.files))}
        jobs, made = _descendants(connection, roots)
        models = {str(held.statement.predicate.get("name")) for digest in made for held in evidence.about(connection, digest, PUBLICATION)}
        held = grants.listed(connection, dataset=dataset.id)
    used = sorted(grant.number for grant in held if grant.used)
    return Reuse(jobs=tuple(sorted(jobs)), models=tuple(sorted(models)), grants=tuple(used))


def read_new(platform: Platform) -> int:
    """Bring the index of inputs up to date with the ledger, and return how many statements were new."""
    with platform.db.read() as connection:
        seen = connection.execute(select(data_inputs_read.c.seq)).scalar_one_or_none() or 0
        if not list(ledger.entries(connection, after=seen, kind="statement.kept", limit=1)):
            return 0
    return platform.db.write(_read_new)


def _read_new(connection: Connection) -> int:
    row = connection.execute(select(data_inputs_read.c.seq).where(data_inputs_read.c.id == 1).with_for_update()).one_or_none()
    if row is None:
        connection.execute(insert(data_inputs_read).values(id=1, seq=0))
    seen, count = (row.seq if row is not None else 0), 0
    for entry in list(ledger.entries(connection, after=seen, kind="statement.kept")):
        seen = entry.seq
        if entry.body.get("predicate_type") in KINDS:
            count += 1
            inputs = _inputs(evidence.get(connection, entry.subject))
            rows = [{"input": one, "statement": entry.subject} for one in sorted({bare(value) for value in inputs.values()})]
            if rows:
                connection.execute(insert(data_inputs), rows)
    connection.execute(update(data_inputs_read).where(data_inputs_read.c.id == 1).values(seq=seen))
    return count


def _descendants(connection: Connection, roots: set[str]) -> tuple[set[str], set[str]]:
    """Return the jobs that used any of the artifacts, directly or further on, and all that they made."""
    jobs: set[str] = set()
    reached, pending = set(roots), list(roots)
    while pending and len(reached) < MOST:
        level, pending = pending, []
        uses = select(data_inputs.c.statement).where(data_inputs.c.input.in_(level)).distinct()
        for digest in connection.execute(uses).scalars().all():
            told = evidence.get(connection, digest).statement
            if told.predicate_type == LINEAGE and told.predicate.get("job"):
                jobs.add(str(told.predicate["job"]))
            made = {bare(one.digest) for one in told.subjects} - reached
            reached |= made
            pending += sorted(made)
    return jobs, reached - roots


def _makers(connection: Connection, keyring: Keyring, digest: str, now: datetime) -> Iterator[Held]:
    """Yield, of each kind, the newest valid statement that says how an artifact was made."""
    for kind in KINDS:
        for held in evidence.about(connection, digest, kind):
            try:
                evidence.check(connection, keyring, held, now=now)
            except BadStatement:
                continue
            yield held
            break


def _made(held: Held, digest: str, depth: int) -> Made:
    told = held.statement
    return Made(
        digest=digest,
        statement=held.digest,
        step=str(told.predicate.get("step") or ("data.publish" if told.predicate_type == DATA_VERSION else "unknown")),
        job=told.predicate.get("job"),
        at=told.issued_at,
        parameters=told.predicate.get("parameters") or {},
        inputs=_inputs(held),
        depth=depth,
    )


def _inputs(held: Held) -> dict[str, str]:
    told = held.statement.predicate.get("inputs")
    named = told.items() if isinstance(told, dict) else ()
    return {str(name): str(value) for name, value in named if statement.bare(str(value)) and str(value).startswith("sha256:")}
