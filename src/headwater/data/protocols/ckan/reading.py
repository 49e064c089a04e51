"""CKAN's actions that read: packages, organisations, zones as groups, tags, licences, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from headwater.core.errors import BadInput, NotFound
from headwater.core.identity import Actor, Permission, covers
from headwater.data.catalogue import search, sets
from headwater.data.catalogue.vocabulary import Vocabulary, Zone
from headwater.data.protocols import offers
from headwater.data.protocols.ckan import packages, query
from headwater.data.protocols.ckan.params import Params, Unsearchable
from headwater.data.protocols.offers import Links, Offer, Organisation, stable_id

VERSION = "2.11.0"
"""The release of CKAN whose API this follows: clients ask for it."""
MOST_ROWS = 1000
MOST_NAMES = 100_000
FACETS = ("organization", "groups", "tags", "license_id", "res_format", "openness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an action: who asks, with what, over which database."""

    connection: Connection
    vocabulary: Vocabulary
    links: Links
    language: str
    params: Params
    actor: Actor | None
    now: datetime

    def offers(self) -> tuple[Offer, ...]:
        """Return every published data set, by name."""
        return offers.all_offers(self.connection, self.vocabulary)

    def package(self, offer: Offer) -> dict[str, Any]:
        """Return an offer as a package."""
        return packages.package(offer, self.links, self.language)


Action = Callable[[Call], Any]


def site_read(_: Call) -> Any:
    """Return true: anyone may read this site."""
    return True


def status_show(call: Call) -> Any:
    """Return what this site is and which release of the API it follows."""
    return {
        "site_title": "Headwater",
        "site_description": "",
        "site_url": call.links.base,
        "ckan_version": VERSION,
        "error_emails_to": None,
        "locale_default": call.language,
        "extensions": [],
    }


def package_list(call: Call) -> Any:
    """Return the names of the data sets. Parameters: limit, offset."""
    return _cut(call, [one.dataset.name for one in call.offers()])


def current_package_list_with_resources(call: Call) -> Any:
    """Return the data sets, the last changed first. Parameters: limit, offset."""
    found = sorted(call.offers(), key=lambda one: (one.dataset.modified_at, one.dataset.id), reverse=True)
    return [call.package(one) for one in _cut(call, found, otherwise=100, most=MOST_ROWS)]


def package_show(call: Call) -> Any:
    """Return one data set; one without a version yet is shown to those who may publish it. Parameters: id (its id or name)."""
    name = call.params.text("id", "name_or_id")
    dataset = sets.find(call.connection, name)
    scopes = call.actor.scopes(Permission.DATA_PUBLISH) if call.actor else ()
    if dataset.issued_at is None and any(covers(scope, dataset.organisation) for scope in scopes):
        return call.package(offers.draft(call.connection, call.vocabulary, dataset))
    return call.package(offers.find(call.connection, call.vocabulary, name))


def package_search(call: Call) -> Any:
    """Return data sets that fit. Parameters: q, fq, fq_list, sort, rows (at most 1000), start, facet.field, facet.limit."""
    found = _searched(call)
    start, rows = call.params.whole("start", 0, most=MOST_NAMES), call.params.whole("rows", 10, most=MOST_ROWS)
    documents = [packages.document(one) for one in found]
    facets = _facets(call, documents)
    return {
        "count": len(found),
        "sort": call.params.text("sort", otherwise="score desc, metadata_modified desc"),
        "results": [call.package(one) for one in found[start : start + rows]],
        "facets": {field: dict(counts) for field, counts in facets.items()},
        "search_facets": {field: _search_facet(call, field, counts, found) for field, counts in facets.items()},
    }


def organization_list(call: Call) -> Any:
    """Return the organisations that publish. Parameters: all_fields, organizations, limit, offset."""
    counts = Counter(one.organisation for one in call.offers())
    wanted = call.params.names("organizations")
    found = sorted((one for one in counts if not wanted or one.slug in wanted), key=lambda one: one.slug)
    shown = _cut(call, found)
    if not call.params.flag("all_fields"):
        return [one.slug for one in shown]
    return [packages.organisation_summary(one) | {"package_count": counts[one]} for one in shown]


