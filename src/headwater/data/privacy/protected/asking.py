"""Ask a protected table. Every question is recorded with its decision; the rows never leave.

A private question: prepared without the data, its budget spent in one transaction with its record and ledger
entry, then answered. The same question asked again by the same grantee gets the same answer and costs nothing.
An exact question: its cells made, held against all earlier ones, counted, recorded, then given.
Either is first weighed against the terms of the data set, where it is not open (`terms.py`).
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from headwater.core import canonical, ledger
from headwater.core.errors import Conflict, Refused
from headwater.core.identity import Actor, Decision
from headwater.core.platform import Platform
from headwater.data.authorisation import grants
from headwater.data.privacy.protected import budget, cells, holding, mechanisms, overlap
from headwater.data.privacy.protected.budget import MICRO, BudgetSpent
from headwater.data.privacy.protected.cells import Cell
from headwater.data.privacy.protected.holding import Protected
from headwater.data.privacy.protected.questions import AggregateQuestion, PrivateQuestion, selected
from headwater.data.privacy.protected.tables import questions
from headwater.data.privacy.protected.terms import Under, weighed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

ATTEMPTS = 5
ALIKE = "An earlier answer and this one would together tell of fewer than {least} rows."
TOO_FEW = "Fewer than {least} rows fit."


class NotGranted(Refused):
    """The terms of use of the data do not allow the question."""

    code = "privacy.not_granted"


class _Overtaken(Exception):
    """Another question of the grantee was counted in between."""


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


def ask_private(platform: Platform, actor: Actor, name: str, question: PrivateQuestion, under: Under | None = None) -> Asked:
    """Return a noisy answer. Raises BadInput before anything is spent, BudgetSpent and NotGranted (recorded), Refused without a budget."""
    table = _table(platform, actor, name, under)
    told = question.model_dump(mode="json", by_alias=True, exclude_none=True)
    if (again := _answered(platform, table, actor.organisation, "private", told)) is not None:
        return _given_again(platform, actor, table, again, under)
    prepared = mechanisms.prepare(question, table)
    frame = holding.read(platform.store, table.declared)
    selected(frame.head(0), table, question.where)
    new = new_question(platform, actor, table, "private", told)
    identifier = authorise(platform, new, table, actor, budget.micro(prepared.epsilon), under)
    try:
        answer = prepared.release(frame)
    except Exception:
        _close(platform, actor, identifier, "failed", None)
        raise
    return _close(platform, actor, identifier, "answered", answer | {"epsilon": budget.micro(prepared.epsilon) / MICRO, "delta": 0.0})


def authorise(platform: Platform, new: Asked, table: Protected, actor: Actor, amount: int, under: Under | None = None) -> str:
    """Weigh, spend and record a private question, and return its id once all is committed.

    Raises NotGranted and BudgetSpent, both recorded.
    """

    def work(connection: Connection) -> Refused | None:
        terms = weighed(connection, platform.keyring, table, actor, under, new.asked_at)
        if not terms.allowed:
            _record(connection, replace(new, state="refused", because=terms.because))
            return _not_granted(terms.because, table.name)
        if because := budget.spend(connection, table.name, actor.organisation, amount, at=new.asked_at):
            _record(connection, replace(new, state="refused", because=because))
            return BudgetSpent(because, "Ask with a smaller epsilon, or for a larger budget.", where=table.name)
        _record(connection, replace(new, state="authorised", epsilon=amount / MICRO))
        return None

    if (refused := platform.db.write(work)) is not None:
        raise refused
    return new.id


def _given_again(platform: Platform, actor: Actor, table: Protected, again: Asked, under: Under | None) -> Asked:
    """Return an answer that was given before, if the terms still allow it: it costs no budget, and counts as a use of the grant."""
    terms = platform.db.write(partial(_weighed_now, platform, table, actor, under))
    if not terms.allowed:
        raise _not_granted(terms.because, table.name)
    return again


def _not_granted(because: str, table: str) -> NotGranted:
    return NotGranted(f"The terms of use do not allow this: {because}.", "Name a grant for aggregates, or apply for one.", where=table)


def ask_exact(platform: Platform, actor: Actor, name: str, question: AggregateQuestion, under: Under | None = None) -> Asked:
    """Return exact aggregates without small cells. Raises TooRevealing, NotGranted or BudgetSpent, all recorded."""
    table = _table(platform, actor, name, under)
    told = question.model_dump(mode="json", by_alias=True, exclude_none=True)
    if (again := _answered(platform, table, actor.organisation, "exact", told)) is not None:
        return _given_again(platform, actor, table, again, under)
    frame = holding.read(platform.store, table.declared)
    made, division = divided(frame, question, table)
    answer = given(made, question, table)
    for _ in range(ATTEMPTS):
        seen, earlier = _exact(platform, table, actor.organisation)
        because = too_revealing(frame, table, earlier, division)
        new = new_question(platform, actor, table, "exact", told)
        new = replace(new, state="refused", because=because) if because else replace(new, state="answered", answer=answer)
        if (found := _decide(platform, new, seen, partial(_weighed_now, platform, table, actor, under))) is not None:
            return found
    raise Conflict("Other questions of this grantee came in between.", "Ask again.", where=table.name)


def _weighed_now(platform: Platform, table: Protected, actor: Actor, under: Under | None, connection: Connection) -> Decision:
    return weighed(connection, platform.keyring, table, actor, under, platform.clock.now())


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


def _decide(platform: Platform, new: Asked, seen: int, terms: Callable[[Connection], Decision]) -> Asked | None:
    """Weigh, count, record and return the question in one transaction; None where another of the grantee came first.

    Raises what refuses it.
    """
    refusals: list[Refused] = []

    def work(connection: Connection) -> Asked:
        refusals.clear()
        if new.because:
            refusals.append(TooRevealing(new.because, "Ask about more rows, or with noise.", where=new.table))
            return _record(connection, new)
        if not (weight := terms(connection)).allowed:
            refusals.append(_not_granted(weight.because, new.table))
            return _record(connection, replace(new, state="refused", because=weight.because, answer=None))
        try:
            number = budget.count_question(connection, new.table, new.grantee, seen=seen)
        except BudgetSpent as error:
            refusals.append(BudgetSpent(error.what, "Ask for more, or ask with noise.", where=new.table))
            return _record(connection, replace(new, state="refused", because=error.what, answer=None))
        if number is None:
            raise _Overtaken  # nothing of this attempt stays, the use of the grant included
        return _record(connection, new, number)

    try:
        found = platform.db.write(work)
    except _Overtaken:
        return None
    if refusals:
        raise refusals[0]
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


def _table(platform: Platform, actor: Actor, name: str, under: Under | None) -> Protected:
    if under is not None:
        grants.take_up(platform)  # those that cases have issued since anyone looked
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


def new_question(platform: Platform, actor: Actor, table: Protected, kind: str, told: Mapping[str, Any]) -> Asked:
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
