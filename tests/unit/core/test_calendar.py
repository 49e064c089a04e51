"""Working days and other legal limits, against a slow and obvious count."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.calendar import add_working_days, due, is_working_day, local_day, published_through
from headwater.core.errors import BadInput

# The State Council's notices of days off and make-up days, from the published tables for 2025 and 2026.
OFF_2026 = [
    ("2026-01-01", "2026-01-03"), ("2026-02-15", "2026-02-23"), ("2026-04-04", "2026-04-06"),
    ("2026-05-01", "2026-05-05"), ("2026-06-19", "2026-06-21"), ("2026-09-25", "2026-09-27"), ("2026-10-01", "2026-10-07"),
]  # fmt: skip
MAKE_UP_2026 = {"2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"}


def obvious(day: date) -> bool:
    """Tell whether 2026's notice makes this a working day."""
    text = day.isoformat()
    if text in MAKE_UP_2026:
        return True
    return day.weekday() < 5 and not any(first <= text <= last for first, last in OFF_2026)


def test_every_day_of_2026_is_as_the_notice_says() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    assert [day for day in days if is_working_day(day) != obvious(day)] == []


def test_thirty_working_days_from_20_january_2026_end_on_9_march() -> None:
    assert due(date(2026, 1, 20), 30, "working_days").day == date(2026, 3, 9)


@given(st.dates(date(2026, 1, 1), date(2026, 10, 1)), st.integers(0, 50))
def test_working_days_equal_a_slow_count(start: date, count: int) -> None:
    day, left = start, count
    while left:
        day += timedelta(days=1)
        if obvious(day):
            left -= 1
    assert add_working_days(start, count) == day


@given(st.dates(date(2002, 1, 1), date(2026, 6, 1)), st.integers(0, 40), st.integers(0, 40))
def test_limits_add_up_and_a_longer_one_never_ends_earlier(start: date, first: int, second: int) -> None:
    assert add_working_days(add_working_days(start, first), second) == add_working_days(start, first + second)


def test_a_day_past_the_published_years_is_provisional() -> None:
    end = date(published_through(), 12, 31)
    assert due(end, 5, "working_days").provisional
    assert not due(date(published_through(), 1, 5), 5, "working_days").provisional
    assert not due(end, 5, "calendar_days").provisional


def test_a_december_day_moved_by_the_next_years_notice_counts() -> None:
    assert is_working_day(date(2001, 12, 29))


def test_months_end_on_the_same_day_or_the_months_last() -> None:
    assert due(date(2026, 1, 31), 1, "months").day == date(2026, 2, 28)
    assert due(date(2026, 12, 15), 12, "months").day == date(2027, 12, 15)


def test_the_day_begins_at_midnight_in_the_city() -> None:
    assert local_day(datetime(2026, 1, 19, 16, 0, tzinfo=UTC)) == date(2026, 1, 20)
    assert local_day(datetime(2026, 1, 19, 15, 59, tzinfo=UTC)) == date(2026, 1, 19)
    assert due(date(2026, 1, 20), 1, "calendar_days").ends_at.astimezone(UTC) == datetime(2026, 1, 21, 16, tzinfo=UTC)


@pytest.mark.parametrize(("start", "limit"), [(date(1999, 1, 1), 3), (date(2026, 1, 1), -1)])
def test_what_cannot_be_counted_is_refused(start: date, limit: int) -> None:
    with pytest.raises(BadInput):
        due(start, limit, "working_days")
