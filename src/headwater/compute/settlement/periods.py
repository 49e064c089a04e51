"""Periods of settlement, by label: a year `2026`, a quarter `2026-Q4`, a month `2026-11`, a day `2026-11-26`, in the city's time. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from headwater.core.calendar import CITY_TIME, add_months, local_day
from headwater.core.errors import BadInput

LABEL = re.compile(r"(?P<year>20[0-9]{2})(?:-(?:Q(?P<quarter>[1-4])|(?P<month>0[1-9]|1[0-2])(?:-(?P<day>[0-3][0-9]))?))?")
PATTERN = r"^20[0-9]{2}(-(Q[1-4]|(0[1-9]|1[0-2])(-[0-3][0-9])?))?$"
"""For the web's edge; a day that its month does not have is refused by `period`."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Period:
    """From `since` until before `until`."""

    since: datetime
    until: datetime
    label: str


def period(label: str) -> Period:
    """Return the period of a label. Raises BadInput."""
    found = LABEL.fullmatch(label)
    if found is None:
        raise _unknown(label)
    year, quarter, month, day = (int(part) if part else 0 for part in found.group("year", "quarter", "month", "day"))
    first = (quarter - 1) * 3 + 1 if quarter else month or 1
    try:
        start = date(year, first, day or 1)
    except ValueError as error:
        raise _unknown(label) from error
    end = start + timedelta(days=1) if day else add_months(start, 3 if quarter else 1 if month else 12)
    return Period(since=_midnight(start), until=_midnight(end), label=label)


def month_of(at: datetime) -> Period:
    """Return the month that a moment falls in."""
    return period(local_day(at).strftime("%Y-%m"))


def day_of(at: datetime) -> Period:
    """Return the day that a moment falls in."""
    return period(local_day(at).isoformat())


def between(first: str | None, last: str | None, now: datetime) -> Period:
    """Return the time from one day to another, both counted; from this month's first, up to today, where they are left out."""
    whole = Period(since=month_of(now).since, until=day_of(now).until, label="")
    since = whole.since if first is None else period(first).since
    until = whole.until if last is None else period(last).until
    if until <= since:
        raise BadInput(f"The time from {first} to {last} is empty.", "Let it end after it begins.")
    label = f"{local_day(since)} to {local_day(until - timedelta(microseconds=1))}"
    return Period(since=since, until=until, label=label)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), CITY_TIME)


def _unknown(label: str) -> BadInput:
    return BadInput(f"'{label[:40]}' is no period.", "Write a year 2026, a quarter 2026-Q4, a month 2026-11, or a day 2026-11-26.")
