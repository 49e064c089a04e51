"""Routes over protected tables: what may be asked, budgets, questions with noise and exact ones."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.errors import NotFound
from headwater.core.identity import Actor, Permission
from headwater.core.web import permitted, platform_of
from headwater.data.privacy.protected import asking, budget, holding
from headwater.data.privacy.protected.asking import Asked
from headwater.data.privacy.protected.budget import Budget
from headwater.data.privacy.protected.holding import Declared, Protected
from headwater.data.privacy.protected.questions import AggregateQuestion, PrivateQuestion
from headwater.data.privacy.protected.terms import Under

router = APIRouter(prefix="/api/data/protected", tags=["privacy"])

Reader = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
Publisher = Annotated[Actor, Depends(permitted(Permission.DATA_PUBLISH))]
Decider = Annotated[Actor, Depends(permitted(Permission.DATA_DECIDE))]
Asker = Annotated[Actor, Depends(permitted(Permission.DATA_QUERY))]
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="The protected table's name.", examples=["people"])]
Limit = Annotated[int, Query(ge=1, le=1000)]


class BudgetOut(BaseModel):
    """What a grantee may spend; under `*`, what all together may."""

    grantee: str = Field(examples=["city/lab"])
    epsilon: float
    spent: float
    left: float
    most_questions: int = Field(description="Exact questions in all.")
    questions: int = Field(description="Exact questions asked.")
    changed_at: datetime


class TableOut(BaseModel):
    """A protected table: its rules and columns, never its rows."""

    name: str
    organisation: str
    rows: int
    declared: Declared
    created_at: datetime


class TableDetailOut(TableOut):
    """A protected table with the budgets that you may see: all of them for those of its organisation, else your own."""

    budgets: list[BudgetOut]


class TableIn(BaseModel):
    """A table to protect."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", examples=["people"])
    organisation: str = Field(max_length=200, examples=["city"])
    declared: Declared


class BudgetIn(BaseModel):
    """What an organisation may spend in all."""

    grantee: str = Field(pattern=r"^[a-z0-9][a-z0-9/_-]{0,199}$", examples=["city/lab"])
    epsilon: float = Field(gt=0, le=1000, allow_inf_nan=False, examples=[1.0])
    most_questions: int = Field(100, ge=0, le=100_000)
    reason: str = Field(min_length=3, max_length=1000, examples=["Agreed for the study of 2026"])


class AskedOut(BaseModel):
    """A question, its decision and its answer."""

    id: str
    table: str
    grantee: str
    asked_at: datetime
    kind: str = Field(description="`private` or `exact`.")
    question: dict[str, Any]
    epsilon: float
    state: str = Field(description="`authorised`, `answered`, `refused` or `failed`.")
    because: str
    answer: dict[str, Any] | None


def seen_table(request: Request, actor: Actor, name: str) -> Protected:
    """Return a table that the actor may see: of an organisation that it reads, or one that it has a budget on. Raises NotFound."""
    with platform_of(request).db.read() as connection:
        found = holding.get(connection, name)
        if not owns(actor, found) and actor.organisation not in {one.grantee for one in budget.listed(connection, name)}:
            raise NotFound(f"There is no protected table '{name}'.")
    return found


def owns(actor: Actor, table: Protected) -> bool:
    """Tell whether the actor reads the data of the table's organisation."""
    return identity.decide(actor, Permission.DATA_READ, table.organisation).allowed


def budgets_seen(connection: Connection, actor: Actor, table: Protected) -> list[Budget]:
    """Return the budgets on a table that the actor may see."""
    return [one for one in budget.listed(connection, table.name) if owns(actor, table) or one.grantee == actor.organisation]


def questions_seen(connection: Connection, actor: Actor, table: Protected, limit: int) -> list[Asked]:
    """Return what was asked of a table as far as the actor may see it: answers only of its own organisation."""
    return asking.listed(connection, table.name, grantee=None if owns(actor, table) else actor.organisation, limit=limit)


@router.get("", summary="List the tables that answer questions")
def listed(request: Request, actor: Reader) -> list[TableOut]:
    with platform_of(request).db.read() as connection:
        found = holding.listed(connection, scopes=actor.scopes(Permission.DATA_READ), grantee=actor.organisation)
    return [_table(one) for one in found]


