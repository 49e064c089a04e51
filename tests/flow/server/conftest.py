"""The whole application in process, people with each role, and a browser-like client."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI

from headwater.core import identity, platform, settings
from headwater.core.clock import FixedClock, SystemClock
from headwater.core.identity import ROLES, ROOT, SYSTEM
from headwater.core.platform import Platform
from headwater.server import log
from headwater.server.app import create_app
from tests.flow.server.in_process import TestClient

Token = Callable[..., str]


@pytest.fixture
def clock() -> FixedClock:
    """Give a clock that the test moves."""
    return FixedClock(SystemClock().now())


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a data folder with an empty, founded platform, to be copied."""
    folder = tmp_path_factory.mktemp("founded") / "data"
    with platform.opened(settings.load(data_folder=folder)) as opened:
        opened.found()
    return folder


@pytest.fixture
def site(tmp_path: Path, clock: FixedClock, founded: Path) -> Iterator[Platform]:
    """Give an open platform with the held clock, its first administrator, and a small limit on bodies."""
    shutil.copytree(founded, tmp_path / "data")
    chosen = settings.load(data_folder=tmp_path / "data", upload_max_bytes=200_000, local_cpus=2, local_memory_gib=2)
    with platform.opened(chosen, clock=clock) as opened:
        opened.found()
        yield opened


@pytest.fixture
def app(site: Platform) -> FastAPI:
    """Give the whole application, logging as the server does."""
    log.configure("info")
    return create_app(site)


@pytest.fixture
def anyone(app: FastAPI) -> TestClient:
    """Give a client that is not signed in."""
    return TestClient(app, follow_redirects=False)


@pytest.fixture
def token(site: Platform) -> Token:
    """Give a maker of tokens: of a new person with a role, or of the administrator where none is named."""

    def make(role: str | None = None, *, scope: str = ROOT, kind: identity.TokenKind = "api", hours: float = 1.0) -> str:
        now = site.clock.now()

        def work(connection: identity.Connection) -> str:
            person = site_administrator
            if role is not None:
                count = len(connection.execute(identity.select(identity.people.c.id)).all())
                person = identity.add_person(connection, f"{role} {count}", scope, actor=SYSTEM, at=now)
                identity.grant(connection, person, role, scope, reason="test", actor=SYSTEM, at=now)
            return identity.issue_token(connection, person, kind=kind, label="test", lasts=timedelta(hours=hours), at=now)

        return site.db.write(work)

    site_administrator = site.found()
    return make


@pytest.fixture
def admin(app: FastAPI, token: Token) -> TestClient:
    """Give the administrator's client, with an API token."""
    return TestClient(app, follow_redirects=False, headers={"authorization": f"Bearer {token()}"})


@pytest.fixture
def browser(app: FastAPI, token: Token) -> TestClient:
    """Give a client that the administrator signed in with in a browser: a session cookie, and pages as answers."""
    client = TestClient(app, follow_redirects=False, headers={"accept": "text/html"})
    answer = client.post("/sign-in", data={"token": token(), "csrf": form_token(client.get("/sign-in").text)})
    assert answer.status_code == 303, answer.text
    return client


def form_token(page: str) -> str:
    """Return the form token that a page carries."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None, "the page carries no form token"
    return found[1]


def roles() -> tuple[str, ...]:
    """Return every role, in the order of the matrix."""
    return tuple(ROLES)
