"""CKAN's actions that read: packages, organisations, zones as groups, tags, licences, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headwater.core.errors import NotFound
from headwater.core.identity import Permission, covers
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import Filters
from headwater.data.catalogue.vocabulary import Zone
from headwater.data.protocols import counting, offers
from headwater.data.protocols.ckan import packages
from headwater.data.protocols.ckan.calls import MOST_ROWS, Call
from headwater.data.protocols.ckan.params import Unsearchable
from headwater.data.protocols.ckan.searching import package_search
from headwater.data.protocols.offers import FOUND_BY, Organisation, stable_id

VERSION = "2.11.0"
"""The release of CKAN whose API this follows: clients ask for it."""
RESOURCE_FIELDS = ("name", "format", "url", "mimetype", "hash", "id")

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
    start, limit = call.page()
    return counting.names(call.connection, start=start, limit=limit)


def current_package_list_with_resources(call: Call) -> Any:
    """Return the data sets, the last changed first. Parameters: limit, offset."""
    start, limit = call.page(otherwise=100, most=MOST_ROWS)
    found = counting.page(call.connection, [("modified_at", True)], start=start, limit=limit).found
    return [call.package(one) for one in offers.of(call.connection, call.vocabulary, found)]


def package_show(call: Call) -> Any:
    """Return one data set; one without a version yet is shown to those who may publish it. Parameters: id (its id or name)."""
    name = call.params.text("id", "name_or_id")
    dataset = sets.find(call.connection, name)
    scopes = call.actor.scopes(Permission.DATA_PUBLISH) if call.actor else ()
    if dataset.issued_at is None and any(covers(scope, dataset.organisation) for scope in scopes):
        return call.package(offers.draft(call.connection, call.vocabulary, dataset))
    return call.package(offers.find(call.connection, call.vocabulary, name))


def organization_list(call: Call) -> Any:
    """Return the organisations that publish. Parameters: all_fields, organizations, limit, offset."""
    counts, wanted = counting.counted(call.connection, "organisation"), call.params.names("organizations")
    known = offers.organisations_of(call.connection, counts).values()
    start, limit = call.page()
    shown = sorted((one for one in known if not wanted or one.slug in wanted), key=lambda one: one.slug)[start : start + limit]
    if not call.params.flag("all_fields"):
        return [one.slug for one in shown]
    return [packages.organisation_summary(one) | {"package_count": counts[one.path]} for one in shown]


def organization_show(call: Call) -> Any:
    """Return one organisation. Parameters: id (its id or name), include_datasets."""
    wanted, counts = call.params.text("id"), counting.counted(call.connection, "organisation")
    known = offers.organisations_of(call.connection, counts).values()
    found = next((one for one in known if wanted in (one.id, one.slug)), None)
    if found is None:
        raise NotFound(f"There is no organisation '{wanted[:100]}' that publishes here.", "List them with organization_list.")
    return _with_packages(call, packages.organisation_summary(found), counts[found.path], Filters(organisation=found.path))


def organization_list_for_user(call: Call) -> Any:
    """Return the organisations for which the caller may publish."""
    scopes = call.actor.scopes(Permission.DATA_PUBLISH) if call.actor else ()
    known: Mapping[str, Organisation] = offers.organisations_of(call.connection) if scopes else {}
    return [packages.organisation_summary(one) for path, one in known.items() if any(covers(scope, path) for scope in scopes)]


def group_list(call: Call) -> Any:
    """Return the zones. Parameters: all_fields, groups, limit, offset."""
    wanted, zones = call.params.names("groups"), call.vocabulary.zones
    start, limit = call.page()
    shown = sorted(name for name in zones if not wanted or name in wanted)[start : start + limit]
    if not call.params.flag("all_fields"):
        return shown
    counts = counting.counted(call.connection, "zone")
    return [packages.group(zones[name], call.language) | {"package_count": counts.get(name, 0)} for name in shown]


def group_show(call: Call) -> Any:
    """Return one zone. Parameters: id (its id or name), include_datasets."""
    zone = _zone(call, call.params.text("id"))
    count = counting.counted(call.connection, "zone").get(zone.id, 0)
    return _with_packages(call, packages.group(zone, call.language), count, Filters(zone=zone.id))


def tag_list(call: Call) -> Any:
    """Return the keywords in use. Parameters: query (a part of them), all_fields."""
    part = call.params.text("query", otherwise="").casefold()
    found = sorted(word for word in counting.keywords(call.connection) if part in word.casefold())
    return [packages.tag(word) for word in found] if call.params.flag("all_fields") else found


def tag_show(call: Call) -> Any:
    """Return one keyword with the data sets that carry it. Parameters: id (the word), include_datasets."""
    wanted, words = call.params.text("id"), counting.keywords(call.connection)
    word = wanted if wanted in words else next((one for one in words if stable_id("tag", one) == wanted), None)
    if word is None:
        raise NotFound(f"No data set has the tag '{wanted[:100]}'.", "List them with tag_list.")
    listed = sets.listed(call.connection, Filters(keyword=word), limit=MOST_ROWS).found if call.params.flag("include_datasets") else ()
    return packages.tag(word) | {"packages": [call.package(one) for one in offers.of(call.connection, call.vocabulary, listed)]}


def license_list(call: Call) -> Any:
    """Return the licences that data sets may name."""
    return [packages.licence(one, call.language) for one in call.vocabulary.licences.values()]


def resource_show(call: Call) -> Any:
    """Return one file of a newest version. Parameters: id."""
    wanted = call.params.text("id")
    candidates = counting.with_ids_from(call.connection, wanted[:FOUND_BY]) if len(wanted) > FOUND_BY else []
    for one in offers.of(call.connection, call.vocabulary, candidates):
        for place, file in enumerate(one.version.files):
            if one.resource_id(file) == wanted:
                return packages.resource(one, file, place, call.links)
    raise NotFound(f"There is no file '{wanted[:100]}'.", "Find files with resource_search.")


def resource_search(call: Call) -> Any:
    """Return files that fit. Parameters: query (`field:part`, one or a list), limit, offset."""
    wanted = [_resource_term(text) for text in call.params.names("query")]
    if not wanted:
        call.params.text("query")
    offered = offers.all_offers(call.connection, call.vocabulary)
    every = (packages.resource(one, file, place, call.links) for one in offered for place, file in enumerate(one.version.files))
    fitting = [one for one in every if all(part in str(one.get(field, "")).casefold() for field, part in wanted)]
    start, limit = call.page(otherwise=MOST_ROWS, most=MOST_ROWS)
    return {"count": len(fitting), "results": fitting[start : start + limit]}


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


def _with_packages(call: Call, told: dict[str, Any], count: int, filters: Filters) -> dict[str, Any]:
    told |= {"package_count": count, "users": [], "groups": [], "tags": [], "extras": []}
    if call.params.flag("include_datasets"):
        listed = sets.listed(call.connection, filters, limit=MOST_ROWS).found
        told["packages"] = [call.package(one) for one in offers.of(call.connection, call.vocabulary, listed)]
    return told


def _zone(call: Call, wanted: str) -> Zone:
    for zone in call.vocabulary.zones.values():
        if wanted in (zone.id, stable_id("zone", zone.id)):
            return zone
    raise NotFound(f"There is no group '{wanted[:100]}'.", f"Groups: {', '.join(call.vocabulary.zones)}.")


def _resource_term(text: str) -> tuple[str, str]:
    field, colon, part = text.partition(":")
    if not colon or field not in RESOURCE_FIELDS:
        raise Unsearchable(f"'{text[:100]}' is not field:part.", f"Fields: {', '.join(RESOURCE_FIELDS)}.")
    return field, part.casefold()
