"""The console's page of parallel plans, and the routes behind it."""

from __future__ import annotations

import pytest

from tests.flow.server.in_process import TestClient


def test_the_page_compares_plans_in_both_languages_and_says_why_not(browser: TestClient) -> None:
    for lang, words in (("en", ("Where the time goes", "Matrix products")), ("zh", ("时间去向", "矩阵乘"))):
        answer = browser.get(f"/parallel?model=llama-3-8b&fleet=8xA100-80&why=dp8+zero0&lang={lang}")
        assert answer.status_code == 200
        assert all(word in answer.text for word in words)
        assert answer.text.count("<progress ") == 5
        assert "GiB more than the 80 there are" in answer.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("model=llama-3-8b&fleet=8xQ9", "No chip"),
        ("model=none&fleet=8xA100-80", "No model"),
        ("model=llama-3-8b&fleet=8xA100-80&batch=many", "many"),
        ("model=llama-3-8b&fleet=65536xA100-80", "this server plans up to"),
        ("model=/etc/passwd.json&fleet=8xA100-80", "No model"),
    ],
)
def test_what_is_wrong_is_said_on_the_page(browser: TestClient, query: str, said: str) -> None:
    answer = browser.get(f"/parallel?{query}")
    assert answer.status_code == 422
    assert said in answer.text
    assert 'role="alert"' in answer.text


def test_the_route_answers_with_plans_and_refuses_with_problem_details(admin: TestClient) -> None:
    told = admin.get("/api/parallel/plans", params={"model": "llama-3-8b", "fleet": "8xA100-80", "top": 2, "why": "tp3"}).json()
    assert len(told["plans"]) == 2
    assert any("heads do not divide" in reason for reason in told["why_not"]["reasons"])
    wrong = admin.get("/api/parallel/plans", params={"model": "llama-3-70b", "fleet": "2xA100-40"})
    assert wrong.status_code == 422
    assert "GiB a chip" in wrong.json()["detail"]
    large = admin.get("/api/parallel/plans", params={"model": "llama-3-70b", "fleet": "100000xA100-40"})
    assert large.status_code == 413


def test_the_route_writes_a_plan_for_a_tool(admin: TestClient) -> None:
    told = admin.get("/api/parallel/plans/accelerate", params={"model": "llama-3-8b", "fleet": "8xA100-80"}).json()
    assert told["tool"] == "accelerate"
    assert "distributed_type: FSDP" in told["text"]
    assert admin.get("/api/parallel/plans/none", params={"model": "llama-3-8b", "fleet": "8xA100-80"}).status_code == 404
