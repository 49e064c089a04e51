"""`ckanapi`, unmodified, against the server, and the calls of CKAN's harvester as it makes them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import DISTRICT, STOPS, Portal

ckanapi = pytest.importorskip("ckanapi", reason="needs ckanapi (requirements/dev.txt)")
PER_PAGE = 10


@pytest.fixture(scope="module")
def anyone(portal: Portal) -> Iterator[Any]:
    """Give the client without a token."""
    with ckanapi.RemoteCKAN(f"{portal.address}/ckan", user_agent="test") as client:
        yield client


@pytest.fixture(scope="module")
def publisher(portal: Portal) -> Iterator[Any]:
    """Give the client of someone who may publish."""
    with ckanapi.RemoteCKAN(f"{portal.address}/ckan", apikey=portal.tokens["developer"]) as client:
        yield client


def test_a_stranger_reads_the_whole_catalogue(anyone: Any) -> None:
    assert anyone.action.site_read() is True
    assert anyone.action.status_show()["ckan_version"] == "2.11.0"
    names = anyone.action.package_list()
    assert {"bus-stops", "road-speed", "firm-credit", "series-24"} <= set(names)
    package = anyone.action.package_show(id="bus-stops")
    assert anyone.action.package_show(id=package["id"]) == package
    assert (package["license_id"], package["isopen"], package["groups"][0]["name"]) == ("CC-BY-4.0", True, "transport")
    assert [one["name"] for one in package["resources"]] == ["stops.csv", "table/stops.parquet"]


def test_a_resources_address_gives_the_bytes_that_its_hash_names(anyone: Any) -> None:
    import hashlib

    one = next(one for one in anyone.action.package_show(id="bus-stops")["resources"] if one["format"] == "CSV")
    content = httpx.get(one["url"], trust_env=False).content
    assert ("sha256:" + hashlib.sha256(content).hexdigest(), len(content)) == (one["hash"], one["size"])
    assert anyone.action.resource_show(id=one["id"]) == one


def test_a_data_set_that_is_not_open_is_described_and_its_rows_stay(anyone: Any, portal: Portal) -> None:
    package = anyone.action.package_show(id="firm-credit")
    assert {one["url"] for one in package["resources"]} == {f"{portal.address}/dataset/firm-credit"}
    assert all(one["restricted"] for one in package["resources"])
    answer = portal.get("/dataset/firm-credit/versions/1/files/firms.csv")
    assert answer.status_code == 403
    assert "#apply" in answer.json()["hint"]


def test_organisations_zones_tags_and_licences_are_listed_and_shown(anyone: Any) -> None:
    slug = DISTRICT.replace("/", "_")
    assert slug in anyone.action.organization_list()
    shown = anyone.action.organization_show(id=slug, include_datasets=True)
    assert (shown["title"], [one["name"] for one in shown["packages"]]) == ("海淀区 Haidian", ["road-speed"])
    assert anyone.action.organization_show(id=shown["id"])["name"] == slug
    assert anyone.action.group_list() == ["finance", "spatial", "transport"]
    zone = anyone.action.group_show(id="finance")
    assert (zone["package_count"], anyone.action.group_show(id=zone["id"])["name"]) == (1, "finance")
    assert anyone.action.tag_list(query="公共") == ["公共交通"]
    assert {"CC-BY-4.0", "CC0-1.0"} <= {one["id"] for one in anyone.action.license_list()}
    assert "q, fq" in anyone.action.help_show(name="package_search")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "公交 站点", "fq": "tags:stops AND name:bus*"}, ["bus-stops"]),
        ({"q": "credit"}, ["firm-credit"]),
        ({"fq": "organization:city_haidian"}, ["road-speed"]),
        ({"fq": "groups:finance -openness:open"}, ["firm-credit"]),
        ({"fq": "groups:(finance OR transport)", "sort": "name asc"}, ["bus-stops", "firm-credit", "road-speed"]),
        ({"fq": '+license_id:"terms-of-grant"'}, ["firm-credit"]),
        ({"fq": "res_format:Parquet AND NOT groups:spatial", "sort": "name desc"}, ["road-speed", "firm-credit", "bus-stops"]),
        ({"fq": "metadata_modified:[NOW-1DAY TO *] AND name:road-speed"}, ["road-speed"]),
        ({"fq": "metadata_modified:[* TO 2020-01-01T00:00:00Z]"}, []),
        ({"q": "name:road-speed"}, ["road-speed"]),
        ({"q": "*:*", "rows": 0}, []),
    ],
)
def test_searches_find_what_they_ask_for(anyone: Any, query: dict[str, Any], names: list[str]) -> None:
    assert [one["name"] for one in anyone.action.package_search(**query)["results"]] == names


def test_facets_count_all_that_was_found(anyone: Any) -> None:
    found = anyone.action.package_search(**{"facet.field": ["groups", "openness"], "rows": 1})
    assert (found["facets"]["groups"]["spatial"], found["facets"]["openness"]["conditional"]) == (25, 1)
    assert {one["display_name"] for one in found["search_facets"]["groups"]["items"]} >= {"Finance zone"}


def harvested(portal: Portal, fq: str = "") -> list[dict[str, Any]]:
    """Gather every package as ckanext-harvest's CKAN harvester does: same address, order and checks."""
    packages: list[dict[str, Any]] = []
    seen: set[str] = set()
    before, start = "", 0
    while True:
        query = {"rows": str(PER_PAGE), "start": str(start), "sort": "id asc"} | ({"fq": fq} if fq else {})
        answer = portal.get("/ckan/api/3/action/package_search", params=query)
        assert answer.text != before, "the paging doesn't seem to work"
        before = answer.text
        page = answer.json()["result"]["results"]
        fresh = [one for one in page if one["id"] not in seen]
        assert len(fresh) == len(page), "a package came twice"
        seen |= {one["id"] for one in fresh}
        packages += fresh
        if not page:
            return packages
        start += PER_PAGE


