"""The rooms' routes through the real application: permissions, answers, refusals."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from headwater.core import identity
from headwater.core.platform import Platform
from headwater.core.statement import FILING, TRUST_GRADE
from headwater.models import publishing
from headwater.models.publishing import Publication
from headwater.server.app import create_app
from tests.flow.models.evidence_for_models import ROW, graded, issue, revoke, stored_model, vouch

GIVEN = {
    "provider_name": "Example provider",
    "service_form": "interface",
    "field_of_use": "teaching",
    "algorithm_name": "credit",
    "algorithm_type": "ranking_selection",
    "content_to_publish": "what it does",
    "self_assessment_report": "sha256:" + "b" * 64 + "/",
    "model": "sha256:" + "a" * 64 + "/",
}


def token(site: Platform, role: str) -> str:
    now = site.clock.now()

    def work(connection: Any) -> str:
        person = identity.add_person(connection, role, "city", actor="system", at=now)
        identity.grant(connection, person, role, "city", reason="test", actor="system", at=now)
        return identity.issue_token(connection, person, kind="api", label="test", lasts=timedelta(hours=1), at=now)

    return site.db.write(work)


@pytest.fixture
def web(site: Platform) -> Iterator[httpx.Client]:
    """Give a client of the real application, served on a free port of the loopback address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(site), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with httpx.Client(base_url=address, trust_env=False, transport=httpx.HTTPTransport(retries=3), timeout=30) as client:
        yield client
    server.should_exit = True
    thread.join()
    listener.close()


def as_role(site: Platform, role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(site, role)}"}


@pytest.fixture
def answering(site: Platform, tmp_path: Path) -> dict[str, str]:
    digest = stored_model(site, tmp_path)
    held = vouch(site, digest)
    publishing.publish(site, Publication(name="credit", digest=digest, risk_class="U1", organisation="city", actor="p", job="r.publish"))
    publishing.serve(site, "credit", job="r.serve", actor="p")
    return held | {"digest": digest}


def test_a_caller_asks_the_model_by_its_address(site: Platform, web: httpx.Client, answering: dict[str, str]) -> None:
    headers = as_role(site, "caller")
    told = web.post("/models/credit/predict", json={"rows": [ROW]}, headers=headers).json()
    assert (told["model"], told["version"], told["digest"], told["grades"]["overall"]) == ("credit", 1, answering["digest"], "B")
    assert told["predictions"][0]["label"] == 0
    assert set(told["predictions"][0]["probabilities"]) == {"0", "1"}
    assert web.get("/api/models", headers=headers).status_code == 403


def test_a_viewer_sees_the_model_with_a_row_to_try_and_may_not_ask_it(site: Platform, web: httpx.Client, answering: dict[str, str]) -> None:
    headers = as_role(site, "viewer")
    told = web.get("/api/models/credit", headers=headers).json()
    assert (told["served"], told["closed_because"], len(told["example_rows"])) == (1, "", 1)
    assert [column["name"] for column in told["signature"]["columns"]] == list(ROW)
    assert web.post("/models/credit/predict", json={"rows": told["example_rows"]}, headers=headers).status_code == 403
    assert web.post("/models/credit/predict", json={"rows": told["example_rows"]}).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"rows": []}, 422, "rows"),
        ({"rows": [ROW | {"age": "x"}]}, 422, "row 0, column 'age'"),
        ({"rows": [1]}, 422, "rows"),
        ({}, 422, "rows"),
        ({"rows": [ROW] * 1001}, 422, "rows"),
    ],
)
def test_a_bad_question_is_told_what_is_wrong(
    site: Platform, web: httpx.Client, answering: dict[str, str], body: Any, status: int, part: str
) -> None:
    answer = web.post("/models/credit/predict", json=body, headers=as_role(site, "caller"))
    assert answer.status_code == status
    assert part in answer.text


def test_a_revoked_grade_is_a_refusal_with_its_reason(site: Platform, web: httpx.Client, answering: dict[str, str]) -> None:
    revoke(site, answering[TRUST_GRADE], "leak found")
    answer = web.post("/models/credit/predict", json={"rows": [ROW]}, headers=as_role(site, "caller"))
    assert (answer.status_code, answer.json()["code"]) == (403, "gate_closed")
    assert "leak found" in answer.json()["detail"]
    standing = web.get("/api/models/credit/versions/1/standing", headers=as_role(site, "viewer")).json()
    assert standing["allowed"] is False
    assert "leak found" in standing["reasons"][0]