def organization_show(call: Call) -> Any:
    """Return one organisation. Parameters: id (its id or name), include_datasets."""
    wanted, mine = call.params.text("id"), call.offers()
    publishers = {one.organisation for one in mine}
    found = next((one for one in publishers if wanted in (one.id, one.slug)), None)
    if found is None:
        raise NotFound(f"There is no organisation '{wanted[:100]}' that publishes here.", "List them with organization_list.")
    return _with_packages(call, packages.organisation_summary(found), [one for one in mine if one.organisation == found])


def organization_list_for_user(call: Call) -> Any:
    """Return the organisations for which the caller may publish."""
    scopes = call.actor.scopes(Permission.DATA_PUBLISH) if call.actor else ()
    known = offers.organisations_of(call.connection)
    return [packages.organisation_summary(one) for path, one in known.items() if any(covers(scope, path) for scope in scopes)]


def group_list(call: Call) -> Any:
    """Return the zones. Parameters: all_fields, groups, limit, offset."""
    wanted = call.params.names("groups")
    shown = _cut(call, sorted(one.id for one in call.vocabulary.zones.values() if not wanted or one.id in wanted))
    if not call.params.flag("all_fields"):
        return shown
    counts = Counter(one.dataset.zone for one in call.offers())
    zones = call.vocabulary.zones
    return [packages.group(zones[name], call.language) | {"package_count": counts[name]} for name in shown]


def group_show(call: Call) -> Any:
    """Return one zone. Parameters: id (its id or name), include_datasets."""
    zone = _zone(call, call.params.text("id"))
    mine = [one for one in call.offers() if one.dataset.zone == zone.id]
    return _with_packages(call, packages.group(zone, call.language), mine)


def tag_list(call: Call) -> Any:
    """Return the keywords in use. Parameters: query (a part of them), all_fields."""
    part = call.params.text("query", otherwise="").casefold()
    found = sorted({word for one in call.offers() for word in one.dataset.keywords if part in word.casefold()})
    return [packages.tag(word) for word in found] if call.params.flag("all_fields") else found


def tag_show(call: Call) -> Any:
    """Return one keyword with the data sets that carry it. Parameters: id (the word), include_datasets."""
    wanted = call.params.text("id")
    mine = [
        one for one in call.offers() if wanted in one.dataset.keywords or wanted in map(partial(stable_id, "tag"), one.dataset.keywords)
    ]
    word = next((word for one in mine for word in one.dataset.keywords if wanted in (word, stable_id("tag", word))), None)
    if word is None:
        raise NotFound(f"No data set has the tag '{wanted[:100]}'.", "List them with tag_list.")
    shown = [call.package(one) for one in mine[:MOST_ROWS]] if call.params.flag("include_datasets") else []
    return packages.tag(word) | {"packages": shown}


def license_list(call: Call) -> Any:
    """Return the licences that data sets may name."""
    return [packages.licence(one, call.language) for one in call.vocabulary.licences.values()]


def resource_show(call: Call) -> Any:
    """Return one file of a newest version. Parameters: id."""
    wanted = call.params.text("id")
    for one in call.offers():
        for place, file in enumerate(one.version.files):
            if one.resource_id(file) == wanted:
                return packages.resource(one, file, place, call.links)
    raise NotFound(f"There is no file '{wanted[:100]}'.", "Find files with resource_search.")


def resource_search(call: Call) -> Any:
    """Return files that fit. Parameters: query (`field:part`, one or a list), limit, offset."""
    wanted = [_resource_term(text) for text in call.params.names("query")]
    if not wanted:
        call.params.text("query")
    all_files = (packages.resource(one, file, place, call.links) for one in call.offers() for place, file in enumerate(one.version.files))
    fitting = [one for one in all_files if all(part in str(one.get(field, "")).casefold() for field, part in wanted)]
    return {"count": len(fitting), "results": _cut(call, fitting, otherwise=MOST_ROWS, most=MOST_ROWS)}


def vocabulary_list(_: Call) -> Any:
    """Return no vocabularies: keywords here are free."""
    return []


READING: Mapping[str, Action] = {
    one.__name__: one
    for one in (
        site_read, status_show, package_list, current_package_list_with_resources, package_show, package_search, organization_list,
        organization_show, organization_list_for_user, group_list, group_show, tag_list, tag_show, license_list, resource_show,
        resource_search, vocabulary_list,
    )
}  # fmt: skip


