"""How often one caller may ask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.core import pace
from headwater.core.pace import Backoff, Pace


@given(st.integers(1, 60), st.lists(st.floats(0, 30), min_size=1, max_size=80))
def test_no_minute_holds_more_than_a_full_bucket_and_what_flows_in(per_minute: int, waits: list[float]) -> None:
    bucket, now_s, let_in = Pace(per_minute), 0.0, []
    for wait in waits:
        now_s += wait
        if bucket.take("a", now_s) == 0:
            let_in.append(now_s)
    for first in let_in:
        assert sum(first <= one < first + 60 for one in let_in) <= 2 * per_minute


def test_who_waits_as_told_is_let_in() -> None:
    bucket = Pace(2)
    assert [bucket.take("a", 0.0), bucket.take("a", 0.0)] == [0, 0]
    wait_s = bucket.take("a", 0.0)
    assert 0 < wait_s <= 30
    assert bucket.take("a", wait_s + 0.001) == 0


def test_what_costs_more_takes_more_and_never_more_than_there_can_be() -> None:
    bucket = Pace(10)
    assert [bucket.take("a", 0.0, 4), bucket.take("a", 0.0, 4)] == [0, 0]
    wait_s = bucket.take("a", 0.0, 4)
    assert wait_s == 2 * 60 / 10
    assert bucket.take("a", wait_s + 0.001, 4) == 0
    assert Pace(3).take("b", 0.0, 100) == 0


def test_callers_do_not_share_and_zero_bounds_nobody() -> None:
    bucket = Pace(1)
    assert [bucket.take("a", 0.0), bucket.take("b", 0.0)] == [0, 0]
    assert [Pace(0).take("a", 0.0) for _ in range(1000)] == [0] * 1000


def test_no_more_callers_are_remembered_than_there_is_room_for() -> None:
    bucket = Pace(1)
    for number in range(pace.MOST_CALLERS + 10):
        bucket.take(str(number), 0.0)
    assert len(bucket._left) == pace.MOST_CALLERS


def test_failures_beyond_the_free_ones_double_the_wait_up_to_a_quarter_of_an_hour() -> None:
    backoff, now_s, waits = Backoff(), 0.0, []
    for _ in range(16):
        assert backoff.attempt({"a": 3}, now_s) == 0
        waits.append(backoff.attempt({"a": 3}, now_s) if len(waits) >= 2 else backoff.attempt({"other": 99}, now_s))
        now_s += waits[-1]
    assert waits[:6] == [0, 0, 1, 2, 4, 8]
    assert waits[-1] == pace.LONGEST_WAIT_S


def test_success_forgets_an_accounts_failures_but_only_its_own_attempt_of_the_address() -> None:
    backoff = Backoff()
    for _ in range(4):
        backoff.attempt({"account": 5, "address": 6}, 0.0)
    backoff.attempt({"account": 5, "address": 6}, 0.0)
    backoff.succeeded("account", "address")
    assert backoff.attempt({"address": 6}, 0.0) == 0
    assert backoff.attempt({"address": 6}, 0.0) == 0
    assert backoff.attempt({"address": 6}, 0.0) > 0
    assert backoff.attempt({"account": 1}, 0.0) == 0


def test_failures_are_forgotten_after_an_hour() -> None:
    backoff = Backoff()
    for _ in range(3):
        backoff.attempt({"a": 3}, 0.0)
    assert backoff.attempt({"a": 3}, pace.FORGET_S + 1) == 0
    assert backoff.attempt({"a": 3}, pace.FORGET_S + 1) == 0