def test_an_operator_retires_a_version_and_it_stops_at_once(site: Platform, web: httpx.Client, answering: dict[str, str]) -> None:
    caller, operator = as_role(site, "caller"), as_role(site, "operator")
    assert web.post("/models/credit/predict", json={"rows": [ROW]}, headers=caller).status_code == 200
    assert web.post("/api/models/credit/versions/1/retire", json={"reason": "old"}, headers=caller).status_code == 403
    assert web.post("/api/models/credit/versions/1/retire", json={"reason": "old"}, headers=operator).json()["served"] is None
    assert web.post("/models/credit/predict", json={"rows": [ROW]}, headers=caller).status_code == 409
    assert web.post("/api/models/credit/serve", json={"version": 1}, headers=operator).status_code == 409


def test_a_case_goes_from_draft_to_filed_over_http_by_two_people(site: Platform, web: httpx.Client) -> None:
    developer, officer = as_role(site, "developer"), as_role(site, "officer")
    gaps = {name: value for name, value in GIVEN.items() if name != "algorithm_type"}
    opened = web.post("/api/cases", json={"procedure": "algorithm-filing", "fields": gaps}, headers=developer)
    assert opened.status_code == 201
    case, version = opened.json()["id"], opened.json()["version"]
    refused = web.post(f"/api/cases/{case}/moves", json={"version": version, "transition": "submit"}, headers=developer)
    assert refused.status_code == 403
    assert "algorithm_type" in refused.json()["detail"]
    assert "trust grade" in refused.json()["detail"]
    detail = web.get(f"/api/cases/{case}", headers=developer).json()
    assert len(detail["missing"]) == 2
    assert "submit" in detail["possible"]
    issue(site, TRUST_GRADE, GIVEN["model"], graded())
    filled = web.post(
        f"/api/cases/{case}/fields", json={"version": version, "fields": {"algorithm_type": "ranking_selection"}}, headers=developer
    ).json()
    submitted = web.post(f"/api/cases/{case}/moves", json={"version": filled["version"], "transition": "submit"}, headers=developer).json()
    assert (submitted["state"], submitted["clocks"][0]["clock"]) == ("submitted", "decide")
    checked = web.post(f"/api/cases/{case}/check", json={"version": submitted["version"]}, headers=officer).json()
    assert (checked["state"], checked["number"]) == ("filed", "HW-DEMO-AF-2026-000001")
    public = web.get(f"/api/cases/{case}/record", headers=as_role(site, "viewer")).json()
    assert "not an endorsement" in public["notice"]["en"]
    assert [one["id"] for one in web.get("/api/cases", headers=officer).json()] == [case]


def test_a_viewer_can_neither_open_nor_move_a_case(site: Platform, web: httpx.Client) -> None:
    headers = as_role(site, "viewer")
    assert web.post("/api/cases", json={"procedure": "algorithm-filing", "fields": GIVEN}, headers=headers).status_code == 403
    opened = web.post("/api/cases", json={"procedure": "algorithm-filing"}, headers=as_role(site, "developer")).json()
    moved = web.post(f"/api/cases/{opened['id']}/moves", json={"version": 1, "transition": "withdraw"}, headers=headers)
    assert moved.status_code == 403


def test_the_plan_is_read_with_its_evidence(site: Platform, web: httpx.Client) -> None:
    headers = as_role(site, "viewer")
    issue(site, FILING, GIVEN["model"], {"decision": "filed"})
    told = web.get("/api/plan", headers=headers).json()
    assert (told["id"], len(told["clauses"]), told["counts"]["clauses"]["evidenced"]) == ("bj-ai-2023", 34, 1)
    assert web.get("/api/plan/clauses/T15", headers=headers).json()["state"] == "evidenced"
    assert web.get("/api/plan/clauses/II.1", headers=headers).json()["state"] == "unlinked"
    assert web.get("/api/plan/clauses/T99", headers=headers).status_code == 404
    assert len(web.get("/api/plan/indicators", headers=headers).json()) == 37
    assert web.get("/api/plan").status_code == 401
