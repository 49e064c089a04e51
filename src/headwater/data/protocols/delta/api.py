"""Routes of the Delta Sharing protocol, under `/delta`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.identity import Actor, Permission
from headwater.core.web import address_of, permitted, platform_of
from headwater.data.authorisation import grants
from headwater.data.authorisation.decision import Use
from headwater.data.authorisation.signed_urls import FileAccess, sign_url
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import Version
from headwater.data.protocols import offers
from headwater.data.protocols.access import vocabulary_of
from headwater.data.protocols.delta import shares, wire
from headwater.data.protocols.delta.predicates import Condition, both, from_json
from headwater.data.protocols.delta.shares import OPEN, Shared
from headwater.data.protocols.delta.sql_hints import from_sql
from headwater.data.protocols.delta.statistics import footer_of
from headwater.data.protocols.speech import speaking

NDJSON = "application/x-ndjson; charset=utf-8"
VERSION_HEADER = "delta-table-version"
CAPABILITIES = "delta-sharing-capabilities"
TOKEN_LASTS = timedelta(days=90)


class DeltaError(BaseModel):
    """An error as Delta Sharing tells it."""

    errorCode: str = Field(examples=["RESOURCE_DOES_NOT_EXIST"])  # noqa: N815 - the protocol's own names, here and below
    message: str


class Share(BaseModel):
    """A share."""

    name: str
    id: str


class ShareOut(BaseModel):
    """One share."""

    share: Share


class Schema(BaseModel):
    """A schema of a share."""

    name: str
    share: str


class Table(BaseModel):
    """A table of a schema."""

    name: str
    schema_: str = Field(alias="schema")
    share: str
    shareId: str  # noqa: N815
    id: str


class SharesOut(BaseModel):
    """A page of shares."""

    items: list[Share]
    nextPageToken: str = ""  # noqa: N815


class SchemasOut(BaseModel):
    """A page of schemas."""

    items: list[Schema]
    nextPageToken: str = ""  # noqa: N815


class TablesOut(BaseModel):
    """A page of tables."""

    items: list[Table]
    nextPageToken: str = ""  # noqa: N815


class QueryIn(BaseModel):
    """What a reader wants of a table; every hint only leaves out files that hold nothing it asks for."""

    predicateHints: list[Annotated[str, Field(max_length=10_000)]] = Field([], max_length=100, description="SQL conditions.")  # noqa: N815
    jsonPredicateHints: str | None = Field(None, max_length=100_000, description="A condition as a JSON tree, as text.")  # noqa: N815
    limitHint: int | None = Field(None, ge=0, le=2**63 - 1, description="Rows that will be read at most.")  # noqa: N815
    version: int | None = Field(None, ge=0, le=2**31 - 1)
    timestamp: str | None = Field(None, max_length=60, examples=["2026-01-31T00:00:00Z"])
    startingVersion: int | None = Field(None, description="Not offered.")  # noqa: N815
    endingVersion: int | None = Field(None, description="Not offered.")  # noqa: N815


def tell(error: HeadwaterError) -> Response:
    """Return an error in the protocol's words."""
    status, body = wire.error(error)
    headers = {"www-authenticate": 'Bearer realm="headwater"'} if status == 401 else {}
    return JSONResponse(body, status_code=status, headers=headers)


ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": DeltaError} for status in (400, 401, 403, 404, 409)}
router = APIRouter(prefix="/delta", tags=["protocols"], route_class=speaking(tell), responses=ERRORS)

Recipient = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
Most = Annotated[int | None, Query(alias="maxResults", ge=0, le=2**31 - 1, description="Most results of a page.")]
Token = Annotated[str, Query(alias="pageToken", max_length=2000, description="`nextPageToken` of the page before.")]
Name = Annotated[str, Path(max_length=200, examples=["open"])]


@router.get("/shares", summary="Delta Sharing: list shares")
def list_shares(request: Request, actor: Recipient, most: Most = None, token: Token = "") -> SharesOut:
    names = sorted({OPEN, *(one.share for one in _tables(request, actor))})
    items, following = wire.page([(name, _share(name)) for name in names], "shares", most=most, token=token)
    return SharesOut(items=items, nextPageToken=following)


@router.get("/shares/{share}", summary="Delta Sharing: look at a share")
def one_share(request: Request, actor: Recipient, share: Name) -> ShareOut:
    return ShareOut(share=_share(shares.find_share(_tables(request, actor), [OPEN], share)))