def test_a_harvester_gathers_every_package_once_in_order(portal: Portal, anyone: Any) -> None:
    found = harvested(portal)
    ids = [one["id"] for one in found]
    assert ids == sorted(ids)
    assert {one["name"] for one in found} == set(anyone.action.package_list())
    assert all(one["metadata_modified"] and one["name"] and "resources" in one for one in found)


def test_a_harvester_gathers_what_changed_since_and_looks_up_its_groups(portal: Portal, anyone: Any) -> None:
    since = anyone.action.package_show(id="series-10")["metadata_modified"]
    found = harvested(portal, f"metadata_modified:[{since}Z TO *]")
    assert {one["name"] for one in found} >= {f"series-{number:02d}" for number in range(10, 25)}
    assert "bus-stops" not in {one["name"] for one in found}
    for group in found[0]["groups"]:
        assert portal.get("/ckan/api/3/action/group_show", params={"id": group["id"]}).json()["result"]["name"] == group["name"]
    organisation = found[0]["owner_org"]
    assert portal.get("/ckan/api/3/action/organization_show", params={"id": organisation}).json()["success"]


def test_both_paths_and_both_methods_answer_alike(portal: Portal) -> None:
    paths = [f"/ckan/api/{version}action/package_show" for version in ("3/", "")]
    answers = [portal.get(path, params={"id": "bus-stops"}).json()["result"] for path in paths]
    answers += [httpx.post(portal.address + path, json={"id": "bus-stops"}, trust_env=False).json()["result"] for path in paths]
    assert answers.count(answers[0]) == 4


