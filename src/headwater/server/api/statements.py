"""Signed statements: what is held, what it is worth now, taking in others' statements, revoking."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from headwater.core import evidence, statement
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.store import check_name
from headwater.core.web import permitted, platform_of
from headwater.server import records
from headwater.server.records import Weighed

router = APIRouter(prefix="/api/statements", tags=["statements"])
Reader = Annotated[Actor, Depends(permitted(Permission.STATEMENTS_READ))]
Revoker = Annotated[Actor, Depends(permitted(Permission.STATEMENTS_REVOKE, ROOT))]
DIGEST = "sha256:" + "1" * 64
Digest = Annotated[str, Path(max_length=80, description="The statement's own digest.", examples=[DIGEST])]


class SubjectOut(BaseModel):
    """What a statement is about."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["model"])
    digest: str = Field(examples=[DIGEST])


class StatementOut(BaseModel):
    """A statement with whether it is valid now."""

    digest: str = Field(examples=[DIGEST])
    predicate_type: str = Field(examples=[statement.TRUST_GRADE])
    subjects: list[SubjectOut]
    predicate: dict[str, Any] = Field(examples=[{"overall": "B"}])
    issued_at: datetime = Field(examples=["2026-01-31T08:00:00Z"])
    expires_at: datetime | None = Field(None, examples=[None])
    signed_by: list[str] = Field(description="Names of trusted keys, or ids of others.", examples=[["evaluator"]])
    valid: bool = Field(examples=[True])
    why: str = Field("", description="Why it is not valid.")


class EnvelopeIn(BaseModel):
    """A DSSE envelope with an in-toto statement."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    payload_type: str = Field(alias="payloadType", examples=[statement.PAYLOAD_TYPE])
    payload: str = Field(description="Base64 of the statement's bytes.", max_length=statement.LARGEST_ENVELOPE, examples=["e30="])
    signatures: list[dict[str, str]] = Field(max_length=32, examples=[[{"keyid": "1" * 64, "sig": "c2ln"}]])


class RevocationIn(BaseModel):
    """Why a statement is ended."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=3, max_length=1000, examples=["The data set was withdrawn by its owner."])


@router.get("", summary="List statements, newest first")
def listed(
    request: Request,
    actor: Reader,  # noqa: ARG001
    about: Annotated[str, Query(max_length=80, description="Only those about this artifact.")] = "",
    kind: Annotated[str, Query(max_length=120, description="Only this predicate type.", examples=[statement.LINEAGE])] = "",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[StatementOut]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        if about:
            found = [
                one for one in records.about(platform, connection, check_name(about)) if kind in ("", one.held.statement.predicate_type)
            ]
            return [_out(request, one) for one in found[offset : offset + limit]]
        return [_out(request, one) for one in records.statements(platform, connection, kind=kind, offset=offset, limit=limit)]


@router.get("/{digest}", summary="Show a statement")
def one(request: Request, actor: Reader, digest: Digest) -> StatementOut:  # noqa: ARG001
    platform = platform_of(request)
    with platform.db.read() as connection:
        return _out(request, records.weigh(platform, connection, evidence.get(connection, digest)))


@router.get("/{digest}/envelope", summary="Give out the signed envelope (DSSE)")
def envelope(request: Request, actor: Reader, digest: Digest) -> dict[str, Any]:  # noqa: ARG001
    with platform_of(request).db.read() as connection:
        told: dict[str, Any] = json.loads(evidence.get(connection, digest).envelope.to_json())
    return told


@router.post("", summary="Take in a statement signed elsewhere", status_code=201)
def taken_in(
    request: Request, actor: Annotated[Actor, Depends(permitted(Permission.STATEMENTS_REVOKE, ROOT))], body: EnvelopeIn
) -> StatementOut:
    platform = platform_of(request)
    read = statement.read(body.model_dump_json(by_alias=True))
    now = platform.clock.now()
    held = platform.db.write(lambda connection: evidence.keep(connection, read, platform.keyring, actor=actor.id, now=now))
    with platform.db.read() as connection:
        return _out(request, records.weigh(platform, connection, held))


@router.post("/{digest}/revoke", summary="Revoke a statement", status_code=201)
def revoked(request: Request, actor: Revoker, digest: Digest, body: RevocationIn) -> StatementOut:
    platform = platform_of(request)
    now = platform.clock.now()
    held = platform.db.write(
        lambda connection: evidence.revoke(connection, platform.keyring, digest, reason=body.reason, actor=actor.id, now=now)
    )
    with platform.db.read() as connection:
        return _out(request, records.weigh(platform, connection, held))


def _out(request: Request, one: Weighed) -> StatementOut:
    told = one.held.statement
    return StatementOut(
        digest=one.held.digest,
        predicate_type=told.predicate_type,
        subjects=[SubjectOut.model_validate(subject) for subject in told.subjects],
        predicate=dict(told.predicate),
        issued_at=told.issued_at,
        expires_at=told.expires_at,
        signed_by=list(evidence.signers(platform_of(request).keyring, one.held)),
        valid=one.valid,
        why=one.why,
    )