@router.post("", summary="Put a table under protection", status_code=201)
def register(request: Request, actor: Publisher, wish: TableIn) -> TableOut:
    """The rows are a version of a data set of the organisation, by the digest of its tree, and a file of it."""
    identity.require(actor, Permission.DATA_PUBLISH, wish.organisation)
    with platform_of(request).db.read() as connection:
        holding.require_published(connection, wish.declared.artifact, wish.organisation)
    return _table(holding.register(platform_of(request), wish.name, wish.organisation, wish.declared, actor=actor.id))


@router.get("/{table}", summary="Look at one protected table and its budgets")
def shown(request: Request, actor: Reader, table: Name) -> TableDetailOut:
    found = seen_table(request, actor, table)
    with platform_of(request).db.read() as connection:
        budgets = budgets_seen(connection, actor, found)
    return TableDetailOut(**_table(found).model_dump(by_alias=True), budgets=[_budget(one) for one in budgets])


@router.post("/{table}/budgets", summary="Give an organisation a budget on a table, or change it")
def give(request: Request, actor: Decider, table: Name, wish: BudgetIn) -> BudgetOut:
    platform = platform_of(request)
    with platform.db.read() as connection:
        found = holding.get(connection, table)
    identity.require(actor, Permission.DATA_DECIDE, found.organisation)
    given = budget.give(
        platform, table, wish.grantee, epsilon=wish.epsilon, most_questions=wish.most_questions, reason=wish.reason, actor=actor.id
    )
    return _budget(given)


def under_of(
    grant: Annotated[str | None, Query(max_length=100, description="Grant under which it is asked, where the data are not open.")] = None,
    purpose: Annotated[str | None, Query(max_length=100, description="What the answer is for, where the grant binds it.")] = None,
    region: Annotated[str | None, Query(max_length=100, description="Where it is used, where the grant binds it.")] = None,
) -> Under | None:
    """Return under which grant a question is asked; None where none is named."""
    return Under(grant=grant, purpose=purpose, region=region) if grant else None


Asking = Annotated[Under | None, Depends(under_of)]


@router.post("/{table}/private", summary="Ask with noise: a count, sum, mean, histogram or quantile, at the cost of epsilon")
def ask_private(request: Request, actor: Asker, table: Name, question: PrivateQuestion, under: Asking) -> AskedOut:
    """The budget is spent before the answer is made. The same question asked again gives the same answer and costs nothing.

    Where the data are not open, others than their own organisation name the grant; it counts the use.
    """
    seen_table(request, actor, table)
    return _asked(asking.ask_private(platform_of(request), actor, table, question, under))


@router.post("/{table}/exact", summary="Ask for exact counts, sums and means over groups; small cells are left out")
def ask_exact(request: Request, actor: Asker, table: Name, question: AggregateQuestion, under: Asking) -> AskedOut:
    """Refused where fewer rows fit than the table's minimum, or where an earlier answer differs from this one by as few."""
    seen_table(request, actor, table)
    return _asked(asking.ask_exact(platform_of(request), actor, table, question, under))


@router.get("/{table}/questions", summary="List what was asked of a table, with each decision")
def questions(request: Request, actor: Reader, table: Name, limit: Limit = 100) -> list[AskedOut]:
    found = seen_table(request, actor, table)
    with platform_of(request).db.read() as connection:
        return [_asked(one) for one in questions_seen(connection, actor, found, limit)]


def _table(table: Protected) -> TableOut:
    return TableOut(name=table.name, organisation=table.organisation, rows=table.rows, declared=table.declared, created_at=table.created_at)


def _budget(one: Budget) -> BudgetOut:
    return BudgetOut(
        grantee=one.grantee,
        epsilon=one.total,
        spent=one.spent,
        left=one.left,
        most_questions=one.most_questions,
        questions=one.questions,
        changed_at=one.changed_at,
    )


def _asked(one: Asked) -> AskedOut:
    return AskedOut(
        id=one.id,
        table=one.table,
        grantee=one.grantee,
        asked_at=one.asked_at,
        kind=one.kind,
        question=dict(one.question),
        epsilon=one.epsilon,
        state=one.state,
        because=one.because,
        answer=None if one.answer is None else dict(one.answer),
    )