def test_who_may_publish_describes_fills_changes_and_withdraws_a_data_set(publisher: Any, anyone: Any, portal: Portal) -> None:
    told = {
        "name": "air",
        "title": "Air",
        "notes": "Air quality",
        "license_id": "CC0-1.0",
        "tags": [{"name": "air"}],
        "groups": [{"name": "spatial"}],
    }
    made = publisher.action.package_create(**told, owner_org="city")
    assert (made["state"], made["resources"]) == ("draft", [])
    with pytest.raises(ckanapi.NotFound):
        anyone.action.package_show(id="air")
    file = io.BytesIO(STOPS.encode())
    file.name = "stations.csv"
    added = publisher.action.resource_create(package_id="air", upload=file)
    assert httpx.get(added["url"], trust_env=False).text == STOPS
    second = io.BytesIO(b"words")
    second.name = "notes.txt"
    publisher.action.resource_create(package_id=made["id"], upload=second)
    shown = anyone.action.package_show(id="air")
    assert {one["name"] for one in shown["resources"]} >= {"stations.csv", "notes.txt"}
    assert (shown["version"], shown["state"]) == ("2", "active")
    patched = publisher.action.package_patch(id="air", title="Air quality")
    assert (patched["title"], patched["notes"], [one["name"] for one in patched["tags"]]) == ("Air quality", "Air quality", ["air"])
    replaced = publisher.action.package_update(id="air", title="Air again", license_id="CC-BY-4.0")
    assert (replaced["title"], replaced["tags"], replaced["license_id"]) == ("Air again", [], "CC-BY-4.0")
    publisher.action.package_delete(id="air")
    with pytest.raises(ckanapi.NotFound):
        anyone.action.package_show(id="air")


def test_what_is_not_allowed_missing_or_wrong_raises_the_clients_own_errors(publisher: Any, anyone: Any, portal: Portal) -> None:
    with pytest.raises(ckanapi.NotAuthorized):
        anyone.action.package_create(name="x-1", title="x", license_id="CC0-1.0")
    with ckanapi.RemoteCKAN(f"{portal.address}/ckan", apikey=portal.tokens["viewer"]) as viewer, pytest.raises(ckanapi.NotAuthorized):
        viewer.action.package_create(name="x-1", title="x", license_id="CC0-1.0")
    with ckanapi.RemoteCKAN(f"{portal.address}/ckan", apikey="forged") as forger, pytest.raises(ckanapi.NotAuthorized):
        forger.action.package_list()
    with pytest.raises(ckanapi.NotFound):
        anyone.action.package_show(id="none")
    with pytest.raises(ckanapi.SearchQueryError):
        anyone.action.package_search(fq="groups:(finance")
    for given, field in (
        ({"title": "x", "license_id": "CC0-1.0"}, "name"),
        ({"name": "Bad Name", "license_id": "CC0-1.0"}, "name"),
        ({"name": "bus-stops", "license_id": "CC0-1.0"}, "name"),
        ({"name": "x-2"}, "license_id"),
        ({"name": "x-2", "license_id": "CC0-1.0", "resources": [{"url": "http://example.org/x.csv"}]}, "resources"),
    ):
        with pytest.raises(ckanapi.ValidationError) as raised:
            publisher.action.package_create(**given)
        assert field in raised.value.error_dict, given


@pytest.mark.parametrize(
    "path",
    [
        "package_search?rows=-1",
        "package_search?rows=abc",
        "package_search?start=99999999999999999999",
        "package_search?sort=id;drop",
        "package_search?fq=" + "(" * 5000,
        "package_search?fq=nothing:x",
        "package_search?fq=metadata_modified:[yesterday%20TO%20*]",
        "package_search?facet.field=[",
        "package_search?q=" + "x" * 9000,
        "package_show",
        "package_show?id=%0d%0aset-cookie:x",
        "organization_show?id=none",
        "nothing_show",
        "package_create?name=x",
        "help_show?name=nothing",
    ],
)
def test_bad_calls_are_refused_in_the_envelope(portal: Portal, path: str) -> None:
    answer = portal.get(f"/ckan/api/3/action/{path}")
    told = answer.json()
    assert 400 <= answer.status_code < 500
    assert (told["success"], set(told["error"]) >= {"__type", "message"}) == (False, True)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [b"[", b"[1]", b'"x"', b"\xff\xfe", b"{" * 50000])
def test_a_body_that_is_no_object_is_refused(portal: Portal, body: bytes) -> None:
    answer = httpx.post(f"{portal.address}/ckan/api/3/action/package_show", content=body, trust_env=False)
    assert answer.status_code == 409
    assert json.loads(answer.text)["success"] is False
