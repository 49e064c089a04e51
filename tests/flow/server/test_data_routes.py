"""The data room over HTTP: publish, look, download in ranges, signed addresses under grants, desk, disclosure."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from headwater.core.clock import FixedClock
from headwater.core.identity import ROOT, SYSTEM, add_organisation
from headwater.core.platform import Platform
from headwater.programmes import casework
from tests.flow.data.authorisation.cases import OPERATOR, Desk, dataset_of, desk_on
from tests.flow.server.conftest import Token, form_token
from tests.flow.server.in_process import TestClient

CSV = "id,name\n1,西直门\n2,=1+1\n".encode()
DESCRIBED: dict[str, Any] = {
    "name": "bus-stops",
    "title": {"zh": "公交站点", "en": "Bus stops"},
    "about": {"zh": "公共交通站点。", "en": "Stops <b>of</b> public transport."},
    "licence": "CC-BY-4.0",
    "zone": "transport",
}


def published(client: TestClient, data: bytes = CSV, file: str = "stops.csv", **more: Any) -> dict[str, Any]:
    """Declare and publish, and return the version."""
    declared = client.post("/api/data/sets", json=DESCRIBED | more)
    assert declared.status_code == 201, declared.text
    name = declared.json()["name"]
    made = client.post(f"/api/data/sets/{name}/versions", params={"file": file}, content=data)
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_a_file_is_published_found_and_downloaded_whole_and_in_ranges(admin: TestClient) -> None:
    version = published(admin)
    assert (version["number"], version["rows"], [one["type"] for one in version["columns"]]) == (1, 2, ["integer", "text"])
    assert [one["name"] for one in admin.get("/api/data/sets", params={"q": "公交"}).json()["found"]] == ["bus-stops"]
    detail = admin.get("/api/data/sets/bus-stops").json()
    assert (detail["newest"]["digest"], detail["timeliness"]["value"]) == (version["digest"], None)
    path = "/api/data/sets/bus-stops/versions/1/files/stops.csv"
    whole = admin.get(path)
    assert (whole.content, whole.headers["accept-ranges"]) == (CSV, "bytes")
    part = admin.get(path, headers={"range": "bytes=3-6"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, CSV[3:7], f"bytes 3-6/{len(CSV)}")
    head = admin.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CSV)))
    assert admin.get(path, headers={"range": "bytes=999-"}).status_code == 416
    assert admin.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    stale = admin.get(path, headers={"range": "bytes=0-1", "if-range": '"other"'})
    assert (stale.status_code, stale.content) == (200, CSV)


def test_the_table_comes_as_csv_that_no_spreadsheet_runs(admin: TestClient) -> None:
    published(admin)
    answer = admin.get("/api/data/sets/bus-stops/versions/1/table.csv")
    assert answer.content.decode("utf-8-sig") == "id,name\r\n1,西直门\r\n2,'=1+1\r\n"


def test_what_cannot_be_taken_in_is_told_with_its_place_and_leaves_nothing(admin: TestClient, site: Platform) -> None:
    assert admin.post("/api/data/sets", json=DESCRIBED).status_code == 201
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * (70 << 20))
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../escape.csv", "a\n1\n")
    for data, file, status, said in (
        (b"a,b\n1\n", "t.csv", 422, "t.csv:2"),
        (evil.getvalue(), "t.zip", 422, "leads out of its folder"),
        (bomb.getvalue(), "t.zip", 413, "unpacks to more than 64 MiB"),
        (b"x" * 300_000, "t.bin", 413, "larger than 200000 bytes"),
        (b"a\n1\n", "../t.csv", 422, "leads out of its folder"),
    ):
        answer = admin.post("/api/data/sets/bus-stops/versions", params={"file": file}, content=data)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert admin.get("/api/data/sets/bus-stops").json()["versions"] == []
    assert not list((site.settings.data_folder / "incoming").iterdir())


@pytest.fixture
def desk(site: Platform) -> Desk:
    return desk_on(site)


@pytest.fixture
def operator(app: FastAPI, desk: Desk, token: Token) -> TestClient:
    """Give a client of the operator's own organisation."""
    return TestClient(app, follow_redirects=False, headers={"authorization": f"Bearer {token('developer', scope=OPERATOR)}"})


def terms(site: Platform, **more: Any) -> dict[str, Any]:
    day = site.clock.now().date()
    return {"term_from": (day - timedelta(days=1)).isoformat(), "term_until": (day + timedelta(days=30)).isoformat()} | more


def wish(grant: str, **more: Any) -> dict[str, Any]:
    return {"grant": grant, "purpose": "traffic_management", "region": "CN-BJ", "files": ["stops.csv"]} | more


