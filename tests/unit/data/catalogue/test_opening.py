"""Who is late: computed from the commitment, the versions and the clock, in the city's working days."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from headwater.core.calendar import next_working_day, working_days_after
from headwater.data.catalogue.opening import Commitment, next_update, standing
from headwater.data.catalogue.sets import Rhythm


def promise(due: str, rhythm: Rhythm = "monthly") -> Commitment:
    return Commitment(
        dataset="d",
        due=date.fromisoformat(due),
        owner="city",
        rhythm=rhythm,
        revision=1,
        changed_by="x",
        changed_at=datetime(2026, 1, 1, tzinfo=UTC),
        reason="plan",
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "state", "late"),
    [
        ("2026-03-02T00:00:00+08:00", "planned", 0),
        ("2026-03-09T23:59:59+08:00", "planned", 0),  # due on Saturday the 7th, so on Monday the 9th
        ("2026-03-09T16:00:00+00:00", "late", 1),  # already Tuesday in the city
        ("2026-03-17T12:00:00+08:00", "late", 6),
    ],
)
def test_what_is_not_opened_by_the_working_day_of_its_promise_is_late(now: str, state: str, late: int) -> None:
    found = standing(promise("2026-03-07"), None, None, at(now))
    assert (found.state, found.working_days_late, found.next_due) == (state, late, date(2026, 3, 9))


def test_what_opened_late_stays_marked_and_is_then_held_to_its_rhythm() -> None:
    opened = at("2026-03-11T09:00:00+08:00")
    found = standing(promise("2026-03-07"), opened, opened, at("2026-03-20T09:00:00+08:00"))
    assert (found.state, found.working_days_opened_late, found.next_due) == (
        "open",
        2,
        date(2026, 4, 13),
    )  # the 11th of April is a Saturday
    later = standing(promise("2026-03-07"), opened, opened, at("2026-04-15T09:00:00+08:00"))
    assert (later.state, later.working_days_late) == ("update_late", 2)


def test_an_update_sets_the_next_one() -> None:
    first, second = at("2026-01-05T09:00:00+08:00"), at("2026-02-02T09:00:00+08:00")
    assert standing(promise("2026-01-31"), first, second, at("2026-03-02T09:00:00+08:00")).state == "open"
    assert standing(promise("2026-01-31"), first, first, at("2026-03-02T09:00:00+08:00")).state == "update_late"


@pytest.mark.parametrize("rhythm", ["irregular", "once"])
def test_without_a_rhythm_nothing_more_is_due(rhythm: Rhythm) -> None:
    opened = at("2026-01-05T09:00:00+08:00")
    found = standing(promise("2026-01-31", rhythm), opened, opened, at("2030-01-01T00:00:00+08:00"))
    assert (found.state, found.next_due) == ("open", None)


@pytest.mark.parametrize(
    ("rhythm", "last", "due"),
    [
        ("daily", "2026-02-13", "2026-02-14"),  # a Saturday that the notice makes a working day
        ("weekly", "2026-03-02", "2026-03-09"),
        ("monthly", "2026-01-31", "2026-02-28"),  # a Saturday that the notice makes a working day
        ("quarterly", "2026-01-05", "2026-04-07"),  # the 5th is Qingming, the 6th its day off
        ("yearly", "2025-03-03", "2026-03-03"),
    ],
)
def test_each_rhythm_gives_the_next_working_day(rhythm: Rhythm, last: str, due: str) -> None:
    assert next_update(rhythm, date.fromisoformat(last)) == date.fromisoformat(due)


def test_a_due_date_beyond_the_published_years_is_provisional() -> None:
    assert standing(promise("2035-03-05"), None, None, at("2026-03-02T00:00:00+08:00")).provisional
    assert not standing(promise("2026-03-05"), None, None, at("2026-03-02T00:00:00+08:00")).provisional


def test_working_days_are_counted_after_the_first_and_with_the_last_day() -> None:
    assert working_days_after(date(2026, 3, 6), date(2026, 3, 9)) == 1
    assert working_days_after(date(2026, 3, 9), date(2026, 3, 6)) == 0
    assert next_working_day(date(2026, 10, 1)) == date(2026, 10, 8)
