"""`package_search`: the full-text index for words, the query language for fields, the database for plain pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.core.errors import BadInput
from headwater.data.catalogue import search, sets
from headwater.data.catalogue.sets import DataSet
from headwater.data.protocols import counting, offers
from headwater.data.protocols.ckan import packages, query
from headwater.data.protocols.ckan.calls import MOST_NAMES, MOST_ROWS, Call
from headwater.data.protocols.ckan.params import Unsearchable
from headwater.data.protocols.counting import Ordered
from headwater.data.protocols.offers import Organisation

FACETS = ("organization", "groups", "tags", "license_id", "res_format", "openness")
OF_FILES = frozenset({"res_format", "res_name"})
COLUMNS: Mapping[str, Ordered] = {"id": "id", "name": "name", "metadata_created": "created_at", "metadata_modified": "modified_at"}
KEYS: Mapping[str, Callable[[DataSet], Any]] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "metadata_created": lambda one: one.created_at,
    "metadata_modified": lambda one: one.modified_at,
    "organization": lambda one: one.organisation,
    "title": lambda one: offers.told(one.title, "en").casefold(),
    "title_string": lambda one: offers.told(one.title, "en").casefold(),
}
NEWEST_FIRST = (("metadata_modified", True),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search, read."""

    words: str
    tests: tuple[query.Test, ...]
    fields: frozenset[str]
    order: tuple[tuple[str, bool], ...]
    """Empty for the index's own order."""
    facets: tuple[str, ...]


def package_search(call: Call) -> Any:
    """Return data sets that fit. Parameters: q, fq, fq_list, sort, rows (at most 1000), start, facet.field, facet.limit."""
    asked = _asked(call)
    start, rows = call.params.whole("start", 0, most=MOST_NAMES), call.params.whole("rows", 10, most=MOST_ROWS)
    if not asked.words and not asked.tests and not asked.facets and all(field in COLUMNS for field, _ in asked.order):
        page = counting.page(call.connection, [(COLUMNS[field], down) for field, down in asked.order], start=start, limit=rows)
        return _answer(call, page.total, page.found, {})
    found = _searched(call, asked)
    shown = [dataset for dataset, _ in found[start : start + rows]]
    return _answer(call, len(found), shown, _facets(call, asked, [document for _, document in found]))


def _answer(call: Call, count: int, shown: Sequence[DataSet], facets: Mapping[str, list[tuple[str, int]]]) -> dict[str, Any]:
    return {
        "count": count,
        "sort": call.params.text("sort", otherwise="score desc, metadata_modified desc"),
        "results": [call.package(one) for one in offers.of(call.connection, call.vocabulary, shown)],
        "facets": {field: dict(counts) for field, counts in facets.items()},
        "search_facets": {field: _search_facet(call, field, counts) for field, counts in facets.items()},
    }


def _asked(call: Call) -> Asked:
    try:
        told = query.read(call.params.text("q", otherwise=""), now=call.now, words_allowed=True)
        filters = [call.params.text("fq", otherwise=""), *call.params.names("fq_list")]
        read = [told, *(query.read(text, now=call.now, words_allowed=False) for text in filters)]
        order = query.order(call.params.text("sort", otherwise=""))
    except BadInput as error:
        raise Unsearchable(error.what, error.hint, where=error.where) from error
    facets = tuple(call.params.names("facet.field"))
    if unknown := [one for one in facets if one not in FACETS]:
        raise Unsearchable(f"'{unknown[0][:60]}' cannot be counted by.", f"facet.field takes {', '.join(FACETS)}.")
    by_field = tuple((field, down) for field, down in order if field not in ("score", "relevance"))
    return Asked(
        words=told.words,
        tests=tuple(one.test for one in read if one.test is not query.always),
        fields=frozenset().union(*(one.fields for one in read)),
        order=by_field or (() if told.words else NEWEST_FIRST),
        facets=facets,
    )


def _searched(call: Call, asked: Asked) -> list[tuple[DataSet, query.Document]]:
    """Return the data sets that fit, in order, with the documents that they were found by."""
    if asked.words:
        found = list(search.search(call.connection, asked.words, limit=MOST_NAMES).found)
    else:
        found = list(sets.listed(call.connection, limit=MOST_NAMES).found)
    documents = _documents(call, found, with_files=bool(OF_FILES & (asked.fields | set(asked.facets))))
    kept = [(one, document) for one, document in zip(found, documents, strict=True) if all(test(document) for test in asked.tests)]
    if asked.order:
        kept.sort(key=lambda pair: pair[0].id)  # ties stay in this order, so that pages never overlap
    for field, down in reversed(asked.order):
        kept.sort(key=lambda pair: KEYS[field](pair[0]), reverse=down)
    return kept


def _documents(call: Call, found: Sequence[DataSet], *, with_files: bool) -> list[query.Document]:
    newest = sets.newest(call.connection, [one.id for one in found]) if with_files else {}
    publishers: dict[str, Organisation] = offers.organisations_of(call.connection)
    licences = call.vocabulary.licences
    return [
        packages.document(
            one,
            publishers[one.organisation],
            one.licence in licences and licences[one.licence].open,
            newest[one.id].files if one.id in newest else (),
        )
        for one in found
    ]


def _facets(call: Call, asked: Asked, documents: Sequence[query.Document]) -> dict[str, list[tuple[str, int]]]:
    limit = 50 if str(call.params.values.get("facet.limit", "")) in ("", "-1") else call.params.whole("facet.limit", 50, most=MOST_ROWS)
    counts = {field: Counter(value for document in documents for value in _facet_values(document, field)) for field in asked.facets}
    return {field: sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:limit] for field, counted in counts.items()}


def _facet_values(document: query.Document, field: str) -> set[str]:
    values = document.get(field, ())
    return set(values[:1] if field == "groups" else values)


def _search_facet(call: Call, field: str, counts: Sequence[tuple[str, int]]) -> dict[str, Any]:
    shown: Mapping[str, str] = {}
    if field == "organization":
        shown = {one.slug: one.title for one in offers.organisations_of(call.connection).values()}
    if field == "groups":
        shown = {zone.id: offers.told(zone.title.model_dump(), call.language) for zone in call.vocabulary.zones.values()}
    items = [{"name": name, "display_name": shown.get(name, name), "count": count} for name, count in counts]
    return {"title": field, "items": items}
