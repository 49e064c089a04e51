"""The ledger: entries by filter, and a check of the whole chain."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.web import permitted, platform_of
from headwater.server import records

router = APIRouter(prefix="/api/ledger", tags=["ledger"])
Reader = Annotated[Actor, Depends(permitted(Permission.LEDGER_READ, ROOT))]


class EntryOut(BaseModel):
    """One entry of the ledger."""

    model_config = ConfigDict(from_attributes=True)

    seq: int = Field(examples=[42])
    at: datetime = Field(examples=["2026-01-31T08:00:00Z"])
    kind: str = Field(examples=["job.done"])
    actor: str = Field(examples=["system"])
    subject: str = Field(examples=["0f8c2d"])
    body: dict[str, Any] = Field(examples=[{"attempt": 1}])
    previous: str = Field(examples=["sha256:" + "0" * 64])
    hash: str = Field(examples=["sha256:" + "1" * 64])


class ChainOut(BaseModel):
    """Whether every entry still follows from the one before."""

    model_config = ConfigDict(from_attributes=True)

    intact: bool = Field(examples=[True])
    entries: int = Field(examples=[42])
    head: str = Field(examples=["sha256:" + "1" * 64])
    problem: str = Field("", description="The first broken entry, where there is one.")


@router.get("", summary="List ledger entries, newest first")
def listed(
    request: Request,
    actor: Reader,  # noqa: ARG001
    kind: Annotated[str, Query(max_length=80, description="A kind, or a beginning with `*`.", examples=["job.*"])] = "",
    subject: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[int, Query(ge=1, le=records.LARGEST_SEQ)] = records.LARGEST_SEQ,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[EntryOut]:
    wanted = records.Wanted(kind=kind, subject=subject, before=before, limit=limit)
    with platform_of(request).db.read() as connection:
        return [EntryOut.model_validate(entry) for entry in records.entries(connection, wanted)]


@router.get("/verify", summary="Check the whole ledger")
def verified(request: Request, actor: Reader) -> ChainOut:  # noqa: ARG001
    return ChainOut.model_validate(records.chain(platform_of(request).db))
