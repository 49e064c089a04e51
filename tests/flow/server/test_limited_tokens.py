"""API tokens that may do less than their person: every route is walked with tokens of one permission, and of all but one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from headwater.core import ledger
from headwater.core.identity import Permission
from headwater.core.platform import Platform
from headwater.server import openapi
from tests.flow.server.conftest import Token, form_token
from tests.flow.server.in_process import TestClient
from tests.flow.server.test_permissions import DISTRICT, OTHER, districts


def routes(app: FastAPI) -> Iterator[tuple[str, str, Permission]]:
    """Yield the method, an address and the permission of every route that demands one."""
    for context in iter_route_contexts(app.routes):
        demanded = openapi.permission_of(context)
        if demanded is not None:
            for method in sorted(context.methods or ()):
                yield method, re.sub(r"\{.*?\}", "1", str(context.path_format)), demanded.permission


def limited(app: FastAPI, admin: TestClient, **limit: object) -> TestClient:
    """Return a client with a token of the administrator's that is limited."""
    made = admin.post("/api/tokens", json={"label": "limited", "days": 1} | limit)
    assert made.status_code == 201, made.text
    return TestClient(app, follow_redirects=False, headers={"authorization": f"Bearer {made.json()['token']}"})


def test_a_token_without_a_permission_gets_through_no_route_that_demands_it(app: FastAPI, admin: TestClient) -> None:
    app.state.closing.set()
    without = {one: limited(app, admin, scopes=[str(other) for other in Permission if other != one]) for one in Permission}
    let_in = [f"{m} {path}" for m, path, needed in routes(app) if without[needed].request(m, path).status_code != 403]
    assert let_in == []


def test_a_token_of_one_permission_opens_the_reading_routes_that_demand_it_and_no_other(app: FastAPI, admin: TestClient) -> None:
    app.state.closing.set()
    only = {one: limited(app, admin, scopes=[str(one)]) for one in Permission}
    reading = [(method, path, needed) for method, path, needed in routes(app) if method == "GET"]
    wrong = [f"{path} shut" for method, path, needed in reading if only[needed].request(method, path).status_code in (401, 403, 500)]
    for one, client in only.items():
        shut = [path for _, path, needed in reading if needed != one][:: len(Permission) // 4]
        wrong += [f"{path} open to {one}" for path in shut if client.get(path).status_code != 403]
    assert wrong == []


def test_a_token_for_one_district_sees_and_changes_nothing_of_another(app: FastAPI, site: Platform, admin: TestClient) -> None:
    districts(site)
    client = limited(app, admin, organisation=DISTRICT)
    assert [one["path"] for one in client.get("/api/organisations").json()] == [DISTRICT]
    assert client.post("/api/people", json={"name": "spy", "organisation": OTHER}).status_code == 403
    assert client.get("/api/ledger").status_code == 403
    run = {"text": "schema: headwater.project/1\nname: hello\nsteps:\n  say: {run: [echo, hello]}\n"}
    made = client.post("/api/runs", json=run)
    assert made.status_code == 201, made.text
    assert made.json()["organisation"] == DISTRICT
    assert client.post("/api/runs", json=run | {"organisation": OTHER}).status_code == 403


def test_a_limited_token_makes_no_token_that_does_more(app: FastAPI, admin: TestClient) -> None:
    held = ["plan.read", "compute.read", "identity.manage"]
    client = limited(app, admin, scopes=held)
    assert client.post("/api/tokens", json={"label": "more", "scopes": ["ledger.read"]}).status_code == 403
    made = client.post("/api/tokens", json={"label": "open"})
    assert made.status_code == 201
    listed = {one["label"]: one["scopes"] for one in admin.get("/api/tokens").json()}
    assert listed["open"] == sorted(held)
    me = client.get("/api/me").json()["id"]
    for_another = client.post(f"/api/people/{me}/tokens", json={"label": "by manager"})
    assert for_another.status_code == 201
    assert TestClient(app, headers={"authorization": f"Bearer {for_another.json()['token']}"}).get("/api/ledger").status_code == 403
    grant = {"role": "admin", "scope": "city", "reason": "because"}
    assert client.post(f"/api/people/{me}/grants", json=grant).status_code == 403


def test_a_session_opened_with_a_limited_token_is_as_limited(app: FastAPI, admin: TestClient) -> None:
    made = admin.post("/api/tokens", json={"label": "reader", "scopes": ["plan.read", "compute.read"]}).json()["token"]
    client = TestClient(app, follow_redirects=False)
    answer = client.post("/sign-in", data={"token": made, "csrf": form_token(client.get("/sign-in").text)})
    assert answer.status_code == 303
    assert client.get("/jobs").status_code == 200
    assert client.get("/ledger").status_code == client.get("/runs").status_code == 403


def test_a_token_asks_for_nothing_that_its_person_does_not_hold(app: FastAPI, token: Token, site: Platform) -> None:
    districts(site)
    viewer = TestClient(app, headers={"authorization": f"Bearer {token('viewer', scope=DISTRICT)}"})
    refused = viewer.post("/api/tokens", json={"label": "x", "scopes": ["compute.read", "ledger.read"]})
    assert (refused.status_code, refused.json()["detail"]) == (422, "viewer 1 does not hold ledger.read.")
    elsewhere = viewer.post("/api/tokens", json={"label": "x", "scopes": ["compute.read"], "organisation": OTHER})
    assert (elsewhere.status_code, elsewhere.json()["detail"]) == (422, f"viewer 1 does not hold compute.read in {OTHER}.")
    assert viewer.post("/api/tokens", json={"label": "x", "scopes": ["no.such"]}).status_code == 422
    assert viewer.post("/api/tokens", json={"label": "x", "organisation": "city/nowhere"}).status_code == 404


def test_the_limit_stands_in_the_ledger_and_on_the_account_page(browser: TestClient, site: Platform) -> None:
    page = browser.get("/account").text
    form = {"csrf": form_token(page), "label": "gauge", "days": "3", "scopes": ["compute.read", "plan.read"], "organisation": "city"}
    assert "hw_api_" in browser.post("/account/tokens", data=form).text
    with site.db.read() as connection:
        told = [one.body["limit"] for one in ledger.entries(connection) if one.kind == "token.issued" and "limit" in one.body]
    assert told == ["compute.read plan.read in city"]
    assert '<span class="mono small">compute.read plan.read</span> <span class="quiet">city</span>' in browser.get("/account").text