@router.get("/shares/{share}/schemas", summary="Delta Sharing: list schemas")
def list_schemas(request: Request, actor: Recipient, share: Name, most: Most = None, token: Token = "") -> SchemasOut:
    tables = _tables(request, actor)
    name = shares.find_share(tables, [OPEN], share)
    found = sorted({one.schema for one in tables if one.share == name})
    listing = f"schemas of {name}"
    items, following = wire.page([(one, Schema(name=one, share=name)) for one in found], listing, most=most, token=token)
    return SchemasOut(items=items, nextPageToken=following)


@router.get("/shares/{share}/schemas/{schema}/tables", summary="Delta Sharing: list tables of a schema")
def list_tables(request: Request, actor: Recipient, share: Name, schema: Name, most: Most = None, token: Token = "") -> TablesOut:
    tables = _tables(request, actor)
    found = shares.in_schema(tables, shares.find_share(tables, [OPEN], share), schema)
    return _tables_page(found, f"tables of {found[0].share}.{found[0].schema}", most, token)


@router.get("/shares/{share}/all-tables", summary="Delta Sharing: list all tables of a share")
def list_all_tables(request: Request, actor: Recipient, share: Name, most: Most = None, token: Token = "") -> TablesOut:
    tables = _tables(request, actor)
    name = shares.find_share(tables, [OPEN], share)
    return _tables_page([one for one in tables if one.share == name], f"tables of {name}", most, token)


@router.get(
    "/shares/{share}/schemas/{schema}/tables/{table}/version",
    summary="Delta Sharing: a table's version",
    response_class=Response,
    responses={200: {"description": "The version, in the header Delta-Table-Version.", "content": {}}},
)
def table_version(
    request: Request,
    actor: Recipient,
    share: Name,
    schema: Name,
    table: Name,
    starting: Annotated[str | None, Query(alias="startingTimestamp", max_length=60)] = None,
) -> Response:
    _, versions = _versions(request, actor, share, schema, table)
    found = shares.first_from(versions, starting) if starting is not None else versions[0]
    return Response(headers={VERSION_HEADER: str(found.number)})


