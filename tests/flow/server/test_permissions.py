"""Who may do what, route by route: `permissions.txt` is the specification, and the real application is held against it."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from headwater.core import identity
from headwater.core.identity import ROLES, SYSTEM
from headwater.core.platform import Platform
from headwater.server import openapi
from headwater.server.app import OPEN_PATHS, undeclared
from tests.flow.server.conftest import Token
from tests.flow.server.in_process import TestClient

DISTRICT, OTHER = "city/haidian", "city/chaoyang"


def specification() -> dict[tuple[str, str], frozenset[str]]:
    """Return the roles that may use each route, by method and path."""
    heading, *lines = (Path(__file__).parent / "permissions.txt").read_text(encoding="utf-8").splitlines()
    roles = heading.split()
    found = {}
    for line in lines:
        method, path, *marks = line.split()
        if marks == ["public"]:
            continue
        found[method, path] = frozenset(role for role, mark in zip(roles, marks, strict=True) if mark == "yes")
    return found


def for_all() -> frozenset[tuple[str, str]]:
    """Return the routes that the specification opens to people who are not signed in."""
    lines = (Path(__file__).parent / "permissions.txt").read_text(encoding="utf-8").splitlines()[1:]
    return frozenset((method, path) for method, path, *marks in (line.split() for line in lines) if marks == ["public"])


def test_every_route_demands_a_permission_or_is_on_the_list_of_open_ones(app: FastAPI) -> None:
    assert undeclared(app) == []
    assert {context.path for context in iter_route_contexts(app.routes)} >= OPEN_PATHS


def test_the_specification_names_every_route_and_no_other(app: FastAPI) -> None:
    routes = {
        (method, str(context.path_format))
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        if context.path not in OPEN_PATHS
    }
    assert set(specification()) | for_all() == routes


def test_the_routes_for_all_are_those_that_declare_it(app: FastAPI) -> None:
    declared = {
        (method, str(context.path_format))
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        if openapi.public_of(context) is not None
    }
    assert declared == for_all()


def test_a_route_for_all_lets_in_a_stranger_and_every_role_but_nobody_with_a_wrong_token(app: FastAPI, token: Token) -> None:
    callers = {"stranger": {}} | {role: {"authorization": f"Bearer {token(role)}"} for role in ROLES}
    wrong = []
    for method, path in sorted(for_all()):
        for caller, headers in callers.items():
            status = TestClient(app, follow_redirects=False, headers=headers).request(method, re.sub(r"\{.*?\}", "1", path)).status_code
            wrong += [f"{caller} {method} {path}: {status}"] if status in (401, 403) or status >= 500 else []
        forged = TestClient(app, headers={"authorization": "Bearer hw_api_forged"}).request(method, re.sub(r"\{.*?\}", "1", path))
        wrong += [f"forged {method} {path}: {forged.status_code}"] if forged.status_code not in (401, 403) else []
    assert wrong == []


def test_each_role_gets_through_exactly_where_the_specification_says(app: FastAPI, token: Token) -> None:
    app.state.closing.set()  # a stream that has no end of its own ends after its first look
    clients = {role: TestClient(app, follow_redirects=False, headers={"authorization": f"Bearer {token(role)}"}) for role in ROLES}
    wrong = []
    for (method, path), allowed in specification().items():
        for role, client in clients.items():
            status = client.request(method, re.sub(r"\{.*?\}", "1", path)).status_code
            if (status != 403) != (role in allowed) or status in (401, 500):
                wrong.append(f"{role} {method} {path}: {status}")
    assert wrong == []


def test_a_stranger_gets_through_nowhere(anyone: TestClient) -> None:
    answers = {(method, path): anyone.request(method, re.sub(r"\{.*?\}", "1", path)).status_code for method, path in specification()}
    assert {route for route, status in answers.items() if status != 401} == set()


def test_a_role_in_a_district_gives_no_right_to_what_is_the_citys(app: FastAPI, site: Platform, token: Token) -> None:
    districts(site)
    mayor = TestClient(app, headers={"authorization": f"Bearer {token('admin', scope=DISTRICT)}"})
    assert mayor.get("/api/ledger").status_code == 403
    assert mayor.get("/metrics").status_code == 403
    assert [one["path"] for one in mayor.get("/api/organisations").json()] == [DISTRICT]
    assert {one["organisation"] for one in mayor.get("/api/people").json()} == {DISTRICT}


def test_an_administrator_of_a_district_cannot_rise_above_it(app: FastAPI, site: Platform, token: Token) -> None:
    districts(site)
    mayor = TestClient(app, headers={"authorization": f"Bearer {token('admin', scope=DISTRICT)}"})
    me, root = mayor.get("/api/me").json()["id"], site.found()
    assert mayor.post(f"/api/people/{me}/grants", json={"role": "admin", "scope": "city", "reason": "because"}).status_code == 403
    assert mayor.post(f"/api/people/{me}/grants", json={"role": "admin", "scope": OTHER, "reason": "because"}).status_code == 403
    assert mayor.post(f"/api/people/{root}/tokens", json={"label": "x"}).status_code == 403
    assert mayor.post("/api/organisations", json={"path": f"{OTHER}/lab", "title": "Lab"}).status_code == 403
    assert mayor.post("/api/people", json={"name": "spy", "organisation": OTHER}).status_code == 403
    assert mayor.post("/api/organisations", json={"path": f"{DISTRICT}/lab", "title": "Lab"}).status_code == 201


def test_nobody_makes_tokens_for_a_person_who_may_do_more_than_they_manage(app: FastAPI, site: Platform, token: Token) -> None:
    districts(site)
    mayor = TestClient(app, headers={"authorization": f"Bearer {token('admin', scope=DISTRICT)}"})
    now = site.clock.now()

    def appoint(connection: identity.Connection) -> str:
        person = identity.add_person(connection, "seconded", DISTRICT, actor=SYSTEM, at=now)
        identity.grant(connection, person, "auditor", "city", reason="seconded to the city", actor=SYSTEM, at=now)
        return person

    person = site.db.write(appoint)
    assert mayor.post(f"/api/people/{person}/tokens", json={"label": "x"}).status_code == 403


def test_one_district_sees_nothing_of_anothers_runs(app: FastAPI, site: Platform, token: Token) -> None:
    districts(site)
    owner, stranger = (
        TestClient(app, headers={"authorization": f"Bearer {token('developer', scope=scope)}"}) for scope in (DISTRICT, OTHER)
    )
    made = owner.post("/api/runs", json={"text": "schema: headwater.project/1\nname: hello\nsteps:\n  say: {run: [echo, hello]}\n"})
    assert made.status_code == 201, made.text
    run, job = made.json()["id"], made.json()["jobs"][0]["id"]
    for path in (f"/api/runs/{run}", f"/runs/{run}", f"/runs/{run}/live", f"/api/jobs/{job}", f"/jobs/{job}", f"/api/jobs/{job}/log"):
        assert stranger.get(path).status_code == 403, path
    assert stranger.post(f"/api/runs/{run}/cancel").status_code == 403
    assert stranger.get("/api/runs").json() == stranger.get("/api/jobs").json() == []
    stored = owner.post("/api/artifacts", content=b"ours").json()["name"]
    assert owner.get(f"/api/artifacts/{stored}").content == b"ours"
    assert stranger.get(f"/api/artifacts/{stored}").status_code == 404
    assert stranger.get(f"/artifacts/{stored}").status_code == 404


def test_a_token_that_is_ended_lets_nobody_in(app: FastAPI, admin: TestClient) -> None:
    made = admin.post("/api/tokens", json={"label": "short"}).json()["token"]
    friend = TestClient(app, headers={"authorization": f"Bearer {made}"})
    assert friend.get("/api/me").status_code == 200
    listed = next(one for one in admin.get("/api/tokens").json() if one["label"] == "short")
    assert admin.post(f"/api/tokens/{listed['id']}/revoke").status_code == 204
    assert friend.get("/api/me").status_code == 401


def districts(site: Platform) -> None:
    """Add two districts below the city."""

    def work(connection: identity.Connection) -> None:
        for path in (DISTRICT, OTHER):
            identity.add_organisation(connection, path, path.title(), actor=SYSTEM, at=site.clock.now())

    site.db.write(work)
