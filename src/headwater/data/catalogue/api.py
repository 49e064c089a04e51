"""Routes over the catalogue: search, look, declare, publish, download, cite, withdraw, and the opening plan."""

from __future__ import annotations

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from headwater.core import identity
from headwater.core.clock import to_text
from headwater.core.errors import BadInput, LimitExceeded
from headwater.core.identity import Actor, Permission
from headwater.core.web import address_of, permitted, platform_of
from headwater.data import cards, export, lineage
from headwater.data.authorisation.serving import serve_file
from headwater.data.catalogue import describe, opening, publishing, search, sets, views
from headwater.data.catalogue.access import owned, require_rows, visible
from headwater.data.catalogue.sets import Filters, Openness, Rhythm
from headwater.data.catalogue.views import DataSetDetailOut, DataSetOut, PageOut, PlannedOut, VersionOut
from headwater.data.catalogue.vocabulary import Licence, Vocabulary, Zone

router = APIRouter(prefix="/api/data", tags=["data"])

Reader = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
Publisher = Annotated[Actor, Depends(permitted(Permission.DATA_PUBLISH))]
Planner = Annotated[Actor, Depends(permitted(Permission.DATA_PLAN))]
Name = Annotated[str, InPath(alias="dataset", max_length=100, description="The data set's name or id.", examples=["bus-stops"])]
Number = Annotated[int, InPath(ge=1, le=2**31 - 1, description="The version's number.")]
Word = Annotated[str | None, Query(max_length=200)]
DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The range that was asked for."},
    304: {"description": "The caller has it already."},
    416: {"description": "The file has no such range."},
}


class DescriptionIn(BaseModel):
    """A data set to declare, or its description anew."""

    name: str = Field(pattern=describe.NAME, examples=["bus-stops"])
    title: dict[Literal["zh", "en"], str] = Field(examples=[{"zh": "公交站点", "en": "Bus stops"}])
    about: dict[Literal["zh", "en"], str] = Field(examples=[{"zh": "公共交通站点的位置。", "en": "Where the stops are."}])
    licence: str = Field(max_length=64, examples=["CC-BY-4.0"])
    zone: str | None = Field(None, max_length=64, examples=["transport"])
    openness: Openness = "open"
    rhythm: Rhythm = "irregular"
    keywords: list[str] = Field(default_factory=list, max_length=50)
    contact: str = Field("", max_length=300)
    spatial: str | None = Field(None, max_length=64)
    temporal: Annotated[list[str | None], Field(min_length=2, max_length=2)] | None = None
    organisation: str | None = Field(None, max_length=200, description="Whose it is; your organisation's where left out.")


class CommitmentIn(BaseModel):
    """A commitment to enter or to change, with the reason."""

    due: date = Field(examples=["2026-12-31"])
    owner: str = Field(max_length=200, examples=["city"])
    rhythm: Rhythm = "irregular"
    reason: str = Field(min_length=1, max_length=1000, examples=["Plan of 2026, item 12"])
    revision: int = Field(0, ge=0, le=2**31 - 2, description="The revision that you saw; 0 where there was none.")


class ReasonIn(BaseModel):
    """Why."""

    reason: str = Field(min_length=1, max_length=1000, examples=["Superseded by bus-stops-2"])


class CancelIn(ReasonIn):
    """Why a commitment is taken out of the plan."""

    revision: int = Field(ge=1, le=2**31 - 1)


class ReuseOut(BaseModel):
    """Who used a data set."""

    count: int
    jobs: list[str]
    models: list[str]
    grants: list[str]


class MadeOut(BaseModel):
    """One step of a version's lineage."""

    digest: str
    statement: str
    step: str
    job: str | None
    at: str
    parameters: dict[str, Any]
    inputs: dict[str, str]
    depth: int


class ChangeOut(BaseModel):
    """A change of a commitment, as the ledger holds it."""

    seq: int
    kind: str
    at: str
    actor: str
    body: dict[str, Any]


