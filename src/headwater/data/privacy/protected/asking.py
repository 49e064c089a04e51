"""Ask a protected table. Every question is recorded with its decision; the rows never leave.

A private question: prepared without the data, its budget spent in one transaction with its record and ledger
entry, then answered. The same question asked again by the same grantee gets the same answer and costs nothing.
An exact question: its cells made, held against all earlier ones, counted, recorded, then given.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from headwater.core import canonical, ledger
from headwater.core.errors import Conflict, Refused
from headwater.core.identity import Actor
from headwater.core.platform import Platform
from headwater.data.privacy.protected import budget, cells, holding, mechanisms, overlap
from headwater.data.privacy.protected.budget import MICRO, BudgetSpent
from headwater.data.privacy.protected.cells import Cell
from headwater.data.privacy.protected.holding import Protected
from headwater.data.privacy.protected.questions import AggregateQuestion, PrivateQuestion, selected
from headwater.data.privacy.protected.tables import questions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

ATTEMPTS = 5
ALIKE = "An earlier answer and this one would together tell of fewer than {least} rows."
TOO_FEW = "Fewer than {least} rows fit."


class TooRevealing(Refused):
    """An exact answer would tell too much about too few."""

    code = "privacy.too_revealing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question and what became of it."""

    id: str
    table: str
    grantee: str
    actor: str
    asked_at: datetime
    kind: str
    question: Mapping[str, Any]
    epsilon: float
    state: str
    because: str
    answer: Mapping[str, Any] | None


def ask_private(platform: Platform, actor: Actor, name: str, question: PrivateQuestion) -> Asked:
    """Return a noisy answer. Raises BadInput before anything is spent, BudgetSpent (recorded), Refused without a budget."""
    table = _table(platform, actor, name)
    told = question.model_dump(mode="json", by_alias=True, exclude_none=True)
    if (again := _answered(platform, table, actor.organisation, "private", told)) is not None:
        return again
    prepared = mechanisms.prepare(question, table)
    frame = holding.read(platform.store, table.declared)
    selected(frame.head(0), table, question.where)
    identifier = authorise(platform, actor, table, told, budget.micro(prepared.epsilon))
    try:
        answer = prepared.release(frame)
    except Exception:
        _close(platform, actor, identifier, "failed", None)
        raise
    return _close(platform, actor, identifier, "answered", answer | {"epsilon": budget.micro(prepared.epsilon) / MICRO, "delta": 0.0})


def authorise(platform: Platform, actor: Actor, table: Protected, told: Mapping[str, Any], amount: int) -> str:
    """Spend and record a private question, and return its id once both are committed. Raises BudgetSpent, which is recorded too."""
    at, identifier = platform.clock.now(), f"ask-{uuid.uuid4().hex}"

    def work(connection: Connection) -> str:
        because = budget.spend(connection, table.name, actor.organisation, amount, at=at)
        state = "refused" if because else "authorised"
        _record(connection, identifier, actor, table, "private", told, at, state, because, 0 if because else amount)
        return because

    if because := platform.db.write(work):
        raise BudgetSpent(because, "Ask with a smaller epsilon, or for a larger budget.", where=table.name)
    return identifier


def ask_exact(platform: Platform, actor: Actor, name: str, question: AggregateQuestion) -> Asked:
    """Return exact aggregates without small cells. Raises TooRevealing or BudgetSpent, both recorded."""
    table = _table(platform, actor, name)
    told = question.model_dump(mode="json", by_alias=True, exclude_none=True)
    if (again := _answered(platform, table, actor.organisation, "exact", told)) is not None:
        return again
    frame = holding.read(platform.store, table.declared)
    chosen = selected(frame, table, question.where)
    made = cells.cells_of(frame.filter(chosen), question, table)
    division = _division(frame, chosen, question, made)
    for _ in range(ATTEMPTS):
        seen, because = _weigh(platform, actor, table, frame, division, made)
        found = _decide(platform, actor, table, told, made, seen, because)
        if found is not None:
            return found
    raise Conflict("Other questions of this grantee came in between.", "Ask again.", where=table.name)


def _weigh(
    platform: Platform, actor: Actor, table: Protected, frame: pl.DataFrame, division: npt.NDArray[np.int64], made: list[Cell]
) -> tuple[int, str]:
    """Return how many questions were counted so far, and why this one may not be answered; empty where it may."""
    least = table.declared.minimum_cell
    with platform.db.read() as connection:
        seen = budget.of(connection, table.name, actor.organisation).questions
        earlier = _exact(connection, table, actor.organisation)
    if sum(cell.rows for cell in made) < least:
        return seen, TOO_FEW.format(least=least)
    for one in earlier:
        before = AggregateQuestion.model_validate(one.question)
        chosen = selected(frame, table, before.where)
        its = cells.cells_of(frame.filter(chosen), before, table)
        if overlap.too_alike(_division(frame, chosen, before, its), division, least):
            return seen, ALIKE.format(least=least)
    return seen, ""


