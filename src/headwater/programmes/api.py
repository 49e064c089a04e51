"""Routes over procedures and cases: open, fill in, decide, look, and the public record."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from headwater.core import identity
from headwater.core.identity import Actor, Permission
from headwater.core.web import permitted, platform_of
from headwater.core.yaml_file import Words
from headwater.programmes import cases, casework, definition, engine, register
from headwater.programmes.cases import Record
from headwater.programmes.definition import Definition
from headwater.programmes.engine import Move

router = APIRouter(prefix="/api", tags=["programmes"])

Reader = Annotated[Actor, Depends(permitted(Permission.CASES_READ))]
Officer = Annotated[Actor, Depends(permitted(Permission.CASES_DECIDE))]
CaseId = Annotated[str, Path(max_length=40, description="The case's id.")]
Value = str | int | float | bool | None
Fields = Annotated[dict[str, Value], Field(max_length=200, examples=[{"provider_name": "Example provider"}])]


class ProcedureOut(BaseModel):
    """A procedure that cases can be opened under."""

    id: str = Field(examples=["algorithm-filing"])
    version: str
    digest: str
    title: Words
    legal_sources: list[str]
    definition: dict[str, Any] = Field(description="The whole definition.")


class ClockOut(BaseModel):
    """A time limit that runs."""

    clock: str
    due: date = Field(description="The last day on which it is kept.")
    provisional: bool = Field(description="The day may move: the holidays of its year are not published yet.")
    overdue: bool
    source: str = Field(description="The law and article.")


class CaseOut(BaseModel):
    """A case as it stands."""

    id: str
    procedure: str
    procedure_version: str
    definition: str = Field(description="Digest of the definition that it runs under.")
    organisation: str
    state: str = Field(examples=["filed"])
    state_title: Words
    final: bool
    number: str | None = Field(examples=["HW-DEMO-AF-2026-000001"])
    statement: str | None = Field(description="Digest of the statement that it issued.")
    fields: dict[str, Any]
    version: int = Field(description="Name it when you change the case.")
    opened_by: str
    opened_at: datetime
    changed_at: datetime
    job: str | None
    clocks: list[ClockOut]
    notice: Words | None = Field(description="What the public record must say.")


class EventOut(BaseModel):
    """One thing that happened to a case."""

    kind: str
    at: datetime
    actor: str
    role: str
    definition: str
    data: dict[str, Any]


class CaseDetailOut(CaseOut):
    """A case with its history and what can be done next."""

    events: list[EventOut]
    possible: list[str] = Field(description="Transitions that you may make now, guards aside.")
    missing: list[str] = Field(description="Everything that keeps the form from being complete.")


class CaseIn(BaseModel):
    """A case to open."""

    procedure: str = Field(max_length=64, examples=["algorithm-filing"])
    organisation: str | None = Field(None, max_length=200, description="Whose case it is; your organisation's where left out.")
    fields: Fields = Field(default_factory=dict)


class FillIn(BaseModel):
    """Fields to fill in or change; null empties one."""

    version: int = Field(ge=1, le=2**31 - 1)
    fields: Fields


class MoveIn(BaseModel):
    """A transition to make."""

    version: int = Field(ge=1, le=2**31 - 1)
    transition: str = Field(max_length=64, examples=["submit"])
    reasons: list[Annotated[str, Field(max_length=2000)]] = Field(default_factory=list, max_length=20)


class CheckIn(BaseModel):
    """The version of the case that the rule is to look at."""

    version: int = Field(ge=1, le=2**31 - 1)


def found(request: Request, case: str, actor: Actor, permission: Permission = Permission.CASES_READ) -> Record:
    """Return a case that the actor may use in this way. Raises NotFound, Refused."""
    with platform_of(request).db.read() as connection:
        record = cases.get(connection, case)
    identity.require(actor, permission, record.organisation)
    return record


@router.get("/procedures", summary="List the procedures that cases can be opened under")
def procedures(actor: Reader) -> list[ProcedureOut]:  # noqa: ARG001 - the role is what matters
    return [_procedure(one) for one in definition.shipped().values()]


@router.get("/cases", summary="List cases, the last changed first")
def listed(
    request: Request,
    actor: Reader,
    procedure: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[CaseOut]:
    with platform_of(request).db.read() as connection:
        seen = cases.listed(connection, scopes=actor.scopes(Permission.CASES_READ), procedure=procedure, state=state, limit=limit)
    return [CaseOut.model_validate(one.as_json()) for one in seen]


@router.post("/cases", summary="Open a case", status_code=201)
def opened(request: Request, actor: Reader, wish: CaseIn) -> CaseOut:
    procedure = definition.named(wish.procedure)
    organisation = wish.organisation or actor.organisation
    who = cases.party(actor, procedure, organisation)
    new = casework.NewCase(definition=procedure, organisation=organisation, fields=wish.fields, who=who)
    return CaseOut.model_validate(casework.open_case(platform_of(request), new).as_json())


@router.get("/cases/{case}", summary="Look at one case: history, what is missing, what can be done next")
def shown(request: Request, actor: Reader, case: CaseId) -> CaseDetailOut:
    return CaseDetailOut.model_validate(detail(request, found(request, case, actor), actor))


@router.post("/cases/{case}/fields", summary="Fill in or change fields")
def fill(request: Request, actor: Reader, case: CaseId, wish: FillIn) -> CaseOut:
    record = found(request, case, actor)
    who = cases.party(actor, record.definition, record.organisation)
    return CaseOut.model_validate(casework.fill(platform_of(request), case, wish.fields, who, version=wish.version).as_json())


@router.post("/cases/{case}/moves", summary="Make a transition")
def move(request: Request, actor: Reader, case: CaseId, wish: MoveIn) -> CaseOut:
    platform, record = platform_of(request), found(request, case, actor)
    who = cases.party(actor, record.definition, record.organisation)
    step = Move(transition=wish.transition, who=who, at=platform.clock.now(), reasons=tuple(wish.reasons))
    return CaseOut.model_validate(casework.decide(platform, case, step, version=wish.version).as_json())


@router.post("/cases/{case}/check", summary="Let the procedure's automatic rule decide")
def check(request: Request, actor: Officer, case: CaseId, wish: CheckIn) -> CaseOut:
    found(request, case, actor, Permission.CASES_DECIDE)
    return CaseOut.model_validate(casework.check(platform_of(request), case, version=wish.version).as_json())


@router.get("/cases/{case}/record", summary="The public record of a case, with the notice that it must carry")
def record(request: Request, actor: Reader, case: CaseId) -> dict[str, Any]:
    return dict(register.public_record(found(request, case, actor)))


def detail(request: Request, record: Record, actor: Actor) -> dict[str, Any]:
    """Return a case with its events, the transitions that the actor may make, and all that is missing, as JSON values."""
    platform = platform_of(request)
    with platform.db.read() as connection:
        events = cases.events(connection, record.id)
        facts = cases.facts_of(connection, platform.keyring, record, now=platform.clock.now())
    who = cases.party(actor, record.definition, record.organisation)
    told = [{name: getattr(one, name) for name in ("kind", "at", "actor", "role", "definition", "data")} for one in events]
    missing = engine.missing(record.definition, record.case, facts)
    return record.as_json() | {"events": told, "possible": engine.possible(record.definition, record.case, who), "missing": missing}


def _procedure(one: Definition) -> ProcedureOut:
    told = {"id": one.id, "version": one.version, "digest": one.digest, "title": one.title}
    return ProcedureOut(legal_sources=list(one.legal_sources), definition=one.as_json(), **told)