@router.get("/sets", summary="Search and list data sets")
def found(
    request: Request,
    actor: Reader,
    q: Annotated[str, Query(max_length=200, description="Words that must all be there, Chinese or English.")] = "",
    zone: Word = None,
    openness: Openness | None = None,
    organisation: Word = None,
    licence: Word = None,
    keyword: Word = None,
    published: Annotated[bool, Query(description="False lists those of your organisations that are not published.")] = True,
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> PageOut:
    scopes = None if published else actor.scopes(Permission.DATA_READ)
    filters = Filters(
        zone=zone, openness=openness, organisation=organisation, licence=licence, keyword=keyword, published=published, scopes=scopes
    )
    with platform_of(request).db.read() as connection:
        page = search.search(connection, q, filters, start=start, limit=limit)
    return PageOut(total=page.total, found=[DataSetOut.model_validate(one.as_json()) for one in page.found])


@router.post("/sets", summary="Declare a data set, or describe it anew", status_code=201)
def declare(request: Request, actor: Publisher, wish: DescriptionIn) -> DataSetOut:
    organisation = wish.organisation or actor.organisation
    identity.require(actor, Permission.DATA_PUBLISH, organisation)
    described = describe.from_json(wish.model_dump(exclude={"organisation"}), "body")
    return DataSetOut.model_validate(publishing.declare(platform_of(request), described, organisation, actor=actor.id).as_json())


@router.get("/sets/{dataset}", summary="Look at one data set")
def shown(request: Request, actor: Reader, name: Name) -> DataSetDetailOut:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    with platform.db.read() as connection:
        return views.detail(connection, dataset, platform.clock.now())


@router.get("/sets/{dataset}/versions", summary="List a data set's versions, newest first")
def versions(request: Request, actor: Reader, name: Name) -> list[VersionOut]:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    with platform.db.read() as connection:
        return [VersionOut.model_validate(one.as_json()) for one in sets.versions(connection, dataset.id)]


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "examples": {"csv": {"value": "id,name\n1,x\n"}}}
        },
    }
}


@router.post(
    "/sets/{dataset}/versions", summary="Publish a file, or a zip or tar of files, as the next version", status_code=201, openapi_extra=BODY
)
async def publish(
    request: Request,
    actor: Publisher,
    name: Name,
    file: Annotated[str, Query(min_length=1, max_length=200, description="The file's name.", examples=["stops.csv"])],
    note: Annotated[str, Query(max_length=2000)] = "",
    columns: Annotated[str, Query(max_length=20_000, description="JSON list of the columns' descriptions and rules.")] = "",
) -> VersionOut:
    """The body is the file itself. Ragged rows, cells of another type and unsafe archives are refused, with their place."""
    platform = platform_of(request)
    dataset = await run_in_threadpool(owned, platform, name, actor, Permission.DATA_PUBLISH)
    described = _described(dataset, columns)
    folder = platform.settings.data_folder / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as body:
        seen = 0
        async for piece in request.stream():
            seen += len(piece)
            if seen > platform.settings.upload_max_bytes:
                raise LimitExceeded(
                    f"The body is larger than {platform.settings.upload_max_bytes} bytes.", "Publish by a project or the CLI."
                )
            body.write(piece)
        body.flush()
        wish = publishing.Wish(
            description=described, source=Path(body.name), organisation=dataset.organisation, actor=actor.id, note=note, called=file
        )
        made = await run_in_threadpool(publishing.publish, platform, wish)
    return VersionOut.model_validate(made.as_json())


def _described(dataset: sets.DataSet, columns: str) -> describe.Description:
    """Return a data set's description as it stands, with the columns that came along."""
    try:
        rules = json.loads(columns) if columns else []
    except ValueError as error:
        raise BadInput(f"The columns are not JSON: {error}.", "Give a list of objects with name and type.", where="columns") from error
    names = ("name", "title", "about", "licence", "zone", "openness", "rhythm", "keywords", "contact", "spatial", "temporal")
    return describe.from_json({name: dataset.as_json()[name] for name in names} | {"columns": rules}, "query")


@router.get("/sets/{dataset}/versions/{number}", summary="Look at one version")
def version(request: Request, actor: Reader, name: Name, number: Number) -> VersionOut:
    platform = platform_of(request)
    return VersionOut.model_validate(_version(request, visible(platform, name, actor), number).as_json())


@router.get(
    "/sets/{dataset}/versions/{number}/files/{file:path}",
    summary="Download a file of a version",
    response_class=Response,
    responses=DOWNLOAD,
)
def download(request: Request, actor: Reader, name: Name, number: Number, file: Annotated[str, InPath(max_length=500)]) -> Response:
    """Of open data, and of data that you publish; other data through a signed address under a grant. Takes Range."""
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    require_rows(dataset, actor)
    return serve_file(request, platform.store, _version(request, dataset, number).file(file))


