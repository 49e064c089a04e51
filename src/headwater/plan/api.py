"""Routes over the plan: its clauses with the evidence that the ledger holds, and its indicators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from headwater.core.identity import Actor, Permission
from headwater.core.web import permitted, platform_of
from headwater.core.yaml_file import Words
from headwater.plan import evidence
from headwater.plan.plan import Head, Target

router = APIRouter(prefix="/api/plan", tags=["plan"])

Reader = Annotated[Actor, Depends(permitted(Permission.PLAN_READ))]


class ItemOut(BaseModel):
    """One piece of evidence."""

    at: datetime
    name: str = Field(description="`#<seq>` of a ledger entry, or a statement's digest.", examples=["#41"])
    about: list[str]
    says: str = Field(description="The entry's kind, or the statement's type.", examples=["case.moved"])


class SourceOut(BaseModel):
    """What one source of evidence holds."""

    title: Words
    ledger: str = Field(description="Kind of ledger entry; empty where it is a type of statement.")
    statements: str
    where: dict[str, str]
    count: int = Field(description="Entries, or statements that are valid now.")
    set_aside: int = Field(description="Statements of the type that expired, were revoked or do not verify.")
    latest: list[ItemOut]


class IndicatorOut(BaseModel):
    """An indicator as the evidence stands."""

    id: str = Field(examples=["M07"])
    kind: Literal["quantified", "directional", "milestone"]
    clause: str
    title: Words
    unit: str
    target: Target | None
    direction: str | None
    deadline: str | None
    owner: str
    state: Literal["unlinked", "measured", "met", "not_met"]
    value: float | None = Field(description="The query's figure; null where no query is linked.")
    reached: bool | None
    reason: Words | None = Field(description="What the figure means, or why there is none.")
    missing: list[str] = Field(description="What it lacks before it may turn green.")
    inputs: list[str] = Field(description="Digests of the statements that were counted.")
    lineage: str | None = Field(description="Digest over query, inputs and figure.")


class ClauseOut(BaseModel):
    """A clause with its evidence and indicators."""

    id: str = Field(examples=["T03"])
    parent: str
    ref: str
    kind: str
    title: Words
    summary: Words
    bodies: list[str]
    rooms: list[str]
    state: Literal["unlinked", "awaited", "evidenced"]
    evidence: list[SourceOut]
    indicators: list[IndicatorOut]


class PlanOut(Head):
    """The plan as the evidence stood at one moment."""

    at: datetime
    ledger_entries: int
    ledger_head: str
    bodies: dict[str, Words]
    counts: dict[str, dict[str, int]] = Field(description="Clauses and indicators in each state.")
    clauses: list[ClauseOut]


@router.get("", summary="The whole plan with its evidence now")
def shown(request: Request, actor: Reader) -> PlanOut:  # noqa: ARG001 - the role is what matters
    return PlanOut.model_validate(evidence.overview(platform_of(request)).as_json())


@router.get("/indicators", summary="Every indicator: its figure and where it comes from, or why there is none")
def indicators(request: Request, actor: Reader) -> list[IndicatorOut]:  # noqa: ARG001 - the role is what matters
    overview = evidence.overview(platform_of(request))
    readings: dict[str, Any] = {one.indicator.id: one.as_json() for clause in overview.clauses for one in clause.indicators}
    return [IndicatorOut.model_validate(_plain(readings[one.id])) for one in overview.plan.indicators]


@router.get("/clauses/{clause}", summary="One clause with its evidence now")
def clause(
    request: Request,
    actor: Reader,  # noqa: ARG001 - the role is what matters
    clause: Annotated[str, Path(max_length=40, examples=["T03"])],
) -> ClauseOut:
    return ClauseOut.model_validate(evidence.overview(platform_of(request)).clause(clause).as_json())


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name in IndicatorOut.model_fields}
