"""Disputes over a line of usage: opened by either side, answered, settled with an adjustment in fen, each with its ledger entry.

An adjustment belongs to the period in which it is settled, as a credit note does: the statement of a past period never changes.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, delete, func, insert, select, update
from sqlalchemy.engine import Row

from headwater.compute.settlement.entries import enter
from headwater.compute.settlement.periods import Period
from headwater.compute.settlement.records import usage_records
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.ledger import Entry

OPENED, ANSWERED, SETTLED = "dispute.opened", "dispute.answered", "dispute.settled"

disputes = Table(
    "dispute",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("site", String(40), nullable=False),
    Column("key", String(140), nullable=False),
    Column("state", String(10), nullable=False),
    Column("claim", String(1000), nullable=False),
    Column("answer", String(1000), nullable=False),
    Column("settlement", String(1000), nullable=False),
    Column("adjustment_fen", BigInteger, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("settled_at", UtcTime),
    Index("ix_dispute_site", "site", "settled_at"),
    Index("ix_dispute_key", "key"),
)


class DisputeState(StrEnum):
    """Where a dispute is."""

    OPEN = "open"
    ANSWERED = "answered"
    SETTLED = "settled"


MOVES = {ANSWERED: (DisputeState.OPEN, DisputeState.ANSWERED), SETTLED: (DisputeState.OPEN, DisputeState.ANSWERED)}
"""From which states each entry may come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A dispute over the line of one attempt at a site; the adjustment is added to what the city owes the site."""

    id: str
    site: str
    key: str
    state: DisputeState
    claim: str
    answer: str
    settlement: str
    adjustment_fen: int
    opened_at: datetime
    settled_at: datetime | None


def open_dispute(connection: Connection, site: str, key: str, claim: str, *, actor: str, at: datetime) -> Dispute:
    """Open a dispute over an attempt, one that is metered here or that only the site knows. Raises Conflict where one is open."""
    column = disputes.c
    if connection.execute(select(column.id).where(column.key == key, column.site == site, column.state != DisputeState.SETTLED)).first():
        raise Conflict(f"A dispute over {key[:140]} is open already.", "Answer or settle that one.")
    other = connection.execute(select(usage_records.c.site).where(usage_records.c.key == key)).scalar_one_or_none()
    if other is not None and other != site:
        raise BadInput(f"{key[:140]} ran at {other}, not at {site[:40]}.", "Name the site where it ran.")
    body = {"site": site, "key": key, "claim": claim[:1000]}
    entry = enter(connection, OPENED, applied_opened, subject=uuid.uuid4().hex, actor=actor, at=at, body=body)
    return get(connection, entry.subject)


def answer(connection: Connection, dispute: str, text: str, *, actor: str, at: datetime) -> Dispute:
    """Answer a dispute; a later answer takes the place of an earlier one. Raises NotFound, Conflict where it is settled."""
    get(connection, dispute)
    enter(connection, ANSWERED, applied_answered, subject=dispute, actor=actor, at=at, body={"answer": text[:1000]})
    return get(connection, dispute)


def settle(connection: Connection, dispute: str, adjustment_fen: int, text: str, *, actor: str, at: datetime) -> Dispute:
    """Settle a dispute by an adjustment, which may be 0. Raises NotFound, Conflict where it is settled, BadInput for more than was due."""
    found = get(connection, dispute)
    charged = connection.execute(select(usage_records.c.charge_fen).where(usage_records.c.key == found.key)).scalar_one_or_none() or 0
    column = disputes.c
    before = select(func.sum(column.adjustment_fen)).where(column.key == found.key, column.site == found.site)
    due = charged + int(connection.execute(before).scalar_one() or 0)
    if due + adjustment_fen < 0:
        raise BadInput(f"An adjustment of {adjustment_fen} fen takes back more than the {due} fen that are due.", f"Give {-due} or more.")
    body = {"adjustment_fen": adjustment_fen, "settlement": text[:1000]}
    enter(connection, SETTLED, applied_settled, subject=dispute, actor=actor, at=at, body=body)
    return get(connection, dispute)


def get(connection: Connection, dispute: str) -> Dispute:
    """Return a dispute. Raises NotFound."""
    row = connection.execute(select(disputes).where(disputes.c.id == dispute)).one_or_none()
    if row is None:
        raise NotFound(f"There is no dispute {dispute[:40]}.", "List them: headwater settle dispute list.")
    return _from_row(row)


def listed(connection: Connection, site: str | None = None, *, limit: int = 200) -> tuple[Dispute, ...]:
    """Return the disputes, those that are not settled first, then newest first."""
    column = disputes.c
    query = select(disputes).order_by(column.state == DisputeState.SETTLED, column.opened_at.desc(), column.id).limit(limit)
    return tuple(map(_from_row, connection.execute(query if site is None else query.where(column.site == site))))


def settled_in(connection: Connection, site: str, period: Period) -> tuple[Dispute, ...]:
    """Return the disputes with a site that were settled in a period, oldest first."""
    column = disputes.c
    query = select(disputes).where(column.site == site, column.settled_at >= period.since, column.settled_at < period.until)
    return tuple(map(_from_row, connection.execute(query.order_by(column.settled_at, column.id))))


def applied_opened(connection: Connection, entry: Entry) -> None:
    """Take a dispute into the table."""
    told = {name: entry.body[name] for name in ("site", "key", "claim")}
    fixed = {"id": entry.subject, "state": DisputeState.OPEN, "answer": "", "settlement": "", "adjustment_fen": 0, "opened_at": entry.at}
    connection.execute(insert(disputes).values(**told, **fixed))


def applied_answered(connection: Connection, entry: Entry) -> None:
    """Take an answer into the table. Raises Conflict."""
    _move(connection, entry, {"state": DisputeState.ANSWERED, "answer": entry.body["answer"]})


def applied_settled(connection: Connection, entry: Entry) -> None:
    """Take a settlement into the table. Raises Conflict."""
    told = {name: entry.body[name] for name in ("adjustment_fen", "settlement")}
    _move(connection, entry, {"state": DisputeState.SETTLED, "settled_at": entry.at, **told})


def clear(connection: Connection) -> None:
    """Empty the table, to be rebuilt."""
    connection.execute(delete(disputes))


def _move(connection: Connection, entry: Entry, values: dict[str, Any]) -> None:
    column = disputes.c
    mine = (column.id == entry.subject) & column.state.in_(MOVES[entry.kind])
    if connection.execute(update(disputes).where(mine).values(values)).rowcount != 1:
        raise Conflict(f"The dispute {entry.subject[:12]} is settled.", "Open another over the same line.")


def _from_row(row: Row[Any]) -> Dispute:
    told = row._asdict()
    return Dispute(**(told | {"state": DisputeState(told["state"])}))
