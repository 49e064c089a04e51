"""Routes for all: who is let in, how often, and what a stranger in a hurry is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI

from headwater.core import identity, platform, settings
from headwater.core.clock import FixedClock
from headwater.core.platform import Platform
from headwater.server import log
from headwater.server.app import create_app
from tests.flow.server.conftest import Token
from tests.flow.server.in_process import TestClient

EACH_MINUTE = 5


@pytest.fixture
def site(tmp_path: Path, clock: FixedClock, founded: Path) -> Iterator[Platform]:
    """Give a platform that lets an address ask five times a minute."""
    shutil.copytree(founded, tmp_path / "data")
    chosen = settings.load(data_folder=tmp_path / "data", public_requests_per_minute=EACH_MINUTE, public_url="https://data.example/portal/")
    with platform.opened(chosen, clock=clock) as opened:
        opened.found()
        yield opened


@pytest.fixture
def app(site: Platform) -> FastAPI:
    """Give the whole application."""
    log.configure("error")
    return create_app(site)


def test_a_stranger_in_a_hurry_is_asked_to_wait_and_one_who_signs_in_is_not(app: FastAPI, token: Token) -> None:
    stranger = TestClient(app)
    answers = [stranger.get("/dataset/none.ttl") for _ in range(EACH_MINUTE + 1)]
    assert [one.status_code for one in answers] == [404] * EACH_MINUTE + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].json()["code"] == "too_many"
    reader = TestClient(app, headers={"authorization": f"Bearer {token('viewer')}"})
    assert {reader.get("/catalog.ttl").status_code for _ in range(EACH_MINUTE * 2)} == {200}


def test_a_page_of_the_whole_catalogue_counts_as_ten_requests(app: FastAPI) -> None:
    stranger = TestClient(app)
    assert [stranger.get("/catalog.ttl").status_code for _ in range(2)] == [200, 429]


def test_each_protocol_asks_to_wait_in_its_own_words(app: FastAPI) -> None:
    stranger = TestClient(app)
    for _ in range(EACH_MINUTE):
        stranger.get("/datasets")
    ckan, hub = stranger.get("/ckan/api/3/action/site_read"), stranger.get("/hf/api/datasets/city/x")
    assert (ckan.status_code, ckan.json()["error"]["__type"], "retry-after" in ckan.headers) == (429, "Too Many Requests", True)
    assert (hub.status_code, "error" in hub.json(), "retry-after" in hub.headers) == (429, True, True)


def test_a_session_that_has_ended_keeps_nobody_from_what_is_for_all(app: FastAPI) -> None:
    client = TestClient(app, cookies={"headwater_session": "hw_session_gone"})
    assert client.get("/datasets").status_code == 200


def test_a_wrong_token_is_refused_even_where_none_is_needed(app: FastAPI) -> None:
    client = TestClient(app, headers={"authorization": "Bearer hw_api_forged"})
    assert client.get("/datasets").status_code == 401
    assert client.get("/ckan/api/3/action/site_read").status_code == 403


def test_the_public_address_stands_in_every_link_whatever_host_was_asked(app: FastAPI) -> None:
    answer = TestClient(app).get("/ckan/api/3/action/status_show", headers={"host": "elsewhere.example"})
    assert answer.json()["result"]["site_url"] == "https://data.example/portal"
    assert "elsewhere" not in TestClient(app).get("/catalog.ttl", headers={"host": "elsewhere.example"}).text


def test_a_token_in_a_hurry_is_asked_to_wait_and_another_is_not(tmp_path: Path, clock: FixedClock, founded: Path) -> None:
    shutil.copytree(founded, tmp_path / "paced")
    with platform.opened(settings.load(data_folder=tmp_path / "paced", token_requests_per_minute=5), clock=clock) as opened:
        root, now, app = opened.found(), opened.clock.now(), create_app(opened)

        def client(label: str) -> TestClient:
            told = {"label": label, "lasts": timedelta(hours=1)}
            text = opened.db.write(lambda c: identity.issue_token(c, root, kind="api", at=now, **told))
            return TestClient(app, headers={"authorization": f"Bearer {text}"})

        hasty, other = client("hasty"), client("other")
        answers = [hasty.get("/api/me") for _ in range(6)]
        assert [one.status_code for one in answers] == [200] * 5 + [429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].json()["detail"] == "More than 5 requests in a minute came with this token."
        assert other.get("/api/me").status_code == 200


def test_whoever_guesses_tokens_is_a_stranger_in_a_hurry(app: FastAPI) -> None:
    guesses = [TestClient(app, headers={"authorization": f"Bearer hw_api_{n}"}).get("/api/me").status_code for n in range(EACH_MINUTE + 2)]
    assert guesses == [401] * EACH_MINUTE + [429] * 2