@router.get(
    "/sets/{dataset}/versions/{number}/table.csv",
    summary="Download a version's table as CSV that is harmless in a spreadsheet",
    response_class=StreamingResponse,
    responses={200: {"description": "CSV in UTF-8.", "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def as_csv(request: Request, actor: Reader, name: Name, number: Number) -> StreamingResponse:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    require_rows(dataset, actor)
    made = _version(request, dataset, number)
    if not made.table:
        raise BadInput(f"Version {number} holds no table.", "Download its files.")
    headers = {"content-disposition": f'attachment; filename="{dataset.name}-{number}.csv"'}
    return StreamingResponse(export.csv_of(platform.store, made), media_type="text/csv", headers=headers)


@router.get("/sets/{dataset}/card", summary="The Croissant card of a version, with its responsible-AI part")
def card(request: Request, actor: Reader, name: Name, number: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None) -> dict[str, Any]:
    told = _shown(request, actor, name, number)
    base = f"{address_of(request)}/api/data/sets/{told.dataset.name}/versions/{told.version.number}/files"
    return cards.croissant(told, lambda file: f"{base}/{file.name}")


@router.get("/sets/{dataset}/citation", summary="How to cite a version")
def citation(
    request: Request,
    actor: Reader,
    name: Name,
    number: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    style: cards.CitationStyle = "plain",
) -> dict[str, str]:
    return {"style": style, "citation": cards.cite(_shown(request, actor, name, number), style)}


@router.get("/sets/{dataset}/lineage", summary="What a version was made of, step by step")
def made_of(request: Request, actor: Reader, name: Name, number: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None) -> list[MadeOut]:
    """Parameters of the steps are for those who may read the body's own data."""
    told = _shown(request, actor, name, number)
    ours = _is_ours(actor, told.dataset)
    return [MadeOut.model_validate(one.as_json() | ({} if ours else {"parameters": {}})) for one in told.lineage]


@router.get("/sets/{dataset}/reuse", summary="How many jobs, models and grants used a data set; which, for its own body")
def reuse(request: Request, actor: Reader, name: Name) -> ReuseOut:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    with platform.db.read() as connection:
        held = sets.versions(connection, dataset.id)
    found = lineage.reuse(platform, dataset, held)
    return (
        ReuseOut.model_validate(found.as_json()) if _is_ours(actor, dataset) else ReuseOut(count=found.count, jobs=[], models=[], grants=[])
    )


@router.post("/sets/{dataset}/withdraw", summary="Take a data set out of the catalogue")
def withdraw(request: Request, actor: Publisher, name: Name, wish: ReasonIn) -> DataSetOut:
    platform = platform_of(request)
    dataset = owned(platform, name, actor, Permission.DATA_PUBLISH)
    return DataSetOut.model_validate(publishing.withdraw(platform, dataset.id, reason=wish.reason, actor=actor.id).as_json())


@router.get("/zones", summary="List the zones of public data with their bounds")
def zones(request: Request, actor: Reader) -> list[Zone]:  # noqa: ARG001 - the role is what matters
    return list(Vocabulary(platform_of(request).settings.data_folder).zones.values())


@router.get("/licences", summary="List the licences that a data set may name")
def licences(request: Request, actor: Reader) -> list[Licence]:  # noqa: ARG001 - the role is what matters
    return list(Vocabulary(platform_of(request).settings.data_folder).licences.values())


@router.get("/plan", summary="The opening plan by due date, with what is late")
def plan(request: Request, actor: Reader) -> list[PlannedOut]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        lines = opening.plan(connection, platform.clock.now(), scopes=actor.scopes(Permission.DATA_READ))
    return [views.planned_out(one) for one in lines]


@router.post("/sets/{dataset}/commitment", summary="Enter or change a commitment of the opening plan")
def commit(request: Request, actor: Planner, name: Name, wish: CommitmentIn) -> PlannedOut:
    platform = platform_of(request)
    dataset = owned(platform, name, actor, Permission.DATA_PLAN)
    identity.require(actor, Permission.DATA_PLAN, wish.owner)
    promise = opening.Promise(due=wish.due, owner=wish.owner, rhythm=wish.rhythm, reason=wish.reason, revision=wish.revision)
    commitment = opening.commit(platform, dataset.id, promise, actor=actor.id)
    with platform.db.read() as connection:
        planned = opening.of(connection, dataset, platform.clock.now())
    assert planned is not None, commitment
    return views.planned_out(planned)


@router.post("/sets/{dataset}/commitment/cancel", summary="Take a commitment out of the opening plan", status_code=204)
def cancel(request: Request, actor: Planner, name: Name, wish: CancelIn) -> Response:
    platform = platform_of(request)
    dataset = owned(platform, name, actor, Permission.DATA_PLAN)
    opening.cancel(platform, dataset.id, reason=wish.reason, revision=wish.revision, actor=actor.id)
    return Response(status_code=204)


@router.get("/sets/{dataset}/commitment/changes", summary="Every change of a data set's commitment, from the ledger")
def changes(request: Request, actor: Reader, name: Name) -> list[ChangeOut]:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    identity.require(actor, Permission.DATA_READ, dataset.organisation)
    with platform.db.read() as connection:
        entries = opening.changes(connection, dataset)
    return [ChangeOut(seq=one.seq, kind=one.kind, at=to_text(one.at), actor=one.actor, body=dict(one.body)) for one in entries]


def _is_ours(actor: Actor, dataset: sets.DataSet) -> bool:
    return identity.decide(actor, Permission.DATA_READ, dataset.organisation).allowed


def _version(request: Request, dataset: sets.DataSet, number: int | None) -> sets.Version:
    with platform_of(request).db.read() as connection:
        return sets.version(connection, dataset, number)


def _shown(request: Request, actor: Actor, name: str, number: int | None) -> cards.Shown:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    page = f"{address_of(request)}/dataset/{dataset.name}"
    return views.shown(platform, dataset, _version(request, dataset, number), page)
