"""One use weighed against its terms: allowed only where every bound holds, and each that does not is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.authorisation.decision import Usage, Use, decide
from headwater.data.authorisation.policy import Policy

START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Policy(
    uid="urn:x:1",
    dataset="d",
    assigner="city",
    assignee="city/lab",
    actions=("aggregate",),
    purposes=("research",),
    starts_at=START,
    ends_at=START + timedelta(days=10),
    count=3,
    regions=("CN-BJ",),
    fee_ceiling_fen=100,
)
FITTING = Use(action="aggregate", organisation="city/lab/team", purpose="research", region="CN-BJ", price_fen=100)


def test_a_use_within_every_bound_is_allowed_and_says_what_remains() -> None:
    decision = decide(TERMS, FITTING, Usage(count=2), START)
    assert decision.allowed
    assert decision.because == "urn:x:1 allows aggregate: use 3 of 3, until 2026-01-11T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"action": "read"}, "'read' is not permitted, only aggregate"),
        ({"organisation": "city/labour"}, "city/labour is not among those who may use it"),
        ({"organisation": "city"}, "city is not among"),
        ({"purpose": "advertising"}, "the purpose 'advertising' is not granted, only research"),
        ({"purpose": None}, "the purpose is not stated"),
        ({"region": "CN-SH"}, "the region 'CN-SH' is not granted"),
        ({"region": None}, "the region is not stated"),
        ({"price_fen": 101}, "the price of 101 fen is above the ceiling of 100"),
        ({"onward": True}, "may not be passed on"),
    ],
)
def test_each_bound_that_is_broken_refuses_and_is_named(change: dict[str, Any], because: str) -> None:
    decision = decide(TERMS, replace(FITTING, **change), Usage(count=0), START)
    assert not decision.allowed
    assert because in decision.because


@pytest.mark.parametrize(("after", "allowed"), [(-1e-6, False), (0, True), (10 * 86400 - 1e-6, True), (10 * 86400, False)])
def test_the_term_holds_its_first_moment_and_not_the_one_after_its_last(after: float, allowed: bool) -> None:
    assert decide(TERMS, FITTING, Usage(count=0), START + timedelta(seconds=after)).allowed is allowed


@given(st.integers(0, 10), st.integers(0, 10))
def test_a_count_allows_exactly_that_many(bound: int, used: int) -> None:
    assert decide(replace(TERMS, count=bound), FITTING, Usage(count=used), START).allowed is (used < bound)


def test_every_reason_is_given_at_once() -> None:
    decision = decide(TERMS, replace(FITTING, action="read", onward=True), Usage(count=3), START - timedelta(days=1))
    assert decision.because.count(";") == 3
