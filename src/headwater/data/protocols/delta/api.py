"""Routes of the Delta Sharing protocol, under `/delta`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.errors import BadInput, HeadwaterError, NotFound
from headwater.core.identity import Actor, Permission
from headwater.core.platform import Platform
from headwater.core.web import address_of, permitted, platform_of
from headwater.data.authorisation import grants
from headwater.data.authorisation.decision import Use
from headwater.data.authorisation.signed_urls import FileAccess, sign_url
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import Version
from headwater.data.protocols import offers
from headwater.data.protocols.access import vocabulary_of
from headwater.data.protocols.delta import shares, wire
from headwater.data.protocols.delta.answers import DeltaError, QueryIn, Schema, SchemasOut, Share, ShareOut, SharesOut, Table, TablesOut
from headwater.data.protocols.delta.changes import Span, changes, chosen
from headwater.data.protocols.delta.predicates import Condition, both, from_json
from headwater.data.protocols.delta.shares import OPEN, Shared
from headwater.data.protocols.delta.sql_hints import from_sql
from headwater.data.protocols.delta.statistics import footer_of
from headwater.data.protocols.speech import speaking

NDJSON = "application/x-ndjson; charset=utf-8"
VERSION_HEADER = "delta-table-version"
CAPABILITIES = "delta-sharing-capabilities"
TOKEN_LASTS = timedelta(days=90)


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
    if asked.startingVersion is not None:
        raise BadInput("A query reads one version.", "Read changes with GET changes, or a version with `version` or `timestamp`.")
    platform = platform_of(request)
    shared, versions = _versions(request, actor, share, schema, table)
    found = shares.version_at(versions, asked.version, asked.timestamp)
    parts = [wire.Part(file=one, footer=footer_of(platform.store, one.digest)) for one in found.table]
    kept = wire.chosen(parts, _condition(asked, parts[0].footer.simple_types), asked.limitHint)
    grantee = _decided(request, actor, shared, [one.file.name for one in kept], version=found.number)
    lasts, delta = timedelta(minutes=platform.settings.signed_url_minutes), _wants_delta(request)
    expires_at, base = platform.clock.now() + lasts, address_of(request)
    told = [wire.protocol(delta=delta), wire.metadata(shared.offer, found, parts[0].footer.types, "en", delta=delta)]
    for part in kept:
        url = base + sign_url(platform, _access(shared, found, part.file.name, grantee), lasts)
        told.append(wire.file(part, url, expires_at, found, delta=delta))
    return _ndjson(found, told, delta=delta)


@router.get(
    "/shares/{share}/schemas/{schema}/tables/{table}/changes",
    summary="Delta Sharing: what changed between versions of a table",
    response_class=Response,
    responses={200: {"description": "Lines of JSON: protocol, metadata, files.", "content": {NDJSON: {"schema": {"type": "string"}}}}},
)
def table_changes(
    request: Request,
    actor: Recipient,
    share: Name,
    schema: Name,
    table: Name,
    starting: Annotated[int | None, Query(alias="startingVersion", ge=0, le=2**31 - 1)] = None,
    starting_at: Annotated[str | None, Query(alias="startingTimestamp", max_length=60)] = None,
    ending: Annotated[int | None, Query(alias="endingVersion", ge=0, le=2**31 - 1)] = None,
    ending_at: Annotated[str | None, Query(alias="endingTimestamp", max_length=60)] = None,
) -> Response:
    """File by file: rows of a file that is new in a version were inserted, those of one that is gone were deleted."""
    platform, delta = platform_of(request), _wants_delta(request)
    shared, versions = _versions(request, actor, share, schema, table)
    span = Span(starting_version=starting, starting_timestamp=starting_at, ending_version=ending, ending_timestamp=ending_at)
    wanted = chosen(versions, span)
    found = changes(versions, wanted)
    grantee = _decided(request, actor, shared, [one.file.name for one in found], version=wanted[-1].number, since=wanted[0].number)
    lasts = timedelta(minutes=platform.settings.signed_url_minutes)
    expires_at, base = platform.clock.now() + lasts, address_of(request)
    types = footer_of(platform.store, wanted[-1].table[0].digest).types
    told = [wire.protocol(delta=delta), wire.metadata(shared.offer, wanted[-1], types, "en", delta=delta)]
    for one in found:
        url = base + sign_url(platform, _access(shared, one.holder, one.file.name, grantee), lasts)
        told.append(wire.change(one, footer_of(platform.store, one.file.digest), url, expires_at, delta=delta))
    return _ndjson(wanted[-1], told, delta=delta)


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
        return identity.issue_token(
            connection, actor.id, kind="api", label="Delta Sharing", lasts=TOKEN_LASTS, at=now, actor=actor.id, bound=actor.limit
        )

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


def _access(shared: Shared, version: Version, file: str, grantee: str) -> FileAccess:
    return FileAccess(dataset=shared.offer.dataset.id, version=version.number, file=file, grantee=grantee, grant=shared.grant)


def _decided(request: Request, actor: Actor, shared: Shared, files: Sequence[str], **which: int) -> str:
    """Return whom the addresses are given to, once the grant's terms were weighed and the use counted. Raises Refused."""
    if not shared.grant:
        return "public"
    use = Use(action="read", organisation=actor.organisation, purpose=shared.purpose, region=shared.region)
    about = {"over": "delta sharing", "files": list(files[:100])} | which
    grants.require(platform_of(request), shared.grant, shared.offer.dataset, use, actor=actor.id, about=about)
    return actor.organisation


def _versions(request: Request, actor: Actor, share: str, schema: str, table: str) -> tuple[Shared, list[Version]]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        found = _open_table(connection, platform, share, schema, table)
    if found is None:
        tables = _tables(request, actor)
        found = shares.find_table(shares.in_schema(tables, shares.find_share(tables, [OPEN], share), schema), table)
    with platform.db.read() as connection:
        return found, shares.with_tables(sets.versions(connection, found.offer.dataset.id))


def _open_table(connection: Connection, platform: Platform, share: str, schema: str, table: str) -> Shared | None:
    """Return an open table by its name as it is written; None where the whole list has to be looked through."""
    if share.lower() != OPEN:
        return None
    try:
        found = Shared(share=OPEN, offer=offers.find(connection, vocabulary_of(platform), table))
    except NotFound:
        return None
    fits = found.offer.open and found.offer.version.table and found.schema.lower() == schema.lower() and found.name == table
    return found if fits else None


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