def test_rows_that_are_not_open_need_a_grant_and_a_signed_address_opens_them_for_anyone_until_it_ends(
    site: Platform, admin: TestClient, operator: TestClient, anyone: TestClient, desk: Desk, clock: FixedClock
) -> None:
    published(admin, openness="authorised", licence="terms-of-grant")
    path = "/api/data/sets/bus-stops"
    assert operator.get(path).status_code == 200
    assert operator.get(f"{path}/versions/1/files/stops.csv").status_code == 403
    assert operator.get(f"{path}/versions/1/table.csv").status_code == 403
    assert operator.post(f"{path}/links", json={}).status_code == 403
    grant = desk.granted(dataset_of(site, "bus-stops"), **terms(site, uses=2)).number
    refused = operator.post(f"{path}/links", json=wish(grant, purpose="advertising"))
    assert (refused.status_code, "the purpose 'advertising' is not granted" in refused.text) == (403, True)
    link = operator.post(f"{path}/links", json=wish(grant, hours=2)).json()["links"][0]
    assert anyone.get(link["url"]).content == CSV
    part = anyone.get(link["url"], headers={"range": "bytes=-2"})
    assert (part.status_code, part.content) == (206, CSV[-2:])
    assert anyone.head(link["url"]).headers["content-length"] == str(len(CSV))
    altered = link["url"].replace("/data/signed/", "/data/signed/A")
    assert anyone.get(altered).status_code in (403, 404)
    assert anyone.get(link["url"].replace("stops.csv", "other.csv")).status_code == 404
    clock.at += timedelta(hours=2)
    assert anyone.get(link["url"]).status_code == 403


def test_a_revoked_grant_closes_the_addresses_that_it_opened(
    site: Platform, admin: TestClient, operator: TestClient, anyone: TestClient, desk: Desk
) -> None:
    published(admin, openness="authorised", licence="terms-of-grant")
    dataset = dataset_of(site, "bus-stops")
    record = desk.move(desk.move(desk.apply(dataset, **terms(site, uses=1)), "submit", desk.applicant), "grant", desk.officer)
    url = operator.post("/api/data/sets/bus-stops/links", json=wish(str(record.case.number))).json()["links"][0]["url"]
    assert anyone.get(url).status_code == 200
    assert operator.post("/api/data/sets/bus-stops/links", json=wish(str(record.case.number))).status_code == 403
    assert anyone.get(url).status_code == 200, "a spent count does not close what it opened"
    desk.move(record, "revoke", desk.officer, "misuse")
    answer = anyone.get(url)
    assert (answer.status_code, "revoked: misuse" in answer.text) == (403, True)


def test_another_organisation_sees_neither_the_grant_nor_what_is_not_published(
    app: FastAPI, site: Platform, admin: TestClient, desk: Desk, token: Token
) -> None:
    site.db.write(lambda connection: add_organisation(connection, "city/other", "Other", actor=SYSTEM, at=site.clock.now()))
    stranger = TestClient(app, headers={"authorization": f"Bearer {token('developer', scope='city/other')}"})
    published(admin, openness="authorised", licence="terms-of-grant")
    assert admin.post("/api/data/sets", json=DESCRIBED | {"name": "planned"}).status_code == 201
    grant = desk.granted(dataset_of(site, "bus-stops"), **terms(site)).number
    assert stranger.get(f"/api/data/grants/{grant}").status_code == 404
    assert stranger.get("/api/data/grants").json() == []
    assert stranger.get("/api/data/sets/planned").status_code == 404
    assert stranger.get("/api/data/sets", params={"published": False}).json()["found"] == []
    assert stranger.post("/api/data/sets/bus-stops/links", json=wish(grant)).status_code == 404
    assert stranger.post("/api/data/sets/bus-stops/versions", params={"file": "x.csv"}, content=b"a\n1\n").status_code == 403
    assert stranger.post("/api/data/sets/bus-stops/withdraw", json={"reason": "x"}).status_code == 403
    taken = stranger.post("/api/data/sets", json=DESCRIBED)
    assert (taken.status_code, "belongs to city" in taken.text) == (403, True)


def test_the_disclosure_is_the_same_whenever_it_is_asked_for(
    app: FastAPI, site: Platform, admin: TestClient, operator: TestClient, desk: Desk, clock: FixedClock, token: Token
) -> None:
    published(admin, openness="authorised", licence="terms-of-grant")
    grant = desk.granted(dataset_of(site, "bus-stops"), **terms(site, uses=9)).number
    assert operator.post("/api/data/sets/bus-stops/links", json=wish(grant)).status_code == 200
    assert operator.post("/api/data/sets/bus-stops/links", json=wish(grant, onward=True)).status_code == 403
    offer = {"name": "Stops near an address", "kind": "service", "price_fen": 900, "unit": "query"}
    assert operator.post(f"/api/data/grants/{grant}/products", json=offer).status_code == 201
    dear = operator.post(f"/api/data/grants/{grant}/products", json=offer | {"price_fen": 1001})
    assert (dear.status_code, "above the granted ceiling of 1000" in dear.text) == (403, True)
    year = clock.at.year
    clock.at += timedelta(days=370)  # the next year's entries leave this year's report as it is
    later = TestClient(app, headers={"authorization": f"Bearer {token()}"})
    first = later.get(f"/api/data/disclosure/{year}").json()
    assert casework.record_overdue(site) == 1
    assert later.get(f"/api/data/disclosure/{year}").json() == first
    (body,), (one,) = first["implementing_bodies"], first["operators"]
    (line,) = body["authorisations"]
    assert (body["organisation"], body["title"], one["organisation"]) == (ROOT, "City", OPERATOR)
    assert (line["number"], line["dataset"], line["fee_ceiling_fen"], line["uses_allowed"], line["uses_refused"]) == (
        grant,
        "bus-stops",
        1000,
        1,
        1,
    )
    assert [(product["name"], product["price_fen"]) for product in one["products"]] == [("Stops near an address", 900)]
    assert first["due"] == f"{year + 1}-03-31"
    page = later.get(f"/data/disclosure/{year}")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Stops near an address" in page.text
    assert "9.00 元" in page.text


