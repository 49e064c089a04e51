"""Periods: labels of years, quarters, months and days in the city's time, which tile the time line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.settlement.periods import PATTERN, day_of, month_of, period
from headwater.core.errors import BadInput


def test_a_month_begins_at_midnight_in_the_city() -> None:
    month = period("2026-11")
    assert month.since == datetime(2026, 10, 31, 16, tzinfo=UTC)
    assert month.until == datetime(2026, 11, 30, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        ("2026", ["2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4"]),
        ("2026-Q1", ["2026-01", "2026-02", "2026-03"]),
        ("2028-02", [f"2028-02-{day:02d}" for day in range(1, 30)]),
    ],
)
def test_parts_follow_one_another_and_fill_the_whole(whole: str, parts: list[str]) -> None:
    told = [period(part) for part in parts]
    assert [one.until for one in told[:-1]] == [one.since for one in told[1:]]
    assert (told[0].since, told[-1].until) == (period(whole).since, period(whole).until)


@given(st.integers(0, 3000 * 86_400_000_000).map(lambda us: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)))
def test_every_moment_lies_in_its_day_and_its_month(at: datetime) -> None:
    for one in (day_of(at), month_of(at)):
        assert one.since <= at < one.until
        assert re.fullmatch(PATTERN, one.label)


@pytest.mark.parametrize("label", ["", "26", "2026-13", "2026-Q5", "2026-02-30", "2026-11-26T00", "../../etc", "1999"])
def test_what_is_no_period_is_refused(label: str) -> None:
    with pytest.raises(BadInput, match="is no period"):
        period(label)
