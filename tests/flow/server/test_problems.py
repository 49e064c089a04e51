"""What a client is told when something is wrong, and what it is never told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response

from headwater.core.errors import Unavailable
from headwater.core.identity import Permission
from headwater.core.web import permitted
from headwater.server import guard, problems
from tests.flow.server.in_process import TestClient


def problem(answer: Response, status: int) -> dict[str, Any]:
    """Return the problem details that an answer holds, checked for their shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    told: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= set(told)
    assert told["status"] == status
    assert told["type"] == f"urn:headwater:error:{told['code']}"
    return told


def test_an_unknown_path_is_a_problem(admin: TestClient) -> None:
    assert problem(admin.get("/api/nothing"), 404)["code"] == "not_found"


def test_a_browser_gets_a_page_about_it_instead(browser: TestClient) -> None:
    answer = browser.get("/nothing")
    assert answer.status_code == 404
    assert "<h1>Nothing here</h1>" in answer.text


def test_without_a_token_the_answer_says_how_to_sign_in(anyone: TestClient) -> None:
    answer = anyone.get("/api/me")
    assert problem(answer, 401)["code"] == "identity.not_signed_in"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_wrong_method_names_the_right_ones(admin: TestClient) -> None:
    answer = admin.delete("/api/people")
    assert problem(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_options_are_answered(anyone: TestClient) -> None:
    answer = anyone.options("/api/people")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "GET, HEAD, OPTIONS, POST", b"")


def test_head_is_get_without_its_body(admin: TestClient) -> None:
    head, get = admin.head("/api/me"), admin.get("/api/me")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_everything_wrong_in_a_body_is_listed(admin: TestClient) -> None:
    told = problem(admin.post("/api/people", json={"name": "", "extra": 1}), 422)
    assert {one["where"] for one in told["errors"]} == {"body.name", "body.organisation", "body.extra"}


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 100_000, b'{"name": "\xff"}', b"\x00", b'{"name": NaN}'], ids=["cut", "deep", "no UTF-8", "NUL", "NaN"]
)
def test_a_body_that_is_no_json_is_refused(admin: TestClient, content: bytes) -> None:
    answer = admin.post("/api/people", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)


def test_a_body_announced_above_the_limit_is_not_read(admin: TestClient) -> None:
    told = problem(admin.post("/api/people", json={"name": "x" * 300_000}), 413)
    assert "200000 bytes" in told["detail"]


def test_a_body_that_grows_above_the_limit_is_cut_off_as_it_streams(admin: TestClient) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 50_000
            yield b"x" * 50_000

    problem(admin.post("/api/people", content=chunks(), headers={"content-type": "application/json"}), 413)


@pytest.mark.parametrize("path", ["/api/statements/%00", "/api/ledger?kind=%00", "/jobs/a%00b"])
def test_an_address_with_a_nul_is_refused(admin: TestClient, path: str) -> None:
    problem(admin.get(path), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer"},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer " + "x" * 8000},
        {"authorization": b"Bearer \xff\xfe"},
        {"cookie": "headwater_session=" + "x" * 4000 + "; headwater_language=../../etc"},
        {"cookie": b"\xff=\xff; ;;=;"},
        {"accept-language": "zh;q=x,en;q=,," + "," * 400},
        {"host": "evil.example"},
        {"x-forwarded-host": "evil.example", "x-forwarded-for": "::1"},
        {"content-length": "-1"},
        {"range": "bytes=0-0,0-0,0-0"},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_hostile_headers_open_nothing_and_break_nothing(app: FastAPI, headers: dict[str, Any]) -> None:
    stranger = TestClient(app, follow_redirects=False, headers=headers)
    assert stranger.get("/api/me").status_code == 401
    page = stranger.get("/sign-in")
    assert page.status_code == 200
    assert "evil.example" not in page.text


def test_every_answer_carries_the_security_headers(admin: TestClient, anyone: TestClient) -> None:
    for answer in (admin.get("/api/me"), anyone.get("/sign-in"), anyone.get("/api/nothing"), anyone.get("/static/live.js")):
        for name, value in guard.HEADERS.items():
            assert answer.headers[name] == value
    assert "unsafe-inline" not in guard.PAGE_POLICY


def test_a_fault_tells_nothing_but_a_reference_that_the_log_has(
    app: FastAPI, admin: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/api/broken", dependencies=[])
    def broken() -> None:
        raise RuntimeError("the password is swordfish")

    told = problem(admin.get("/api/broken"), 500)
    assert "swordfish" not in json.dumps(told)
    written = capsys.readouterr()
    assert told["reference"] in written.out + written.err
    page = admin.get("/api/broken", headers={"accept": "text/html"})
    assert "swordfish" not in page.text


def test_what_is_not_there_is_told_without_saying_where_it_should_be(app: FastAPI, admin: TestClient) -> None:
    @app.get("/api/gone")
    def gone() -> None:
        raise Unavailable("The database did not answer.", where="postgresql://db.internal/headwater")

    told = problem(admin.get("/api/gone"), 503)
    assert "internal" not in json.dumps(told)


def test_a_permission_says_who_has_it(app: FastAPI, token: Any) -> None:
    viewer = TestClient(app, headers={"authorization": f"Bearer {token('viewer')}"})
    told = problem(viewer.get("/api/people"), 403)
    assert "admin" in told["detail"]
    assert permitted(Permission.IDENTITY_MANAGE).permission in told["detail"]
