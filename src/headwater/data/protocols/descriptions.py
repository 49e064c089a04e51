"""Routes of the data sets' descriptions for machines: DCAT-AP, Croissant, Frictionless; and of open files."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from headwater.core.identity import ROOT, Actor
from headwater.core.web import platform_of, public
from headwater.data import cards
from headwater.data.authorisation.serving import serve_file
from headwater.data.catalogue import search, sets, views
from headwater.data.catalogue.sets import File, Filters
from headwater.data.protocols import frictionless, offers
from headwater.data.protocols.access import language_of, links_of, refuse_rows, vocabulary_of
from headwater.data.protocols.dcat import catalog as catalogs
from headwater.data.protocols.dcat import graph
from headwater.data.protocols.dcat.catalog import MEDIA_TYPES, Form
from headwater.data.protocols.offers import Offer

router = APIRouter(tags=["protocols"])

Anyone = Annotated[Actor | None, Depends(public("descriptions of public data are for all"))]
Name = Annotated[str, Path(max_length=100, description="The data set's name or id.")]
KINDS = {kind: {"schema": {} if kind.endswith("json") else {"type": "string"}} for kind in sorted(set(MEDIA_TYPES.values()))}
GRAPH: dict[int | str, dict[str, Any]] = {200: {"description": "The graph.", "content": KINDS}}
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The bytes asked for."},
    304: {"description": "The file is the one you have."},
    416: {"description": "The file has none of these bytes."},
}


@router.get("/catalog.{form}", summary="DCAT-AP: the catalogue", response_class=Response, responses=GRAPH)
def catalog(
    request: Request,
    caller: Anyone,  # noqa: ARG001
    form: Form,
    page: Annotated[int, Query(ge=1, le=10**6, description="Which page, from 1; each names the next.")] = 1,
    q: Annotated[str, Query(max_length=200, description="Only data sets in which these words stand.")] = "",
    zone: Annotated[str | None, Query(max_length=64, description="Only data sets of this zone.")] = None,
) -> Response:
    platform, links = platform_of(request), links_of(request)
    vocabulary = vocabulary_of(platform)
    with platform.db.read() as connection:
        listed = search.search(connection, q, Filters(zone=zone), limit=offers.MOST_OFFERS).found
        found = sorted(offers.of(connection, vocabulary, listed), key=lambda one: one.dataset.id)
        publisher = offers.organisations_of(connection, [ROOT])[ROOT]
    query = str(request.url.remove_query_params("page").query)
    shown, view = catalogs.cut(found, page, f"{links.base}/catalog.{form}{f'?{query}' if query else ''}")
    return _graph(catalogs.write(catalogs.describe(shown, view, publisher, links), form), form)


@router.get("/dataset/{name}.{form}", summary="DCAT-AP: one data set", response_class=Response, responses=GRAPH)
def dataset(request: Request, caller: Anyone, name: Name, form: Form) -> Response:  # noqa: ARG001
    return _graph(catalogs.write(graph.describe(_offer(request, name), links_of(request)), form), form)


@router.get(
    "/dataset/{name}/croissant.jsonld",
    summary="Croissant: one data set, with the responsible-AI part",
    response_class=Response,
    responses={200: {"description": "The card.", "content": {"application/ld+json": {"schema": {"type": "object"}}}}},
)
def croissant(request: Request, caller: Anyone, name: Name) -> Response:  # noqa: ARG001
    """The newest version. Files that are not for all point to the page that says how to apply."""
    platform, links, found = platform_of(request), links_of(request), _offer(request, name)
    dataset, version = found.dataset, found.version

    def address(file: File) -> str:
        return links.file(dataset.name, version.number, file.name) if found.open else links.page(dataset.name)

    card = cards.croissant(views.shown(platform, dataset, version, links.page(dataset.name)), address)
    return Response(json.dumps(card, ensure_ascii=False), media_type="application/ld+json")


@router.get("/dataset/{name}/datapackage.json", summary="Frictionless: one data set as a data package")
def datapackage(request: Request, caller: Anyone, name: Name) -> dict[str, Any]:  # noqa: ARG001
    return frictionless.package(_offer(request, name), links_of(request), language_of(request))


@router.get(
    "/dataset/{name}/versions/{number}/files/{file:path}",
    summary="Download a file of an open data set",
    response_class=Response,
    responses=BYTES,
)
def download(
    request: Request,
    caller: Anyone,  # noqa: ARG001
    name: Name,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    file: Annotated[str, Path(max_length=500)],
) -> Response:
    """Takes a range. A data set that is not open is refused with the way to apply."""
    platform, found = platform_of(request), _offer(request, name)
    refuse_rows(found, links_of(request))
    with platform.db.read() as connection:
        version = sets.version(connection, found.dataset, number)
    return serve_file(request, platform.store, version.file(file))


def _offer(request: Request, name: str) -> Offer:
    platform = platform_of(request)
    with platform.db.read() as connection:
        return offers.find(connection, vocabulary_of(platform), name)


def _graph(text: bytes, form: Form) -> Response:
    return Response(text, media_type=f"{MEDIA_TYPES[form]}; charset=utf-8", headers={"cache-control": "public, max-age=60"})