def _searched(call: Call) -> list[Offer]:
    try:
        asked = query.read(call.params.text("q", otherwise=""), now=call.now, words_allowed=True)
        filters = [call.params.text("fq", otherwise=""), *call.params.names("fq_list")]
        tests = [asked.test, *(query.read(text, now=call.now, words_allowed=False).test for text in filters)]
        order = query.order(call.params.text("sort", otherwise=""))
    except BadInput as error:
        raise Unsearchable(error.what, error.hint, where=error.where) from error
    if asked.words:
        page = search.search(call.connection, asked.words, limit=MOST_NAMES)
        found = list(offers.of(call.connection, call.vocabulary, page.found))
    else:
        found = sorted(call.offers(), key=lambda one: (one.dataset.modified_at, one.dataset.id), reverse=True)
    kept = [one for one in found if all(test(document) for document in [packages.document(one)] for test in tests)]
    return _ordered(kept, order)


def _ordered(found: list[Offer], order: Sequence[tuple[str, bool]]) -> list[Offer]:
    """Return offers in an order, ties by id, so that pages never overlap."""
    fields = [(field, descending) for field, descending in order if field not in ("score", "relevance")]
    if fields:
        found = sorted(found, key=lambda one: one.dataset.id)
    for field, descending in reversed(fields):
        found = sorted(found, key=partial(_sort_key, field), reverse=descending)
    return found


def _sort_key(field: str, offer: Offer) -> str:
    values = packages.document(offer).get(field, ())
    return values[0].casefold() if values else ""


def _facets(call: Call, documents: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[tuple[str, int]]]:
    fields = call.params.names("facet.field")
    if unknown := [one for one in fields if one not in FACETS]:
        raise Unsearchable(f"'{unknown[0][:60]}' cannot be counted by.", f"facet.field takes {', '.join(FACETS)}.")
    limit = 50 if str(call.params.values.get("facet.limit", "")) in ("", "-1") else call.params.whole("facet.limit", 50, most=MOST_ROWS)
    told = list(documents)
    counts = {field: Counter(value for document in told for value in _facet_values(document, field)) for field in fields}
    return {field: sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:limit] for field, counted in counts.items()}


def _facet_values(document: Mapping[str, Sequence[str]], field: str) -> set[str]:
    values = document.get(field, ())
    return set(values[:1] if field == "groups" else values)


def _search_facet(call: Call, field: str, counts: Sequence[tuple[str, int]], found: Sequence[Offer]) -> dict[str, Any]:
    shown = {one.organisation.slug: one.organisation.title for one in found} if field == "organization" else {}
    if field == "groups":
        shown = {zone.id: packages.group(zone, call.language)["title"] for zone in call.vocabulary.zones.values()}
    items = [{"name": name, "display_name": shown.get(name, name), "count": count} for name, count in counts]
    return {"title": field, "items": items}


def _with_packages(call: Call, told: dict[str, Any], mine: Sequence[Offer]) -> dict[str, Any]:
    told |= {"package_count": len(mine), "users": [], "groups": [], "tags": [], "extras": []}
    if call.params.flag("include_datasets"):
        told["packages"] = [call.package(one) for one in mine[:MOST_ROWS]]
    return told


def _zone(call: Call, wanted: str) -> Zone:
    for zone in call.vocabulary.zones.values():
        if wanted in (zone.id, stable_id("zone", zone.id)):
            return zone
    raise NotFound(f"There is no group '{wanted[:100]}'.", f"Groups: {', '.join(call.vocabulary.zones)}.")


def _resource_term(text: str) -> tuple[str, str]:
    field, colon, part = text.partition(":")
    if not colon or field not in ("name", "format", "url", "mimetype", "hash", "id", "description"):
        raise Unsearchable(f"'{text[:100]}' is not field:part.", "Fields: name, format, url, mimetype, hash, id, description.")
    return field, part.casefold()


def _cut(call: Call, found: Sequence[Any], *, otherwise: int = MOST_NAMES, most: int = MOST_NAMES) -> list[Any]:
    offset, limit = call.params.whole("offset", 0, most=MOST_NAMES), call.params.whole("limit", otherwise, most=most)
    return list(found[offset : offset + limit])


def publisher(call: Call, name: str) -> Organisation:
    """Return an organisation by path, name or id. Raises NotFound."""
    for one in offers.organisations_of(call.connection).values():
        if name in (one.path, one.slug, one.id):
            return one
    raise NotFound(f"There is no organisation '{name[:100]}'.", "Name one of organization_list_for_user.")
