"""Sign-in with an OpenID Connect provider that others wrote and keep: oidc-provider-mock, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from headwater.core import platform, settings
from headwater.server.app import create_app
from tests.flow.server.in_process import TestClient

CLIENTS = Path(os.environ.get("TEST_CLIENTS") or Path(__file__).resolve().parents[2] / "build" / "clients") / "bin" / "oidc-provider-mock"
PERSON = {"sub": "u-1", "preferred_username": "lin.fang", "groups": ["engineers"]}
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a running provider that demands a nonce."""
    program = str(CLIENTS) if CLIENTS.exists() else shutil.which("oidc-provider-mock")
    if program is None:
        pytest.skip("oidc-provider-mock is not installed (python3 dev.py clients)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--require-nonce", "true", "--user-claims", json.dumps(PERSON)]
    with (tmp_path_factory.mktemp("provider") / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def _wait_until_up(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            if httpx.get(f"{address}/jwks", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, "the provider ended"
        assert time.monotonic() < until, "the provider does not answer"
        time.sleep(0.1)


@pytest.fixture
def browser(tmp_path: Path, issuer: str) -> Iterator[TestClient]:
    """Give a browser at a platform that takes this provider's people."""
    told = {"oidc_issuer": issuer, "oidc_client_id": "headwater", "oidc_roles": {"engineers": "developer@city"}}
    (tmp_path / "secret").write_text("any secret", encoding="utf-8")
    here = {"public_url": "http://127.0.0.1:8420", "oidc_client_secret_file": str(tmp_path / "secret")}
    with platform.opened(settings.load(data_folder=tmp_path / "data", **told, **here)) as opened:
        opened.found()
        yield TestClient(create_app(opened), base_url=here["public_url"], follow_redirects=False)


def at_the_provider(browser: TestClient, **form: str) -> str:
    """Go to the provider, send its form, and return where it sends the browser back to."""
    there = browser.get("/sign-in/oidc?next=/jobs").headers["location"]
    answer = httpx.post(there, data=form, trust_env=False)
    assert answer.is_redirect, answer.text
    return str(answer.headers["location"])


def test_a_person_signs_in_with_the_roles_of_their_groups(browser: TestClient) -> None:
    answer = browser.get(at_the_provider(browser, sub="u-1"))
    assert answer.status_code == 200, answer.text
    me = browser.get("/api/me").json()
    assert [(one["role"], one["scope"]) for one in me["grants"]] == [("developer", "city")]
    assert me["name"] == "lin.fang"


def test_a_refusal_without_the_state_signs_nobody_in(browser: TestClient) -> None:
    answer = browser.get(at_the_provider(browser, action="deny"))  # this provider leaves the state out of it, against RFC 6749, 4.1.2.1
    assert (answer.status_code, "This answer belongs to no sign-in of this browser." in answer.text) == (401, True)
    assert browser.get("/api/me").status_code == 401


def test_a_code_is_taken_once(browser: TestClient) -> None:
    back = at_the_provider(browser, sub="u-1")
    assert browser.get(back).status_code == 200
    assert browser.get(back).status_code == 401
