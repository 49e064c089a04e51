"""Routes over the framework: parallel plans, computed from what is asked, and records of chips, which are the same for all."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from headwater.core.errors import LimitExceeded
from headwater.core.identity import Actor, Permission
from headwater.core.web import permitted, platform_of
from headwater.framework.chips import matrix
from headwater.framework.parallel.asked import Asked, answered, found
from headwater.framework.parallel.emit import emitted, tool_of, tools
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.views import PlansOut
from headwater.framework.program.named import names

router = APIRouter(tags=["framework"])

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
MOST_CHIPS = 8192
"""Larger fleets are planned on the command line, where they take nobody else's time."""
BUDGET_S = 5.0

ModelName = Annotated[str, Query(max_length=64, description="A model that is known by name.", examples=["llama-3-8b"])]
FleetText = Annotated[str, Query(max_length=400, description="Chips, as the command takes them.", examples=["64xA100-80"])]
Batch = Annotated[int | None, Query(ge=1, le=1 << 20, description="Sequences a step; about four million tokens where left out.")]
Seq = Annotated[int | None, Query(ge=1, le=1 << 24, description="Tokens a sequence; the model's own where left out.")]
Formats = Annotated[str, Query(max_length=60, description="Number formats that may be used.", examples=["bf16"])]
Aim = Annotated[Literal["time", "cost", "energy"], Query(description="What to make least.")]
Within = Annotated[float | None, Query(gt=0, le=1e6, description="Longest step in seconds, for cost and energy.")]
Top = Annotated[int, Query(ge=1, le=20, description="How many plans.")]
Why = Annotated[str | None, Query(max_length=80, description="Say why not this layout.", examples=["tp8 pp1 zero1 mb1"])]


class ModelsOut(BaseModel):
    """What can be asked for by name."""

    models: list[str] = Field(examples=[["llama-3-8b"]])
    tools: list[str] = Field(description="Training tools that plans are written for.")


class EmittedOut(BaseModel):
    """A plan as a training tool's configuration."""

    tool: str
    text: str


@router.get("/api/parallel/models", summary="List the models and tools that plans can be made for")
def models(_: Reader) -> ModelsOut:
    return ModelsOut(models=list(names()), tools=list(tools()))


@router.get("/api/parallel/plans", summary="Find the best parallel plans of a model on a fleet")
def plans(
    _: Reader,
    model: ModelName,
    fleet: FleetText,
    batch: Batch = None,
    seq: Seq = None,
    precision: Formats = "bf16",
    objective: Aim = "time",
    within: Within = None,
    top: Top = 5,
    why: Why = None,
) -> PlansOut:
    asked = Asked(model=model, fleet=fleet, batch=batch, seq=seq, precision=precision, objective=objective, within=within, top=top)
    check_size(fleet)
    return answered(found(asked, files=False, budget_s=BUDGET_S), why)


@router.get("/api/parallel/plans/{tool}", summary="Write the best plan that a training tool can run as its configuration")
def written(tool: str, _: Reader, model: ModelName, fleet: FleetText, batch: Batch = None, seq: Seq = None) -> EmittedOut:
    one = tool_of(tool)
    check_size(fleet)
    best = found(Asked(model=model, fleet=fleet, batch=batch, seq=seq, top=1), files=False, budget_s=BUDGET_S, may=one.may)
    return EmittedOut(tool=one.name, text=emitted(best, one))


def check_size(fleet: str) -> None:
    """Raise LimitExceeded for a fleet that a server does not plan."""
    chips = Fleet.load(fleet).chips
    if chips > MOST_CHIPS:
        raise LimitExceeded(f"{chips} chips; this server plans up to {MOST_CHIPS}.", "Use `headwater parallel` on your own machine.")


class CasesOut(BaseModel):
    """How many cases of one kind work in one number format."""

    kind: str = Field(examples=["operator"])
    format: str = Field(examples=["bf16"])
    works: int
    tried: int


class ChipRecordOut(BaseModel):
    """What a signed record shows of one device."""

    statement: str = Field(description="Digest of the signed statement, which holds the whole record.")
    vendor: str = Field(examples=["cpu"])
    chip: str | None = Field(description="Id in the catalogue of chips, where one fits.")
    device: str
    torch: str
    made_at: datetime
    signed_by: list[str]
    valid: bool
    why: str = Field("", description="Why it is not valid.")
    cases: list[CasesOut]


@router.get("/api/chips/records", summary="List what signed records show of chips")
def records(request: Request, _: Reader) -> list[ChipRecordOut]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        return [_record_out(one) for one in matrix.held(platform, connection, platform.clock.now())]


def _record_out(one: matrix.Entry) -> ChipRecordOut:
    told = one.record
    cells = [(kind, dtype, one.cell(kind, dtype)) for kind in matrix.KINDS for dtype in matrix.COLUMNS]
    return ChipRecordOut(
        statement=one.digest,
        vendor=told.device.vendor,
        chip=told.device.chip,
        device=told.device.name,
        torch=told.software.torch,
        made_at=told.made_at,
        signed_by=list(one.signed_by),
        valid=not one.why,
        why=one.why,
        cases=[CasesOut(kind=kind, format=dtype, works=cell.works, tried=cell.tried) for kind, dtype, cell in cells if cell.tried],
    )
