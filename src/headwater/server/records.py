"""Pages of the ledger and of the statements, newest first, with what each statement is worth now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from headwater.core import evidence, ledger
from headwater.core.db import Database
from headwater.core.errors import Broken
from headwater.core.evidence import Held
from headwater.core.ledger import Entry, ledger_entry
from headwater.core.platform import Platform

LARGEST_SEQ = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which ledger entries are asked for; a `kind` may end in `*`."""

    kind: str = ""
    subject: str = ""
    actor: str = ""
    before: int = LARGEST_SEQ
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What a check of the whole ledger found."""

    intact: bool
    entries: int
    head: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A held statement, and whether it is valid now; `why` tells where it is not."""

    held: Held
    valid: bool
    why: str = ""


def entries(connection: Connection, wanted: Wanted) -> tuple[Entry, ...]:
    """Return the newest ledger entries that fit, below the number `before`."""
    query = select(ledger_entry).where(ledger_entry.c.seq < wanted.before)
    if wanted.kind.endswith("*"):
        query = query.where(ledger_entry.c.kind.startswith(wanted.kind[:-1], autoescape=True))
    elif wanted.kind:
        query = query.where(ledger_entry.c.kind == wanted.kind)
    if wanted.subject:
        query = query.where(ledger_entry.c.subject == wanted.subject)
    if wanted.actor:
        query = query.where(ledger_entry.c.actor == wanted.actor)
    found = connection.execute(query.order_by(ledger_entry.c.seq.desc()).limit(wanted.limit))
    return tuple(Entry(**(row._asdict() | {"body": json.loads(row.body)})) for row in found)


def kinds(connection: Connection) -> tuple[str, ...]:
    """Return every kind of entry that the ledger holds."""
    return tuple(connection.execute(select(ledger_entry.c.kind).distinct().order_by(ledger_entry.c.kind)).scalars())


def chain(db: Database) -> Chain:
    """Check the whole ledger and return what was found."""
    with db.read() as connection:
        try:
            found = ledger.verify(connection)
        except Broken as error:
            count = connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one()
            return Chain(intact=False, entries=count, head="", problem=error.what)
    return Chain(intact=True, entries=found.entries, head=found.head)


def statements(platform: Platform, connection: Connection, *, kind: str = "", offset: int = 0, limit: int = 50) -> tuple[Weighed, ...]:
    """Return held statements, newest first."""
    query = select(evidence.statements.c.digest)
    if kind:
        query = query.where(evidence.statements.c.predicate_type == kind)
    query = query.order_by(evidence.statements.c.issued_at.desc(), evidence.statements.c.digest).offset(offset).limit(limit)
    return tuple(weigh(platform, connection, evidence.get(connection, digest)) for digest in connection.execute(query).scalars())


def about(platform: Platform, connection: Connection, artifact: str) -> tuple[Weighed, ...]:
    """Return the statements about an artifact, newest first."""
    return tuple(weigh(platform, connection, held) for held in evidence.about(connection, artifact))


def weigh(platform: Platform, connection: Connection, held: Held) -> Weighed:
    """Return a statement with whether it is valid now."""
    why = evidence.objection(connection, platform.keyring, held, now=platform.clock.now())
    return Weighed(held=held, valid=not why, why=why)


def payload(held: Held) -> Mapping[str, Any]:
    """Return the in-toto statement as it was signed."""
    told: dict[str, Any] = json.loads(held.envelope.payload)
    return told
