"""Compute vouchers: issued to an organisation with an amount and an end, redeemed once for a budget of it, or expired.

A voucher's code is shown once and kept only as its SHA-256, which is the voucher's id. Of two who redeem one code, on whatever server
of a database, one gets it: the ledger queues them up, and the second finds the voucher no longer issued.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, delete, insert, select, update
from sqlalchemy.engine import Row

from headwater.compute.jobs import within
from headwater.compute.settlement import budgets
from headwater.compute.settlement.budgets import LARGEST_FEN
from headwater.compute.settlement.entries import enter
from headwater.core import identity
from headwater.core.clock import from_text, to_text
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.identity import SYSTEM
from headwater.core.ledger import Entry
from headwater.core.platform import Platform

ISSUED, REDEEMED, EXPIRED = "voucher.issued", "voucher.redeemed", "voucher.expired"
PREFIX = "hw_voucher_"

vouchers = Table(
    "voucher",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organisation", String(200), nullable=False),
    Column("fen", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", String(300), nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("period", String(10)),
    Index("ix_voucher_state", "state", "expires_at"),
)


class VoucherState(StrEnum):
    """Where a voucher is."""

    ISSUED = "issued"
    REDEEMED = "redeemed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """A voucher as it stands; `period` is that of the budget for which it was redeemed."""

    id: str
    organisation: str
    fen: int
    state: VoucherState
    reason: str
    issued_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    period: str | None


def issue(
    connection: Connection, organisation: str, fen: int, *, expires_at: datetime, reason: str, actor: str, at: datetime
) -> tuple[Voucher, str]:
    """Issue a voucher and return it with its code, which is shown this once. Raises BadInput, NotFound for an unknown organisation."""
    if not 0 < fen <= LARGEST_FEN:
        raise BadInput(f"{fen} fen is no voucher.", f"Give 1 to {LARGEST_FEN}.")
    if expires_at <= at:
        raise BadInput(f"The voucher would expire at {expires_at.isoformat()}, which is past.", "Give a later end.")
    column = identity.organisations.c.path
    if connection.execute(select(column).where(column == organisation)).first() is None:
        raise NotFound(f"There is no organisation {organisation[:80]}.", "Add it first: headwater organisation add.")
    code = PREFIX + secrets.token_urlsafe(24)
    body = {"organisation": organisation, "fen": fen, "expires_at": to_text(expires_at), "reason": reason[:300]}
    entry = enter(connection, ISSUED, applied_issued, subject=id_of(code), actor=actor, at=at, body=body)
    return get(connection, entry.subject), code


def redeem(connection: Connection, code: str, *, actor: str, at: datetime) -> Voucher:
    """Add a voucher to its organisation's budget, of those that hold now the one that ends first; return the voucher.

    Raises NotFound for an unknown code, Conflict for a voucher that was redeemed or has expired, or where there is no budget to add to.
    """
    found = get(connection, id_of(code))
    current = budgets.listed(connection, [found.organisation], at)
    own = sorted((one for one in current if one.organisation == found.organisation), key=lambda one: one.period.until)
    if found.state is VoucherState.ISSUED and found.expires_at > at and not own:
        raise Conflict(f"{found.organisation} has no budget now that a voucher could add to.", "Set one: headwater settle budget set.")
    label = own[0].period.label if own else ""
    enter(connection, REDEEMED, applied_redeemed, subject=found.id, actor=actor, at=at, body={"period": label})
    return get(connection, found.id)


def expire_due(platform: Platform) -> int:
    """Record the end of every voucher that was not redeemed in time, and return how many ended."""

    def work(connection: Connection) -> int:
        now, column = platform.clock.now(), vouchers.c
        due = select(column.id).where(column.state == VoucherState.ISSUED, column.expires_at <= now).order_by(column.id)
        ids = list(connection.execute(due).scalars())
        for one in ids:
            enter(connection, EXPIRED, applied_expired, subject=one, actor=SYSTEM, at=now, body={})
        return len(ids)

    with platform.db.read() as connection:
        column = vouchers.c
        due = select(column.id).where(column.state == VoucherState.ISSUED, column.expires_at <= platform.clock.now()).limit(1)
        if connection.execute(due).first() is None:
            return 0
    return platform.db.write(work)


def get(connection: Connection, voucher: str) -> Voucher:
    """Return a voucher by its id. Raises NotFound."""
    row = connection.execute(select(vouchers).where(vouchers.c.id == voucher)).one_or_none()
    if row is None:
        raise NotFound("There is no such voucher.", "Check the code: it was shown once, when the voucher was issued.")
    return _from_row(row)


def listed(connection: Connection, scopes: Iterable[str] = (identity.ROOT,), *, limit: int = 200) -> tuple[Voucher, ...]:
    """Return the vouchers of the organisations within some scopes, newest first."""
    query = select(vouchers).where(within(vouchers.c.organisation, scopes)).order_by(vouchers.c.issued_at.desc(), vouchers.c.id)
    return tuple(map(_from_row, connection.execute(query.limit(limit))))


def id_of(code: str) -> str:
    """Return the id of the voucher with a code."""
    return hashlib.sha256(code.strip().encode()).hexdigest()


def applied_issued(connection: Connection, entry: Entry) -> None:
    """Take a voucher into the table."""
    told = entry.body
    expires_at = from_text(told["expires_at"])
    row = {"id": entry.subject, "organisation": told["organisation"], "fen": told["fen"], "reason": told["reason"]}
    connection.execute(insert(vouchers).values(state=VoucherState.ISSUED, issued_at=entry.at, expires_at=expires_at, **row))


def applied_redeemed(connection: Connection, entry: Entry) -> None:
    """Take a redemption into the tables. Raises Conflict where the voucher was redeemed before, or had expired."""
    column, label = vouchers.c, str(entry.body["period"])
    open_now = (column.id == entry.subject) & (column.state == VoucherState.ISSUED) & (column.expires_at > entry.at)
    values = {"state": VoucherState.REDEEMED, "ended_at": entry.at, "period": label}
    if connection.execute(update(vouchers).where(open_now).values(values)).rowcount != 1:
        found = get(connection, entry.subject)
        how = "was redeemed before" if found.state is VoucherState.REDEEMED else "has expired"
        raise Conflict(f"This voucher {how}.", "Ask its issuer for another.")
    found = get(connection, entry.subject)
    budgets.add_voucher(connection, found.organisation, label, found.fen)


def applied_expired(connection: Connection, entry: Entry) -> None:
    """Take a voucher's end into the table; one that was redeemed meanwhile stays so."""
    column = vouchers.c
    unused = (column.id == entry.subject) & (column.state == VoucherState.ISSUED)
    connection.execute(update(vouchers).where(unused).values(state=VoucherState.EXPIRED, ended_at=entry.at))


def clear(connection: Connection) -> None:
    """Empty the table, to be rebuilt."""
    connection.execute(delete(vouchers))


def _from_row(row: Row[Any]) -> Voucher:
    told = row._asdict()
    return Voucher(**(told | {"state": VoucherState(told["state"])}))
