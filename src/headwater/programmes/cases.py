"""Cases as the platform keeps them, and how they are found again; `casework.py` changes them.

A case is the fold of its rows in `case_event`; `case` holds the folded state for lists. The definition
that a case began under is kept in `procedure`, so that it ends under the same rules whatever the file
says later.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Column, Connection, ForeignKey, Index, Integer, String, Table, Text, false, insert, or_, select
from sqlalchemy.exc import IntegrityError

from headwater.core import canonical, evidence, identity
from headwater.core.clock import to_text
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import Broken, Conflict, NotFound
from headwater.core.identity import Actor
from headwater.core.keys import Keyring
from headwater.programmes import engine
from headwater.programmes.definition import Definition, from_json
from headwater.programmes.engine import Case, Event, Party, Running
from headwater.programmes.expression import Value

procedures = Table(
    "procedure",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("id", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("body", Text, nullable=False),
)
cases = Table(
    "case",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("procedure", String(64), nullable=False),
    Column("definition", String(71), ForeignKey("procedure.digest"), nullable=False),
    Column("organisation", String(200), nullable=False),
    Column("job", String(120), unique=True),
    Column("state", String(64), nullable=False),
    Column("number", String(80), unique=True),
    Column("statement", String(71)),
    Column("fields", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("opened_by", String(80), nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Index("ix_case_procedure_state", "procedure", "state"),
    Index("ix_case_organisation", "organisation"),
)
case_events = Table(
    "case_event",
    metadata,
    Column("case", String(40), ForeignKey("case.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("role", String(64), nullable=False),
    Column("definition", String(71), nullable=False),
    Column("data", JSON, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A case as it stands, with what a page or an answer shows of it."""

    id: str
    organisation: str
    job: str | None
    statement: str | None
    opened_by: str
    opened_at: datetime
    changed_at: datetime
    definition: Definition
    case: Case
    clocks: tuple[Running, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the case as JSON values."""
        return {
            "id": self.id,
            "procedure": self.definition.id,
            "procedure_version": self.definition.version,
            "definition": self.case.definition,
            "organisation": self.organisation,
            "state": self.case.state,
            "state_title": self.definition.states[self.case.state].title.model_dump(),
            "final": self.definition.states[self.case.state].final,
            "number": self.case.number,
            "statement": self.statement,
            "fields": dict(self.case.fields),
            "version": self.case.version,
            "opened_by": self.opened_by,
            "opened_at": to_text(self.opened_at),
            "changed_at": to_text(self.changed_at),
            "job": self.job,
            "clocks": [clock_json(one, overdue=one.clock in self.case.overdue) for one in self.clocks],
            "notice": self.definition.register_.notice.model_dump() if self.definition.register_ else None,
        }


def clock_json(one: Running, *, overdue: bool) -> dict[str, Any]:
    """Return a running clock as JSON values."""
    return {
        "clock": one.clock,
        "due": one.due.day.isoformat(),
        "provisional": one.due.provisional,
        "overdue": overdue,
        "source": one.source,
    }


def party(actor: Actor, definition: Definition, organisation: str) -> Party:
    """Return the roles of a procedure that a person may take for cases of an organisation."""
    roles = {
        name
        for name, role in definition.roles.items()
        if role.permission is not None and identity.decide(actor, role.permission, organisation).allowed
    }
    return Party(id=actor.id, roles=frozenset(roles))


def get(connection: Connection, case: str, *, version: int | None = None) -> Record:
    """Return a case. Raises NotFound, and Conflict where it is not at the given version."""
    row = connection.execute(select(cases).where(cases.c.id == case)).one_or_none()
    if row is None:
        raise NotFound(f"There is no case {case[:60]}.", "List them with `headwater case list`.")
    definition = _kept_definition(connection, row.definition)
    folded = engine.fold(definition, events(connection, case))
    if version is not None and folded.version != version:
        raise Conflict(f"The case is at version {folded.version}, not {version}: somebody changed it.", "Look at it again.")
    shown = {name: getattr(row, name) for name in ("id", "organisation", "job", "statement", "opened_by", "opened_at", "changed_at")}
    return Record(definition=definition, case=folded, clocks=engine.running(definition, folded), **shown)


def listed(
    connection: Connection, *, scopes: Iterable[str], procedure: str | None = None, state: str | None = None, limit: int = 100
) -> tuple[Record, ...]:
    """Return the cases of some organisations' scopes, the last changed first."""
    within = (cases.c.organisation.startswith(scope + "/", autoescape=True) | (cases.c.organisation == scope) for scope in scopes)
    query = select(cases.c.id).where(or_(false(), *within)).order_by(cases.c.changed_at.desc(), cases.c.id).limit(limit)
    if procedure is not None:
        query = query.where(cases.c.procedure == procedure)
    if state is not None:
        query = query.where(cases.c.state == state)
    return tuple(get(connection, row.id) for row in connection.execute(query).all())


def events(connection: Connection, case: str) -> tuple[Event, ...]:
    """Return a case's events, oldest first."""
    query = select(case_events).where(case_events.c.case == case).order_by(case_events.c.seq)
    names = ("kind", "at", "actor", "role", "definition", "data")
    return tuple(Event(**{name: getattr(row, name) for name in names}) for row in connection.execute(query))


def facts_of(connection: Connection, keyring: Keyring, record: Record, *, now: datetime) -> Mapping[str, Value]:
    """Return what the guards may know of the evidence: the overall grade or `true` of each valid statement, None where there is none."""
    facts: dict[str, Value] = {}
    for name, one in record.definition.evidence.items():
        about = record.case.fields.get(one.about)
        held = evidence.valid(connection, keyring, about, one.predicate_type, now=now)[0] if about else None
        overall = held.statement.predicate.get("overall") if held else None
        facts[name] = None if held is None else overall if isinstance(overall, str) else True
    return facts


def keep_definition(connection: Connection, definition: Definition) -> None:
    """Keep the definition that a case is opened under. Keeping it twice, or from two writers at once, changes nothing."""
    known = connection.execute(select(procedures.c.digest).where(procedures.c.digest == definition.digest)).first()
    if known is not None:
        return
    body = canonical.to_bytes(definition.as_json()).decode()
    row = {"digest": definition.digest, "id": definition.id, "version": definition.version, "body": body}
    with contextlib.suppress(IntegrityError), connection.begin_nested():  # another writer kept it between the look and the insert
        connection.execute(insert(procedures).values(**row))


def _kept_definition(connection: Connection, digest: str) -> Definition:
    body = connection.execute(select(procedures.c.body).where(procedures.c.digest == digest)).scalar_one()
    return _read_kept(body, digest)


@lru_cache(maxsize=64)
def _read_kept(body: str, digest: str) -> Definition:
    """Return a kept definition; remembered, since equal text under an equal digest never reads differently."""
    definition = from_json(json.loads(body), f"procedure {digest[:19]}…")
    if definition.digest != digest:
        raise Broken(f"The kept procedure {digest[:19]}… was altered.", "Restore it from a backup.")
    return definition
