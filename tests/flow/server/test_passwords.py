"""Passwords: set by whoever manages a person or by oneself, tried within bounds, never told apart from an unknown name."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from headwater.core import identity, ledger, passwords, web
from headwater.core.clock import FixedClock
from headwater.core.errors import TooMany
from headwater.core.platform import Platform
from headwater.server import sign_in as signing
from tests.flow.server.conftest import Token, form_token
from tests.flow.server.in_process import TestClient

GOOD, NEXT = "paper lantern over the river", "seven herons at the weir"


@pytest.fixture
def li_wei(admin: TestClient) -> str:
    """Give the id of a person with a role and a password."""
    made = admin.post("/api/people", json={"name": "li.wei", "organisation": "city"}).json()["id"]
    assert admin.post(f"/api/people/{made}/grants", json={"role": "viewer", "scope": "city", "reason": "new here"}).status_code == 201
    assert admin.post(f"/api/people/{made}/password", json={"password": GOOD}).status_code == 204
    return str(made)


@pytest.fixture
def fresh(app: FastAPI) -> TestClient:
    """Give a browser that nobody is signed in with."""
    return TestClient(app, follow_redirects=False, headers={"accept": "text/html"})


def attempt(client: TestClient, name: str, password: str) -> Any:
    page = client.get("/sign-in").text
    return client.post("/sign-in", data={"name": name, "password": password, "csrf": form_token(page)})


def test_a_person_signs_in_with_their_password(fresh: TestClient, li_wei: str) -> None:
    assert 'name="password"' in fresh.get("/sign-in").text
    assert attempt(fresh, "li.wei", GOOD).status_code == 303
    assert fresh.get("/api/me").json()["name"] == "li.wei"


def test_the_form_for_passwords_shows_only_where_someone_has_one(fresh: TestClient) -> None:
    assert 'name="password"' not in fresh.get("/sign-in").text


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(fresh: TestClient, li_wei: str) -> None:
    answers = [attempt(fresh, "li.wei", NEXT), attempt(fresh, "nobody", NEXT), attempt(fresh, "administrator", NEXT)]
    assert [one.status_code for one in answers] == [401, 401, 401]
    texts = {one.text.replace(form_token(one.text), "") for one in answers}
    assert len(texts) == 1
    assert "Name or password are wrong." in texts.pop()


@pytest.mark.parametrize("name", ["li.wei", "nobody"])
def test_after_five_failures_the_account_must_wait_whoever_it_is(app: FastAPI, fresh: TestClient, li_wei: str, name: str) -> None:
    statuses = [attempt(fresh, name, NEXT).status_code for _ in range(signing.FREE_BY_ACCOUNT)]
    assert statuses == [401] * signing.FREE_BY_ACCOUNT
    waiting = attempt(fresh, name, GOOD)
    assert waiting.status_code == 429
    assert int(waiting.headers["retry-after"]) >= 1
    other = app.state.backoff.attempt({"account someone else": 5}, 0.0)
    assert other == 0


def test_a_password_that_is_short_or_holds_the_name_is_not_taken(admin: TestClient, li_wei: str) -> None:
    for weak in ("short", "aaaaaaaaaaaaaaaaaaaaaa", "my name is Li.Wei and so on"):
        refused = admin.post(f"/api/people/{li_wei}/password", json={"password": weak})
        assert refused.status_code == 422
        assert weak not in refused.text


def test_a_new_password_ends_the_sessions_of_the_old(app: FastAPI, admin: TestClient, fresh: TestClient, li_wei: str) -> None:
    attempt(fresh, "li.wei", GOOD)
    assert admin.post(f"/api/people/{li_wei}/password", json={"password": NEXT}).status_code == 204
    assert fresh.get("/api/me", headers={"accept": "*/*"}).status_code == 401
    again = TestClient(app, follow_redirects=False)
    assert attempt(again, "li.wei", GOOD).status_code == 401
    assert attempt(again, "li.wei", NEXT).status_code == 303
    assert admin.post(f"/api/people/{li_wei}/password/remove").status_code == 204
    assert again.get("/api/me").status_code == 401
    assert attempt(again, "li.wei", NEXT).status_code == 401


def test_one_changes_ones_own_password_by_the_current_one(app: FastAPI, fresh: TestClient, li_wei: str) -> None:
    attempt(fresh, "li.wei", GOOD)
    elsewhere = TestClient(app, follow_redirects=False)
    attempt(elsewhere, "li.wei", GOOD)

    def change(current: str, again: str = NEXT) -> int:
        page = fresh.get("/account").text
        form = {"csrf": form_token(page), "current": current, "new": NEXT, "again": again}
        return int(fresh.post("/account/password", data=form).status_code)

    assert change("not the current one") == 403
    assert change(GOOD, again="mistyped") == 422
    assert change(GOOD) == 303
    assert fresh.get("/api/me").status_code == 200
    assert elsewhere.get("/api/me").status_code == 401


def test_a_limited_token_sets_no_password(app: FastAPI, admin: TestClient, li_wei: str) -> None:
    made = admin.post("/api/tokens", json={"label": "x", "scopes": ["identity.manage"]}).json()["token"]
    limited = TestClient(app, headers={"authorization": f"Bearer {made}"})
    assert limited.post(f"/api/people/{li_wei}/password", json={"password": NEXT}).status_code == 403


def test_neither_a_password_nor_its_hash_reaches_the_ledger(site: Platform, li_wei: str) -> None:
    with site.db.read() as connection:
        kept = passwords.kept_of(connection, "li.wei")
        told = [(one.kind, str(one.body)) for one in ledger.entries(connection, limit=1000)]
    assert kept is not None
    assert kept[1].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "password.set" in {kind for kind, _ in told}
    assert not any(GOOD in body or kept[1] in body for _, body in told)


def test_signing_in_anew_ends_the_session_from_before_and_changes_the_form_token(fresh: TestClient, li_wei: str, app: FastAPI) -> None:
    visitor = form_token(fresh.get("/sign-in").text)
    attempt(fresh, "li.wei", GOOD)
    first = fresh.cookies[web.SESSION_COOKIE]
    assert web.VISITOR_COOKIE not in fresh.cookies
    assert form_token(fresh.get("/account").text) != visitor
    attempt(fresh, "li.wei", GOOD)
    assert fresh.cookies[web.SESSION_COOKIE] != first
    stale = TestClient(app, cookies={web.SESSION_COOKIE: first})
    assert stale.get("/api/me").status_code == 401


def test_a_session_that_is_not_used_ends_and_one_in_use_goes_on(fresh: TestClient, li_wei: str, clock: FixedClock) -> None:
    attempt(fresh, "li.wei", GOOD)
    for _ in range(3):
        clock.at += timedelta(minutes=100)
        assert fresh.get("/api/me").status_code == 200
    clock.at += timedelta(minutes=121)
    refused = fresh.get("/api/me")
    assert (refused.status_code, refused.json()["detail"]) == (401, "This session was not used for 120 minutes.")


def test_one_ends_ones_other_sessions(app: FastAPI, fresh: TestClient, li_wei: str, admin: TestClient) -> None:
    attempt(fresh, "li.wei", GOOD)
    elsewhere = TestClient(app, follow_redirects=False)
    attempt(elsewhere, "li.wei", GOOD)
    assert fresh.post("/account/sessions/end", data={"csrf": form_token(fresh.get("/account").text)}).status_code == 303
    assert (fresh.get("/api/me").status_code, elsewhere.get("/api/me").status_code) == (200, 401)
    assert admin.post(f"/api/people/{li_wei}/sessions/end").json() == {"ended": 1}
    assert fresh.get("/api/me").status_code == 401


def test_a_district_administrator_sets_no_password_of_the_citys_people(app: FastAPI, li_wei: str, token: Token, site: Platform) -> None:
    site.db.write(lambda c: identity.add_organisation(c, "city/haidian", "Haidian", actor=identity.SYSTEM, at=site.clock.now()))
    mayor = TestClient(app, headers={"authorization": f"Bearer {token('admin', scope='city/haidian')}"})
    assert mayor.post(f"/api/people/{li_wei}/password", json={"password": NEXT}).status_code == 403
    assert mayor.post(f"/api/people/{li_wei}/sessions/end").status_code == 403


def test_a_crowd_at_the_door_is_asked_to_come_back_and_takes_no_more_than_its_share_of_memory(li_wei: str, site: Platform) -> None:
    with site.db.read() as connection:
        kept = passwords.kept_of(connection, "li.wei")
    assert kept is not None

    def one(_: int) -> str:
        try:
            return str(passwords.fits(GOOD, kept[1]))
        except TooMany as error:
            return error.code

    with ThreadPoolExecutor(24) as crowd:
        answers = Counter(crowd.map(one, range(24)))
    assert set(answers) <= {"True", "too_many"}
    assert answers["True"] >= 8
    assert passwords.fits(GOOD, kept[1])
