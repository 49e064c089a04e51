"""The console and the routes of protected tables: who sees what, and what a person can do there."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from headwater.core import identity
from headwater.core.platform import Platform
from headwater.server.app import create_app
from tests.flow.data.privacy.people_table import LAB, asker, protect
from tests.flow.server.conftest import form_token
from tests.flow.server.in_process import TestClient


@pytest.fixture
def app(site: Platform) -> FastAPI:
    """Give the application over a site with one protected table."""
    protect(site, title="People of the city")
    return create_app(site)


def client(site: Platform, app: FastAPI, person: str, *, browser: bool = False) -> TestClient:
    """Return a person's client."""
    from datetime import timedelta

    now = site.clock.now()
    token = site.db.write(
        lambda connection: identity.issue_token(connection, person, kind="api", label="t", lasts=timedelta(hours=1), at=now)
    )
    if not browser:
        return TestClient(app, follow_redirects=False, headers={"authorization": f"Bearer {token}"})
    found = TestClient(app, follow_redirects=False, headers={"accept": "text/html"})
    found.post("/sign-in", data={"token": token, "csrf": form_token(found.get("/sign-in").text)})
    return found


def test_a_budget_given_in_the_console_is_seen_spent_in_both_languages(site: Platform, app: FastAPI) -> None:
    actor, officer = asker(site, epsilon=0), client(site, app, site.found(), browser=True)
    page = officer.get("/data/protected/people")
    assert page.status_code == 200
    form = {"csrf": form_token(page.text), "grantee": LAB, "epsilon": "0.5", "reason": "a study", "most_questions": "7"}
    assert officer.post("/data/protected/people/budgets", data=form).status_code == 303
    asked = client(site, app, actor.id).post("/api/data/protected/people/private", json={"kind": "count", "epsilon": 0.2})
    assert asked.status_code == 200, asked.text
    assert asked.json()["epsilon"] == 0.2
    page = officer.get("/data/protected/people?lang=en").text
    assert "0.2 / 0.5" in page
    assert "0 / 7" in page
    assert "受保护的数据表" in officer.get("/data/protected?lang=zh").text


def test_a_grantee_sees_its_own_budget_and_questions_only_and_strangers_see_nothing(site: Platform, app: FastAPI) -> None:
    lab, bureau, stranger = asker(site), asker(site, organisation="city/bureau"), asker(site, organisation="city/other", epsilon=0)
    assert client(site, app, bureau.id).post("/api/data/protected/people/exact", json={"group_by": ["sex"]}).status_code == 200
    seen = client(site, app, lab.id).get("/api/data/protected/people").json()
    assert [one["grantee"] for one in seen["budgets"]] == [LAB]
    assert client(site, app, lab.id).get("/api/data/protected/people/questions").json() == []
    assert client(site, app, stranger.id).get("/api/data/protected").json() == []
    assert client(site, app, stranger.id).get("/api/data/protected/people").status_code == 404
    assert client(site, app, stranger.id).post("/api/data/protected/people/exact", json={}).status_code == 404


def test_refusals_are_problem_details_with_a_code_of_their_own(site: Platform, app: FastAPI) -> None:
    lab = client(site, app, asker(site, epsilon=0.1).id)
    spent = lab.post("/api/data/protected/people/private", json={"kind": "count", "epsilon": 0.2})
    few = lab.post("/api/data/protected/people/exact", json={"where": [{"column": "age", "is": "below", "value": 18}]})
    assert (spent.status_code, spent.json()["code"]) == (403, "privacy.budget_spent")
    assert (few.status_code, few.json()["code"]) == (403, "privacy.too_revealing")
    for wrong in (0, -1, "NaN"):
        assert lab.post("/api/data/protected/people/private", json={"kind": "count", "epsilon": wrong}).status_code == 422