def test_the_pages_of_plan_and_desk_show_what_is_there_and_take_forms(
    site: Platform, browser: TestClient, admin: TestClient, desk: Desk
) -> None:
    published(admin, openness="authorised", licence="terms-of-grant")
    page = browser.get("/data/plan/bus-stops").text
    form = {"csrf": form_token(page), "due": "2026-01-05", "owner": "city", "rhythm": "monthly", "reason": "plan <2026>", "revision": "0"}
    assert browser.post("/data/plan/bus-stops", data=form).status_code == 303
    assert browser.post("/data/plan/bus-stops", data=form).status_code == 409
    page = browser.get("/data/plan/bus-stops").text
    assert "plan &lt;2026&gt;" in page
    for language in ("en", "zh"):
        assert "bus-stops" in browser.get("/data/plan", params={"lang": language}).text
    number = desk.granted(dataset_of(site, "bus-stops"), **terms(site)).number
    assert number in browser.get("/data/desk").text
    grant = browser.get(f"/data/desk/{number}").text
    assert "traffic_management" in grant
    offer = {"csrf": form_token(grant), "name": "Map", "kind": "product", "price_fen": "100", "unit": "copy"}
    assert browser.post(f"/data/desk/{number}/products", data=offer).status_code == 303
    assert "Map" in browser.get(f"/data/desk/{number}").text
    assert browser.post(f"/data/desk/{number}/products", data=offer | {"csrf": "0" * 64}).status_code == 403


def test_the_card_is_read_by_its_own_library_and_the_citation_by_people(admin: TestClient) -> None:
    import mlcroissant

    published(admin)
    told = admin.get("/api/data/sets/bus-stops/card").json()
    read = mlcroissant.Dataset(jsonld=told)
    assert [one.name for one in read.metadata.record_sets] == ["table"]
    assert read.metadata.issues.errors == set()
    assert told["rai:dataPreprocessingProtocol"][0].startswith("data.publish at ")
    plain = admin.get("/api/data/sets/bus-stops/citation").json()["citation"]
    assert plain.startswith("City (")
    bibtex = admin.get("/api/data/sets/bus-stops/citation", params={"style": "bibtex"}).json()["citation"]
    assert bibtex.startswith("@misc{bus-stops-1,")
    assert json.dumps(told, ensure_ascii=False).count("sha256") >= 2


def test_an_application_is_opened_filled_in_and_submitted_in_the_browser(site: Platform, browser: TestClient, admin: TestClient) -> None:
    published(admin, openness="authorised", licence="terms-of-grant")
    identity = admin.get("/api/data/sets/bus-stops").json()["identity"]
    form = browser.get(
        "/cases/new", params={"procedure": "data-authorisation", "field-dataset": "bus-stops", "field-resource": identity}
    ).text
    assert f'value="{identity}"' in form
    answers = {"csrf": form_token(form), "procedure": "data-authorisation", "field-dataset": "bus-stops", "field-resource": identity}
    case = browser.post("/cases", data=answers).headers["location"]
    page = browser.get(case).text
    more = {
        "csrf": form_token(page),
        "version": "1",
        "field-dataset": "bus-stops",
        "field-mode": "authorised",
        "field-actions": "read",
        "field-purposes": "research",
        "field-term_from": "2026-01-01",
        "field-term_until": "2026-12-31",
        "field-uses": "3",
        "field-safeguards": "kept <safe>",
    }
    assert browser.post(f"{case}/fields", data=more).status_code == 303
    page = browser.get(case).text
    assert "kept &lt;safe&gt;" in page
    wrong = browser.post(f"{case}/fields", data=more | {"version": "2", "field-uses": "many"})
    assert wrong.status_code == 422
    assert browser.post(f"{case}/moves", data={"csrf": form_token(page), "transition": "submit", "version": "2"}).status_code == 303
    assert "field-safeguards" not in browser.get(case).text, "the form is closed once it is submitted"