@router.get(
    "/shares/{share}/schemas/{schema}/tables/{table}/metadata",
    summary="Delta Sharing: a table's schema",
    response_class=Response,
    responses={200: {"description": "Two lines of JSON: protocol and metadata.", "content": {NDJSON: {"schema": {"type": "string"}}}}},
)
def table_metadata(
    request: Request,
    actor: Recipient,
    share: Name,
    schema: Name,
    table: Name,
    version: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    timestamp: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    shared, versions = _versions(request, actor, share, schema, table)
    found = shares.version_at(versions, version, timestamp)
    types = footer_of(platform_of(request).store, found.table[0].digest).types
    delta = _wants_delta(request)
    return _ndjson(found, [wire.protocol(delta=delta), wire.metadata(shared.offer, found, types, "en", delta=delta)], delta=delta)


@router.post(
    "/shares/{share}/schemas/{schema}/tables/{table}/query",
    summary="Delta Sharing: addresses of a table's files",
    response_class=Response,
    responses={200: {"description": "Lines of JSON: protocol, metadata, files.", "content": {NDJSON: {"schema": {"type": "string"}}}}},
)
def query(request: Request, actor: Recipient, share: Name, schema: Name, table: Name, asked: QueryIn) -> Response:
    """Each address opens one file until it expires, without a token."""
    if asked.startingVersion is not None or asked.endingVersion is not None:
        raise BadInput("Changes between versions are not offered.", "Read whole versions with `version` or `timestamp`.")
    platform = platform_of(request)
    shared, versions = _versions(request, actor, share, schema, table)
    found = shares.version_at(versions, asked.version, asked.timestamp)
    parts = [wire.Part(file=one, footer=footer_of(platform.store, one.digest)) for one in found.table]
    kept = wire.chosen(parts, _condition(asked, parts[0].footer.simple_types), asked.limitHint)
    grantee = _decided(request, actor, shared, found, kept)
    lasts, delta = timedelta(minutes=platform.settings.signed_url_minutes), _wants_delta(request)
    expires_at, base = platform.clock.now() + lasts, address_of(request)
    told = [wire.protocol(delta=delta), wire.metadata(shared.offer, found, parts[0].footer.types, "en", delta=delta)]
    for part in kept:
        access = FileAccess(dataset=shared.offer.dataset.id, version=found.number, file=part.file.name, grantee=grantee, grant=shared.grant)
        told.append(wire.file(part, base + sign_url(platform, access, lasts), expires_at, found, delta=delta))
    return _ndjson(found, told, delta=delta)


@router.post(
    "/profile",
    summary="Make a Delta Sharing profile, with a new token of yours",
    response_class=Response,
    responses={200: {"description": "The profile file.", "content": {"application/json": {"schema": {"type": "object"}}}}},
)
def profile(request: Request, actor: Recipient) -> Response:
    """The token is in the file and shown nowhere else; it lasts 90 days, and is listed and ended among your tokens."""
    platform, base = platform_of(request), address_of(request)
    now = platform.clock.now()

    def issue(connection: Connection) -> str:
        return identity.issue_token(connection, actor.id, kind="api", label="Delta Sharing", lasts=TOKEN_LASTS, at=now, actor=actor.id)

    told = {
        "shareCredentialsVersion": 1,
        "endpoint": f"{base}/delta",
        "bearerToken": platform.db.write(issue),
        "expirationTime": (now + TOKEN_LASTS).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    headers = {"content-disposition": 'attachment; filename="headwater.share"', "cache-control": "no-store"}
    return Response(json.dumps(told, indent=2) + "\n", media_type="application/json", headers=headers)


def _tables(request: Request, actor: Actor) -> list[Shared]:
    """Return what a recipient sees: every open table, and those that standing grants share with their organisation."""
    platform = platform_of(request)
    grants.take_up(platform)
    with platform.db.read() as connection:
        found = {one.dataset.id: one for one in offers.all_offers(connection, vocabulary_of(platform)) if one.version.table}
        held = [one for one in grants.listed(connection) if one.dataset in found]
        mine = [one for one in held if grants.holders_scope(one, actor.organisation)]
        standing = [one for one in mine if grants.standing(connection, platform.keyring, one, platform.clock.now()).allowed]
    shared = [Shared(share=OPEN, offer=one) for one in found.values() if one.open]
    return shared + [table for one in standing for table in shares.granted(found[str(one.dataset)], one)]


def _decided(request: Request, actor: Actor, shared: Shared, version: Version, kept: Sequence[wire.Part]) -> str:
    """Return whom the addresses are given to, once the grant's terms were weighed and the use counted. Raises Refused."""
    if not shared.grant:
        return "public"
    use = Use(action="read", organisation=actor.organisation, purpose=shared.purpose, region=shared.region)
    about = {"over": "delta sharing", "version": version.number, "files": [one.file.name for one in kept][:100]}
    grants.require(platform_of(request), shared.grant, shared.offer.dataset, use, actor=actor.id, about=about)
    return actor.organisation


def _versions(request: Request, actor: Actor, share: str, schema: str, table: str) -> tuple[Shared, list[Version]]:
    tables = _tables(request, actor)
    found = shares.find_table(shares.in_schema(tables, shares.find_share(tables, [OPEN], share), schema), table)
    with platform_of(request).db.read() as connection:
        return found, shares.with_tables(sets.versions(connection, found.offer.dataset.id))


def _tables_page(found: Sequence[Shared], listing: str, most: int | None, token: str) -> TablesOut:
    named = sorted(((f"{one.schema}.{one.name}", _table(one)) for one in found), key=lambda pair: pair[0])
    items, following = wire.page(named, listing, most=most, token=token)
    return TablesOut(items=items, nextPageToken=following)


def _share(name: str) -> Share:
    return Share(name=name, id=wire.share_id(name))


def _table(one: Shared) -> Table:
    return Table(name=one.name, schema=one.schema, share=one.share, shareId=wire.share_id(one.share), id=one.offer.dataset.id)


def _condition(asked: QueryIn, types: dict[str, str]) -> Condition:
    hints = [from_sql(text, types) for text in asked.predicateHints]
    return both([*hints, from_json(asked.jsonPredicateHints)] if asked.jsonPredicateHints else hints)


def _wants_delta(request: Request) -> bool:
    return wire.wants_delta(request.headers.get(CAPABILITIES, ""))


def _ndjson(version: Version, told: list[dict[str, Any]], *, delta: bool) -> Response:
    headers = {VERSION_HEADER: str(version.number), CAPABILITIES: f"responseformat={'delta' if delta else 'parquet'}"}
    return Response(wire.lines(told), media_type=NDJSON, headers=headers)
