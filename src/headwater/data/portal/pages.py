"""The public portal: search public data, look at a data set, and see how to get it. No sign-in, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import Connection, func, select

from headwater.core.errors import NotFound
from headwater.core.identity import Actor
from headwater.core.statement import bare
from headwater.core.web import page, platform_of, public
from headwater.data import cards, lineage
from headwater.data.catalogue import quality, search, sets, views
from headwater.data.catalogue.sets import OPENNESS, DataSet, Filters, Openness, Version, identity_of
from headwater.data.catalogue.tables import data_sets, data_versions
from headwater.data.lineage import Made
from headwater.data.portal import drawing
from headwater.data.portal.preview import preview
from headwater.data.portal.snippets import snippets
from headwater.data.protocols import offers
from headwater.data.protocols.access import links_of, vocabulary_of

router = APIRouter(include_in_schema=False)

Anyone = Annotated[Actor | None, Depends(public("the portal of public data is for all"))]
PER_PAGE = 20
SHOWN_COLUMNS = 500
SHOWN_FILES = 100
SHOWN_VERSIONS = 50


@router.get("/datasets")
def found(
    request: Request,
    caller: Anyone,  # noqa: ARG001
    q: Annotated[str, Query(max_length=200)] = "",
    zone: Annotated[str, Query(max_length=64)] = "",
    openness: Annotated[str, Query(max_length=20)] = "",
    organisation: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(alias="page", ge=1, le=10**6)] = 1,
) -> Response:
    """Search and list. A zone or openness that there is none of finds nothing."""
    platform = platform_of(request)
    vocabulary = vocabulary_of(platform)
    wanted: Openness | None = next((one for one in OPENNESS if one == openness), None)
    filters = Filters(zone=zone or None, openness=wanted, organisation=organisation or None)
    with platform.db.read() as connection:
        listed = search.search(connection, q, filters, start=(number - 1) * PER_PAGE, limit=PER_PAGE)
        shown = offers.of(connection, vocabulary, listed.found)
        counts = _zone_counts(connection)
    kept = {"q": q, "zone": zone, "openness": openness, "organisation": organisation}
    return page(
        request,
        "data/datasets.html",
        offers=shown,
        total=listed.total,
        zones=[(one, counts.get(one.id, 0)) for one in vocabulary.zones.values()],
        all_count=sum(counts.values()),
        openness_names=OPENNESS,
        wanted=kept,
        first=(number - 1) * PER_PAGE + 1,
        newer=_link(kept, number - 1) if number > 1 else "",
        older=_link(kept, number + 1) if number * PER_PAGE < listed.total else "",
    )


@router.get("/dataset/{name}")
def shown(
    request: Request,
    caller: Anyone,  # noqa: ARG001
    name: Annotated[str, Path(max_length=100)],
    number: Annotated[int | None, Query(alias="version", ge=1, le=2**31 - 1)] = None,
) -> Response:
    """One data set at a version: what it is, its first rows, its terms, where it comes from, how to get it."""
    platform, links, now = platform_of(request), links_of(request), platform_of(request).clock.now()
    vocabulary = vocabulary_of(platform)
    with platform.db.read() as connection:
        offer = offers.find(connection, vocabulary, name)
        versions = sets.versions(connection, offer.dataset.id)
        version = next((one for one in versions if number in (None, one.number)), None)
        if version is None:
            raise NotFound(f"There is no version {number}.", f"The newest is {versions[0].number}.")
        steps = lineage.ancestry(connection, platform.keyring, version, now=now)
        known = _known_sets(connection, steps)
    card = views.shown(platform, offer.dataset, version, links.page(offer.dataset.name))
    picture = drawing.draw(version.digest, f"{offer.dataset.name}/{version.number}", steps, known)
    return page(
        request,
        "data/dataset.html",
        offer=offer,
        version=version,
        versions=versions[:SHOWN_VERSIONS],
        columns=version.columns[:SHOWN_COLUMNS],
        files=version.files[:SHOWN_FILES],
        links=links,
        preview=preview(platform.store, version) if offer.open else None,
        snippets=snippets(offer, version, links) if offer.open else [],
        scores=_scores(offer.dataset, version, now),
        picture=picture,
        reuse=lineage.reuse(platform, offer.dataset, versions),
        citation=cards.cite(card, "plain"),
        identity=identity_of(offer.dataset.id),
        forms=("ttl", "jsonld", "rdf"),
    )


def _zone_counts(connection: Connection) -> dict[str | None, int]:
    query = sets.filtered(select(data_sets.c.zone, func.count()), Filters()).group_by(data_sets.c.zone)
    return {row[0]: row[1] for row in connection.execute(query)}


def _known_sets(connection: Connection, steps: Sequence[Made]) -> dict[str, tuple[str, str]]:
    """Return names and addresses of the artifacts of a lineage that are versions of published data sets."""
    digests = sorted({value for one in steps for value in one.inputs.values()})[:1000]
    columns = (data_versions.c.digest, data_versions.c.number, data_sets.c.name)
    query = select(*columns).join(data_sets, data_sets.c.id == data_versions.c.dataset).where(data_versions.c.digest.in_(digests))
    rows = connection.execute(sets.filtered(query, Filters()))
    return {bare(row.digest): (f"{row.name}/{row.number}", f"/dataset/{row.name}?version={row.number}") for row in rows}


def _scores(dataset: DataSet, version: Version, now: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return every score, with timeliness as it is now."""
    return {**version.quality, "timeliness": quality.timeliness(dataset.rhythm, version.created_at, now).as_json()}


def _link(kept: Mapping[str, str], number: int) -> str:
    return "/datasets?" + urlencode({key: value for key, value in kept.items() if value} | {"page": number})
