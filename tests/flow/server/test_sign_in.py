"""Signing in, staying signed in, signing out; and what another site or a stale page cannot do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi import FastAPI

from headwater.core import identity, ledger, web
from headwater.core.clock import FixedClock
from headwater.core.platform import Platform
from tests.flow.server.conftest import Token, form_token
from tests.flow.server.in_process import TestClient

ELSEWHERE = (
    "//evil.example/",
    "https://evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    " //evil.example",
    "/%0d%0aset-cookie:x=y\r\nx: y",
    "///evil.example",
)


def sign_in(client: TestClient, token: str, **more: str) -> object:
    page = client.get("/sign-in", headers={"accept": "text/html"})
    return client.post("/sign-in", data={"token": token, "csrf": form_token(page.text), **more})


def test_a_one_time_link_signs_in_once_and_only_when_its_button_is_pressed(anyone: TestClient, app: FastAPI, token: Token) -> None:
    once = token(kind="once")
    for _ in range(2):
        page = anyone.get(f"/sign-in?link={once}")
        assert page.status_code == 200
        assert web.SESSION_COOKIE not in anyone.cookies
    assert sign_in(anyone, once).status_code == 303
    assert anyone.get("/api/me").json()["name"] == "administrator"
    assert sign_in(TestClient(app), once).status_code == 401


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(anyone: TestClient, token: Token) -> None:
    answer = sign_in(anyone, token())
    cookie = next(value for name, value in answer.headers.multi_items() if name == "set-cookie")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}


@pytest.mark.parametrize("wrong", ["", "hw_api_guess", "hw_once_guess", "x" * 5000, "\x00", "令牌"])
def test_a_wrong_token_is_refused_on_the_form_itself(anyone: TestClient, wrong: str) -> None:
    answer = sign_in(anyone, wrong)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert web.SESSION_COOKIE not in anyone.cookies


def test_a_session_ends_with_the_token_that_opened_it(anyone: TestClient, token: Token, site: Platform) -> None:
    opener = token()
    sign_in(anyone, opener)
    assert anyone.get("/account").status_code == 200
    site.db.write(lambda connection: identity.revoke_token(connection, opener, actor="test", at=site.clock.now()))
    assert anyone.get("/api/me").status_code == 401


def test_a_session_ends_when_its_hours_are_over(browser: TestClient, clock: FixedClock, site: Platform) -> None:
    assert browser.get("/account").status_code == 200
    clock.at += timedelta(hours=site.settings.session_hours, seconds=1)
    answer = browser.get("/account?lang=zh")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Faccount%3Flang%3Dzh")


def test_signing_out_ends_the_session_in_the_database_too(browser: TestClient, app: FastAPI) -> None:
    session = browser.cookies[web.SESSION_COOKIE]
    answer = browser.post("/sign-out", data={"csrf": form_token(browser.get("/account").text)})
    assert answer.headers["location"] == "/sign-in"
    stale = TestClient(app, cookies={web.SESSION_COOKIE: session})
    assert stale.get("/api/me").status_code == 401


def test_a_session_is_no_api_token_and_an_api_token_no_session(app: FastAPI, browser: TestClient, token: Token) -> None:
    session = browser.cookies[web.SESSION_COOKIE]
    assert TestClient(app, headers={"authorization": f"Bearer {session}"}).get("/api/me").status_code == 401
    assert TestClient(app, cookies={web.SESSION_COOKIE: token()}).get("/api/me").status_code == 401


@pytest.mark.parametrize("to", ELSEWHERE)
def test_signing_in_never_leads_to_another_site(anyone: TestClient, token: Token, to: str) -> None:
    assert sign_in(anyone, token(), next=to).headers["location"] == "/"


def test_signing_in_leads_to_the_page_that_was_asked_for(anyone: TestClient, token: Token) -> None:
    asked = anyone.get("/ledger?kind=job.*", headers={"accept": "text/html"})
    form = anyone.get(asked.headers["location"])
    assert 'name="next" value="/ledger?kind=job.*"' in form.text
    assert sign_in(anyone, token(), next="/ledger?kind=job.*").headers["location"] == "/ledger?kind=job.*"


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"label": "x"}},
        {"data": {"label": "x", "csrf": "0" * 64}},
        {"data": {"label": "x", "csrf": "é"}},
        {"headers": {"content-type": "text/plain"}, "content": "label=x&csrf=1"},
    ],
    ids=["no token", "a guessed token", "a token beyond ASCII", "another content type"],
)
def test_a_form_without_its_pages_token_changes_nothing(browser: TestClient, site: Platform, sent: dict[str, object]) -> None:
    before = entries(site)
    assert browser.post("/account/tokens", **sent).status_code == 403
    assert entries(site) == before


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}, {"sec-fetch-site": "cross-site"}], ids=str
)
def test_a_form_sent_from_another_site_changes_nothing(browser: TestClient, site: Platform, headers: dict[str, str]) -> None:
    before, right = entries(site), form_token(browser.get("/account").text)
    answer = browser.post("/account/tokens", data={"label": "x", "csrf": right}, headers=headers)
    assert answer.status_code == 403
    assert entries(site) == before


def test_the_api_takes_no_change_with_a_cookie_alone(browser: TestClient, site: Platform) -> None:
    before = entries(site)
    assert browser.post("/api/tokens", json={"label": "x"}).status_code == 403
    assert entries(site) == before


def test_a_form_with_its_pages_token_does_what_it_says(browser: TestClient) -> None:
    right = form_token(browser.get("/account").text)
    answer = browser.post("/account/tokens", data={"label": "nightly", "days": "7", "csrf": right}, headers={"origin": "http://testserver"})
    assert answer.status_code == 200
    assert "hw_api_" in answer.text
    assert "hw_api_" not in browser.get("/account").text


def entries(site: Platform) -> int:
    with site.db.read() as connection:
        return ledger.verify(connection).entries
