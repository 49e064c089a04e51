"""Ask a protected table. Every question is recorded with its decision; the rows never leave.

A private question: prepared without the data, its budget spent in one transaction with its record and ledger
entry, then answered. The same question asked again by the same grantee gets the same answer and costs nothing.
An exact question: its cells made, held against all earlier ones, counted, recorded, then given.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    new = _new(platform, actor, table, "private", told)

    def work(connection: Connection) -> str:
        because = budget.spend(connection, table.name, actor.organisation, amount, at=new.asked_at)
        if because:
            _record(connection, replace(new, state="refused", because=because))
        else:
            _record(connection, replace(new, state="authorised", epsilon=amount / MICRO))
        return because

    if because := platform.db.write(work):
        raise BudgetSpent(because, "Ask with a smaller epsilon, or for a larger budget.", where=table.name)
    return new.id


def ask_exact(platform: Platform, actor: Actor, name: str, question: AggregateQuestion) -> Asked:
    """Return exact aggregates without small cells. Raises TooRevealing or BudgetSpent, both recorded."""
    table = _table(platform, actor, name)
    told = question.model_dump(mode="json", by_alias=True, exclude_none=True)
    if (again := _answered(platform, table, actor.organisation, "exact", told)) is not None:
        return again
    frame = holding.read(platform.store, table.declared)
    made, division = divided(frame, question, table)
    answer = given(made, question, table)
    for _ in range(ATTEMPTS):
        seen, earlier = _exact(platform, table, actor.organisation)
        because = too_revealing(frame, table, earlier, division)
        new = _new(platform, actor, table, "exact", told)
        new = replace(new, state="refused", because=because) if because else replace(new, state="answered", answer=answer)
        if (found := _decide(platform, new, seen)) is not None:
            return found
    raise Conflict("Other questions of this grantee came in between.", "Ask again.", where=table.name)


def too_revealing(frame: pl.DataFrame, table: Protected, earlier: Sequence[Asked], division: npt.NDArray[np.int64]) -> str:
    """Return why an exact answer would tell too much, given those that were given before; empty where it would not."""
    least = table.declared.minimum_cell
    if int((division != overlap.OUTSIDE).sum()) < least:
        return TOO_FEW.format(least=least)
    for one in earlier:
        before = AggregateQuestion.model_validate(one.question)
        if overlap.too_alike(divided(frame, before, table)[1], division, least):
            return ALIKE.format(least=least)
    return ""


def divided(frame: pl.DataFrame, question: AggregateQuestion, table: Protected) -> tuple[list[Cell], npt.NDArray[np.int64]]:
    """Return a question's cells, and the cell of each row of the table: from 0 where it is given, -1 outside, -2 where it is left out."""
    import numpy as np

    chosen = selected(frame, table, question.where)
    within = frame.filter(chosen)
    made = cells.cells_of(within, question, table)
    numbers = {cell.key: place if cell.figures is not None else -2 for place, cell in enumerate(made)}
    division = np.full(frame.height, overlap.OUTSIDE, np.int64)
    keys = within.select(list(question.group_by)).iter_rows() if question.group_by else [()] * within.height
    division[chosen.to_numpy()] = [numbers[key] for key in keys]
    return made, division


def given(made: Sequence[Cell], question: AggregateQuestion, table: Protected) -> dict[str, Any]:
    """Return what is told of the cells. Empty ones are named among those left out: that a cell is not empty may be telling too."""
    shown = {cell.key: dict(cell.figures) for cell in made if cell.figures is not None}
    possible = itertools.product(*((*table.column(name).values, None) for name in question.group_by))
    return {
        "group_by": list(question.group_by),
        "cells": [{"key": list(key), "figures": figures} for key, figures in shown.items()],
        "left_out": [list(key) for key in possible if key not in shown],
    }


def _decide(platform: Platform, new: Asked, seen: int) -> Asked | None:
    """Count, record and return the question in one transaction; None where another of the grantee came first. Raises what refuses it."""

    def work(connection: Connection) -> Asked | None:
        if new.because:
            return _record(connection, new)
        try:
            number = budget.count_question(connection, new.table, new.grantee, seen=seen)
        except BudgetSpent as error:
            return _record(connection, replace(new, state="refused", because=error.what, answer=None))
        return None if number is None else _record(connection, new, number)

    found = platform.db.write(work)
    if found is not None and found.state == "refused":
        raise (TooRevealing if new.because else BudgetSpent)(found.because, "Ask about more rows, or with noise.", where=new.table)
    return found


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


def _exact(platform: Platform, table: Protected, grantee: str) -> tuple[int, list[Asked]]:
    """Return how many exact questions of a grantee were counted, and those that were answered."""
    query = select(questions).where(
        questions.c.table == table.name, questions.c.grantee == grantee, questions.c.kind == "exact", questions.c.state == "answered"
    )
    with platform.db.read() as connection:
        return budget.of(connection, table.name, grantee).questions, [_asked(row) for row in connection.execute(query)]


def _new(platform: Platform, actor: Actor, table: Protected, kind: str, told: Mapping[str, Any]) -> Asked:
    return Asked(
        id=f"ask-{uuid.uuid4().hex}",
        table=table.name,
        grantee=actor.organisation,
        actor=actor.id,
        asked_at=platform.clock.now(),
        kind=kind,
        question=dict(told),
        epsilon=0.0,
        state="",
        because="",
        answer=None,
    )


def _record(connection: Connection, asked: Asked, number: int | None = None) -> Asked:
    """Enter a question with its decision, here and in the ledger, and return it."""
    values = {name: getattr(asked, name) for name in asked.__slots__ if name != "epsilon"}
    values |= {"digest": canonical.digest(dict(asked.question)), "number": number, "spent_micro": round(asked.epsilon * MICRO)}
    connection.execute(insert(questions).values(values))
    body = {name: getattr(asked, name) for name in ("id", "grantee", "question", "state", "because", "epsilon")}
    ledger.append(connection, f"privacy.{asked.kind}", subject=asked.table, actor=asked.actor, at=asked.asked_at, body=body)
    return asked


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