def _decide(
    platform: Platform, actor: Actor, table: Protected, told: Mapping[str, Any], made: list[Cell], seen: int, because: str
) -> Asked | None:
    """Count, record and give the answer in one transaction; None where another question of the grantee came first."""
    at, identifier = platform.clock.now(), f"ask-{uuid.uuid4().hex}"

    def work(connection: Connection) -> tuple[bool, str]:
        refused = because
        number: int | None = None
        if not refused:
            try:
                number = budget.count_question(connection, table.name, actor.organisation, seen=seen)
            except BudgetSpent as error:
                refused = error.what
            if number is None and not refused:
                return False, ""
        answer = None if refused else _given(made, told)
        _record(connection, identifier, actor, table, "exact", told, at, "refused" if refused else "answered", refused, 0, number, answer)
        return True, refused

    done, refused = platform.db.write(work)
    if refused:
        kind = TooRevealing if because else BudgetSpent
        raise kind(refused, "Ask about more rows, or with noise.", where=table.name)
    return one(platform, identifier) if done else None


def _given(made: list[Cell], told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "group_by": list(told.get("group_by", ())),
        "cells": [{"key": list(cell.key), "figures": dict(cell.figures)} for cell in made if cell.figures is not None],
        "left_out": [list(cell.key) for cell in made if cell.figures is None],
    }


def _division(frame: pl.DataFrame, chosen: pl.Series, question: AggregateQuestion, made: list[Cell]) -> npt.NDArray[np.int64]:
    """Return the cell of each row of the table: from 0 where it was given, -1 outside, -2 where it was left out."""
    import numpy as np

    numbers = {cell.key: place if cell.figures is not None else -2 for place, cell in enumerate(made)}
    division = np.full(frame.height, overlap.OUTSIDE, np.int64)
    inside = chosen.to_numpy()
    keys = frame.filter(chosen).select(list(question.group_by)).iter_rows() if question.group_by else [()] * int(inside.sum())
    division[inside] = [numbers[key] for key in keys]
    return division


def one(platform: Platform, identifier: str) -> Asked:
    """Return one question."""
    with platform.db.read() as connection:
        return _asked(connection.execute(select(questions).where(questions.c.id == identifier)).one())


def listed(connection: Connection, table: str, *, grantee: str | None = None, limit: int = 100) -> list[Asked]:
    """Return what was asked of a table, newest first; of one grantee only where it is named."""
    query = select(questions).where(questions.c.table == table).order_by(questions.c.asked_at.desc(), questions.c.id)
    return [
        _asked(row) for row in connection.execute((query if grantee is None else query.where(questions.c.grantee == grantee)).limit(limit))
    ]


def _table(platform: Platform, actor: Actor, name: str) -> Protected:
    with platform.db.read() as connection:
        table = holding.get(connection, name)
        budget.of(connection, name, actor.organisation)
    return table


def _answered(platform: Platform, table: Protected, grantee: str, kind: str, told: Mapping[str, Any]) -> Asked | None:
    query = select(questions).where(
        questions.c.table == table.name,
        questions.c.grantee == grantee,
        questions.c.kind == kind,
        questions.c.digest == canonical.digest(dict(told)),
        questions.c.state == "answered",
    )
    with platform.db.read() as connection:
        row = connection.execute(query.order_by(questions.c.asked_at).limit(1)).one_or_none()
    return None if row is None else _asked(row)


def _exact(connection: Connection, table: Protected, grantee: str) -> list[Asked]:
    query = select(questions).where(
        questions.c.table == table.name, questions.c.grantee == grantee, questions.c.kind == "exact", questions.c.state == "answered"
    )
    return [_asked(row) for row in connection.execute(query)]


def _record(
    connection: Connection,
    identifier: str,
    actor: Actor,
    table: Protected,
    kind: str,
    told: Mapping[str, Any],
    at: datetime,
    state: str,
    because: str,
    amount: int,
    number: int | None = None,
    answer: Mapping[str, Any] | None = None,
) -> None:
    body = {
        "question": dict(told),
        "grantee": actor.organisation,
        "state": state,
        "because": because,
        "epsilon": amount / MICRO,
        "id": identifier,
    }
    connection.execute(
        insert(questions).values(
            id=identifier,
            table=table.name,
            grantee=actor.organisation,
            actor=actor.id,
            asked_at=at,
            kind=kind,
            question=dict(told),
            digest=canonical.digest(dict(told)),
            number=number,
            spent_micro=amount,
            state=state,
            because=because,
            answer=None if answer is None else dict(answer),
        )
    )
    ledger.append(connection, f"privacy.{kind}", subject=table.name, actor=actor.id, at=at, body=body)


def _close(platform: Platform, actor: Actor, identifier: str, state: str, answer: dict[str, Any] | None) -> Asked:
    at = platform.clock.now()

    def work(connection: Connection) -> None:
        connection.execute(update(questions).where(questions.c.id == identifier).values(state=state, answer=answer))
        table = connection.execute(select(questions.c.table).where(questions.c.id == identifier)).scalar_one()
        ledger.append(connection, f"privacy.{state}", subject=table, actor=actor.id, at=at, body={"id": identifier})

    platform.db.write(work)
    return one(platform, identifier)


def _asked(row: Row[tuple[Any, ...]]) -> Asked:
    told = row._asdict()
    epsilon = told.pop("spent_micro") / MICRO
    return Asked(epsilon=epsilon, **{key: value for key, value in told.items() if key not in ("digest", "number")})
