"""Budgets: what an organisation, with all below it, may be charged in a period. Once it is spent, its queued jobs wait.

Vouchers add to a budget. What runs goes on to its end, so that a budget may be passed by what ran when it was spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, delete, insert, select, update
from sqlalchemy.engine import Row

from headwater.compute.jobs import within
from headwater.compute.settlement import records
from headwater.compute.settlement.entries import enter
from headwater.compute.settlement.periods import Period, period
from headwater.compute.usage import lineage
from headwater.core import identity
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.ledger import Entry

SET, REMOVED = "budget.set", "budget.removed"
LARGEST_FEN = 10**15

budgets = Table(
    "budget",
    metadata,
    Column("organisation", String(200), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("fen", BigInteger, nullable=False),
    Column("vouchers_fen", BigInteger, nullable=False),
    Index("ix_budget_until", "until"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an organisation may be charged in a period: its own fen, and those of the vouchers that it redeemed."""

    organisation: str
    period: Period
    fen: int
    vouchers_fen: int = 0

    @property
    def whole_fen(self) -> int:
        """Both together."""
        return self.fen + self.vouchers_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A budget and what is spent of it."""

    budget: Budget
    spent_fen: int

    @property
    def left_fen(self) -> int:
        """What is left; below 0 by what ran when it was spent."""
        return self.budget.whole_fen - self.spent_fen


def put(connection: Connection, organisation: str, label: str, fen: int, *, actor: str, at: datetime) -> Budget:
    """Set an organisation's budget of a period, with its ledger entry; vouchers redeemed for it stay. Raises BadInput, NotFound."""
    if not 0 <= fen <= LARGEST_FEN:
        raise BadInput(f"{fen} fen is no budget.", f"Give 0 to {LARGEST_FEN}.")
    column = identity.organisations.c.path
    if connection.execute(select(column).where(column == organisation)).first() is None:
        raise NotFound(f"There is no organisation {organisation[:80]}.", "Add it first: headwater organisation add.")
    body = {"period": period(label).label, "fen": fen}
    enter(connection, SET, applied_set, subject=organisation, actor=actor, at=at, body=body)
    return get(connection, organisation, label)


def remove(connection: Connection, organisation: str, label: str, *, actor: str, at: datetime) -> None:
    """Remove a budget, with its ledger entry. Raises NotFound where there is none, Conflict where vouchers were redeemed for it."""
    found = get(connection, organisation, label)
    if found.vouchers_fen:
        raise Conflict(f"Vouchers of {found.vouchers_fen} fen were redeemed for this budget.", "Set it to 0 fen instead.")
    enter(connection, REMOVED, applied_removed, subject=organisation, actor=actor, at=at, body={"period": label})


def get(connection: Connection, organisation: str, label: str) -> Budget:
    """Return an organisation's budget of a period. Raises NotFound."""
    column = budgets.c
    row = connection.execute(select(budgets).where(column.organisation == organisation, column.period == label)).one_or_none()
    if row is None:
        raise NotFound(f"{organisation[:80]} has no budget of {label[:20]}.", "List them: headwater settle budget list.")
    return _budget(row)


def listed(connection: Connection, scopes: Iterable[str] = (identity.ROOT,), at: datetime | None = None) -> tuple[Budget, ...]:
    """Return the budgets within some scopes, all or those of the periods that a moment falls in; the period that ends first comes first."""
    column = budgets.c
    query = select(budgets).where(within(column.organisation, scopes))
    query = query if at is None else query.where(column.since <= at, column.until > at)
    rows = connection.execute(query.order_by(column.organisation, column.until, column.period))
    return tuple(_budget(row) for row in rows)


def standing(connection: Connection, budget: Budget) -> Standing:
    """Return a budget with what is spent of it."""
    return Standing(budget=budget, spent_fen=records.charged_fen(connection, budget.organisation, budget.period))


def spent(connection: Connection, at: datetime) -> dict[str, str]:
    """Return the organisations whose budget is spent at a moment, with what to tell those who wait."""
    every = [standing(connection, one) for one in listed(connection, at=at)]
    return {one.budget.organisation: told(one) for one in every if one.left_fen <= 0}


def told(one: Standing) -> str:
    """Return what a spent budget says to those who wait."""
    spent_yuan, whole_yuan = yuan(one.spent_fen), yuan(one.budget.whole_fen)
    return f"{one.budget.organisation} has spent its budget of {one.budget.period.label}: {spent_yuan} of {whole_yuan} CNY"


def barred(organisation: str, spent_by: Mapping[str, str]) -> str | None:
    """Return why an organisation's jobs wait: its own budget is spent, or that of one above; None where they need not. Pure."""
    return next((spent_by[path] for path in reversed(lineage(organisation)) if path in spent_by), None)


def yuan(fen: int) -> str:
    """Return fen as yuan, to the fen: -1 is -0.01."""
    sign, whole = "-" if fen < 0 else "", abs(fen)
    return f"{sign}{whole // 100:,}.{whole % 100:02d}"


def applied_set(connection: Connection, entry: Entry) -> None:
    """Take a budget into the table."""
    column, label = budgets.c, str(entry.body["period"])
    mine = (column.organisation == entry.subject) & (column.period == label)
    if connection.execute(update(budgets).where(mine).values(fen=entry.body["fen"])).rowcount == 0:
        span = period(label)
        row = {"organisation": entry.subject, "period": label, "since": span.since, "until": span.until}
        connection.execute(insert(budgets).values(fen=entry.body["fen"], vouchers_fen=0, **row))


def applied_removed(connection: Connection, entry: Entry) -> None:
    """Take a budget out of the table."""
    column = budgets.c
    connection.execute(delete(budgets).where(column.organisation == entry.subject, column.period == entry.body["period"]))


def add_voucher(connection: Connection, organisation: str, label: str, fen: int) -> None:
    """Add a voucher's fen to a budget, as a redemption's entry says. Raises Conflict where the budget is gone."""
    column = budgets.c
    mine = (column.organisation == organisation) & (column.period == label)
    if connection.execute(update(budgets).where(mine).values(vouchers_fen=column.vouchers_fen + fen)).rowcount != 1:
        raise Conflict(f"{organisation[:80]} has no budget of {label[:20]} any more.", "Set one: headwater settle budget set.")


def clear(connection: Connection) -> None:
    """Empty the table, to be rebuilt."""
    connection.execute(delete(budgets))


def _budget(row: Row[Any]) -> Budget:
    return Budget(organisation=row.organisation, period=period(row.period), fen=row.fen, vouchers_fen=row.vouchers_fen)
