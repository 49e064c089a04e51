"""The ledger: one append-only record in which each entry carries the hash of the one before.

Append inside the transaction of the change that the entry records; then the two can never disagree.
The table `ledger_head` keeps the last number and hash: it makes appends queue up (on PostgreSQL the
row is locked) and shows entries cut off at the end. The database itself refuses to update or delete
entries; `verify` finds what was changed behind its back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, String, Table, Text, insert, select, update

from headwater.core import bulk, canonical
from headwater.core.canonical import written
from headwater.core.clock import to_text
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import Broken

GENESIS = "sha256:" + "0" * 64
IN_PIECES = {"yield_per": 1000}
"""For one statement: as an option of the connection it would stay, and on PostgreSQL break every write after it."""

ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(80), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(71), nullable=False),
    Column("hash", String(71), nullable=False, unique=True),
    Index("ix_ledger_entry_kind_subject", "kind", "subject"),
    Index("ix_ledger_entry_subject", "subject"),
)
ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", String(71), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: what happened (`job.started`), to what, by whom, when, with which facts."""

    seq: int
    at: datetime
    kind: str
    actor: str
    subject: str
    body: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The outcome of a whole check: how many entries, and the hash of the last."""

    entries: int
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an entry is to say."""

    kind: str
    subject: str
    actor: str
    at: datetime
    body: Mapping[str, Any] = field(default_factory=dict)


def append(connection: Connection, kind: str, *, subject: str, actor: str, at: datetime, body: Mapping[str, Any] | None = None) -> Entry:
    """Append one entry in the caller's transaction and return it."""
    return extend(connection, [Told(kind=kind, subject=subject, actor=actor, at=at, body=body or {})])[0]


def extend(connection: Connection, told: Sequence[Told]) -> list[Entry]:
    """Append entries in order in the caller's transaction and return them."""
    last = connection.execute(select(ledger_head.c.seq, ledger_head.c.hash).where(ledger_head.c.id == 1).with_for_update()).one_or_none()
    if last is None:
        connection.execute(insert(ledger_head).values(id=1, seq=0, hash=GENESIS))
    seq, previous = (last.seq, last.hash) if last is not None else (0, GENESIS)
    made, rows = [], []
    for one in told:
        seq, body, before = seq + 1, dict(one.body), previous
        text, who = canonical.to_bytes(body).decode(), {"kind": one.kind, "actor": one.actor, "subject": one.subject}
        previous = _hash(seq=seq, at=to_text(one.at), body=text, previous=before, **who)
        made.append(Entry(seq=seq, at=one.at, body=body, previous=before, hash=previous, **who))
        rows.append({"seq": seq, "at": one.at, **who, "body": text, "previous": before, "hash": previous})
    bulk.insert_all(connection, ledger_entry, rows)
    connection.execute(update(ledger_head).where(ledger_head.c.id == 1).values(seq=seq, hash=previous))
    return made


def entries(
    connection: Connection,
    *,
    after: int = 0,
    kind: str | None = None,
    subject: str | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> Iterator[Entry]:
    """Yield entries with a number above `after`, oldest first unless asked otherwise; `kind` may end in `*`."""
    query = select(ledger_entry).where(ledger_entry.c.seq > after)
    if kind is not None:
        query = query.where(
            ledger_entry.c.kind.startswith(kind[:-1], autoescape=True) if kind.endswith("*") else ledger_entry.c.kind == kind
        )
    if subject is not None:
        query = query.where(ledger_entry.c.subject == subject)
    order = ledger_entry.c.seq.desc() if newest_first else ledger_entry.c.seq
    for row in connection.execute(query.order_by(order).limit(limit), execution_options=IN_PIECES):
        yield Entry(**(row._asdict() | {"body": json.loads(row.body)}))


def verify(connection: Connection) -> Verified:
    """Recompute the whole chain. Raises Broken, naming the first entry that is altered, missing or cut off."""
    seq, previous = 0, GENESIS
    raw = select(*(ledger_entry.c[name] for name in ("seq", "kind", "actor", "subject", "body", "previous", "hash")), ledger_entry.c.at)
    for row in connection.execute(raw.order_by(ledger_entry.c.seq), execution_options=IN_PIECES):
        if row.seq != seq + 1:
            raise _broken(seq + 1, "is missing")
        if row.previous != previous:
            raise _broken(row.seq, "does not follow from the entry before it")
        try:
            body = json.loads(row.body)
        except ValueError as error:
            raise _broken(row.seq, "holds no readable body") from error
        text = canonical.to_bytes(body).decode()
        if row.hash != _hash(
            seq=row.seq, at=to_text(row.at), kind=row.kind, actor=row.actor, subject=row.subject, body=text, previous=previous
        ):
            raise _broken(row.seq, "was altered after it was written")
        seq, previous = row.seq, row.hash
    head = connection.execute(select(ledger_head.c.seq, ledger_head.c.hash).where(ledger_head.c.id == 1)).one_or_none()
    if head is not None and (head.seq, head.hash) != (seq, previous):
        raise _broken(seq + 1, f"is missing: the ledger had {head.seq} entries")
    return Verified(entries=seq, head=previous)


def _hash(*, seq: int, at: str, kind: str, actor: str, subject: str, body: str, previous: str) -> str:
    """Return the canonical digest of an entry's fields by name, of which the body is canonical text already."""
    told = f'"actor":{written(actor)},"at":"{at}","body":{body},"kind":{written(kind)},"previous":"{previous}"'
    return "sha256:" + hashlib.sha256(f'{{{told},"seq":{seq},"subject":{written(subject)}}}'.encode()).hexdigest()


def _broken(seq: int, what: str) -> Broken:
    return Broken(
        f"Ledger entry {seq} {what}.", "Stop writing, keep this copy as evidence, and restore the last backup that verifies.", seq=seq
    )
