"""How often one caller may ask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.core import pace
from headwater.core.pace import Pace


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


def test_callers_do_not_share_and_zero_bounds_nobody() -> None:
    bucket = Pace(1)
    assert [bucket.take("a", 0.0), bucket.take("b", 0.0)] == [0, 0]
    assert [Pace(0).take("a", 0.0) for _ in range(1000)] == [0] * 1000


def test_no_more_callers_are_remembered_than_there_is_room_for() -> None:
    bucket = Pace(1)
    for number in range(pace.MOST_CALLERS + 10):
        bucket.take(str(number), 0.0)
    assert len(bucket._left) == pace.MOST_CALLERS
