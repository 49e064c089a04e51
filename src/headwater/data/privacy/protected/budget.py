"""Privacy budgets: what each grantee may spend on a table, and what all together may.

Epsilon adds up over answers (sequential composition; Dwork and Roth, "The Algorithmic Foundations of Differential
Privacy", 2014, theorem 3.14). It is spent in the transaction that authorises a question, before the answer is
computed, and never given back: a crash in between costs the grantee, not the people in the table. The update is
conditional on what is left, so that no number of askers at once can overspend, over either database.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, insert, select, update
from sqlalchemy.engine import Row

from headwater.core import ledger
from headwater.core.errors import BadInput, Conflict, NotFound, Refused
from headwater.core.platform import Platform
from headwater.data.privacy.protected.holding import WHOLE
from headwater.data.privacy.protected.tables import budgets, protected

MICRO = 1_000_000
LARGEST_EPSILON = 1000.0


class BudgetSpent(Refused):
    """The privacy budget does not cover the question."""

    code = "privacy.budget_spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One grantee's budget on one table; under `*`, the table's as a whole."""

    table: str
    grantee: str
    total: float
    spent: float
    most_questions: int
    questions: int
    changed_at: datetime

    @property
    def left(self) -> float:
        """What may still be spent."""
        return round(self.total - self.spent, 6)


def micro(epsilon: float) -> int:
    """Return epsilon in millionths, rounded up. Raises BadInput unless it is a finite number above zero."""
    if not math.isfinite(epsilon) or not 0 < epsilon <= LARGEST_EPSILON:
        raise BadInput(f"An epsilon of {epsilon} cannot be spent.", f"Give a number above 0 and at most {LARGEST_EPSILON:g}.")
    return math.ceil(round(epsilon * MICRO, 3))


def give(platform: Platform, table: str, grantee: str, *, epsilon: float, most_questions: int, reason: str, actor: str) -> Budget:
    """Set what an organisation may spend on a table in all. Raises Conflict below what it has spent already, NotFound."""
    total = micro(epsilon)
    if grantee == WHOLE:
        raise BadInput(f"'{WHOLE}' stands for the table as a whole.", "Name an organisation.")
    at = platform.clock.now()

    def work(connection: Connection) -> Budget:
        if connection.execute(select(protected.c.name).where(protected.c.name == table)).one_or_none() is None:
            raise NotFound(f"There is no protected table '{table}'.")
        row = connection.execute(_one(table, grantee).with_for_update()).one_or_none()
        values = {"total_micro": total, "most_questions": most_questions, "changed_at": at}
        if row is None:
            connection.execute(insert(budgets).values(table=table, grantee=grantee, spent_micro=0, questions=0, **values))
        elif row.spent_micro > total:
            raise Conflict(f"{grantee} has spent {row.spent_micro / MICRO:g} already.", "What is spent stays spent: give at least as much.")
        else:
            connection.execute(update(budgets).where(_key(table, grantee)).values(**values))
        body = {"grantee": grantee, "epsilon": total / MICRO, "most_questions": most_questions, "reason": reason}
        ledger.append(connection, "privacy.budget", subject=table, actor=actor, at=at, body=body)
        return of(connection, table, grantee)

    return platform.db.write(work)


def of(connection: Connection, table: str, grantee: str) -> Budget:
    """Return a grantee's budget. Raises Refused where it has none."""
    row = connection.execute(_one(table, grantee)).one_or_none()
    if row is None:
        raise Refused(f"{grantee} has no budget on '{table}'.", "Whoever decides on its data gives one: headwater data protected grant.")
    return _budget(row)


def listed(connection: Connection, table: str) -> list[Budget]:
    """Return every budget on a table, the whole first."""
    rows = connection.execute(select(budgets).where(budgets.c.table == table).order_by(budgets.c.grantee != WHOLE, budgets.c.grantee))
    return [_budget(row) for row in rows]


def spend(connection: Connection, table: str, grantee: str, amount: int, *, at: datetime) -> str:
    """Spend in the caller's transaction, for the grantee and the whole, and return why it cannot be; empty where it was."""
    for who in (grantee, WHOLE):
        left = budgets.c.spent_micro + amount <= budgets.c.total_micro
        done = connection.execute(
            update(budgets).where(_key(table, who), left).values(spent_micro=budgets.c.spent_micro + amount, changed_at=at)
        )
        if done.rowcount != 1:
            return _short(connection, table, who, grantee, amount, at)
    return ""


def count_question(connection: Connection, table: str, grantee: str, *, seen: int) -> int | None:
    """Count one more exact question and return its number; None where others were counted since `seen` were.

    Raises BudgetSpent where the grantee has asked as often as it may.
    """
    budget = of(connection, table, grantee)
    if budget.questions == seen and seen >= budget.most_questions:
        raise BudgetSpent(f"{grantee} has asked {seen} of {budget.most_questions} exact questions.", "Ask for more, or ask with noise.")
    done = connection.execute(update(budgets).where(_key(table, grantee), budgets.c.questions == seen).values(questions=seen + 1))
    return seen + 1 if done.rowcount == 1 else None


def _short(connection: Connection, table: str, who: str, grantee: str, amount: int, at: datetime) -> str:
    """Take back what the grantee's own row was charged in this transaction, and say what is left."""
    if who == WHOLE:
        undone = budgets.c.spent_micro - amount
        connection.execute(update(budgets).where(_key(table, grantee)).values(spent_micro=undone, changed_at=at))
    budget = of(connection, table, who)
    name = "The table as a whole" if who == WHOLE else who
    return f"{name} has {budget.left:g} of {budget.total:g} left; the question costs {amount / MICRO:g}."


def _key(table: str, grantee: str) -> ColumnElement[bool]:
    return and_(budgets.c.table == table, budgets.c.grantee == grantee)


def _one(table: str, grantee: str) -> Select[tuple[Any, ...]]:
    return select(budgets).where(_key(table, grantee))


def _budget(row: Row[tuple[object, ...]]) -> Budget:
    told = row._asdict()
    return Budget(total=told.pop("total_micro") / MICRO, spent=told.pop("spent_micro") / MICRO, **told)
