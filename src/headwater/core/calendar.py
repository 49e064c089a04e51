"""Legal time limits: due dates in working days, calendar days or months, for mainland China.

Days are counted in the city's own time (UTC+8, no summer time). The day on which a limit starts is
not counted. Working days include the weekend days that the yearly notice makes into working days;
they come from the package `holidays`. A notice covers one year and is published late in the year
before: a due date past the last published year is *provisional* and is computed again once the
notice is loaded.
"""

from __future__ import annotations

import calendar as months
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Literal

from headwater.core.errors import BadInput

if TYPE_CHECKING:
    from holidays import HolidayBase

CITY_TIME = timezone(timedelta(hours=8), "UTC+8")
FIRST_YEAR = 2001
"""The first year for which the package knows the days that were moved."""

Unit = Literal["working_days", "calendar_days", "months"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When a limit ends: the last day on which it is kept, and whether that day may still move."""

    day: date
    provisional: bool

    @property
    def ends_at(self) -> datetime:
        """The first moment after the limit."""
        return datetime.combine(self.day + timedelta(days=1), time(), CITY_TIME)


def local_day(at: datetime) -> date:
    """Return the day that a time falls on in the city."""
    return at.astimezone(CITY_TIME).date()


def due(start: date, limit: int, unit: Unit) -> Due:
    """Return the last day of a limit that starts on `start`. Raises BadInput for a day outside the known years."""
    if limit < 0:
        raise BadInput(f"A limit of {limit} {unit} is not a limit.", "Give 0 or more.")
    match unit:
        case "working_days":
            day = add_working_days(start, limit)
        case "calendar_days":
            day = start + timedelta(days=limit)
        case "months":
            day = add_months(start, limit)
    return Due(day=day, provisional=unit == "working_days" and day.year > published_through())


def add_working_days(start: date, count: int) -> date:
    """Return the `count`-th working day after `start`, which itself is not counted; `start` where count is 0."""
    if start.year < FIRST_YEAR:
        raise BadInput(f"Working days are known from {FIRST_YEAR} on, not for {start}.", "Give a later day.")
    day = start
    while count:
        day += timedelta(days=1)
        count -= is_working_day(day)
    return day


def is_working_day(day: date) -> bool:
    """Tell whether people work on that day, by the published notice or, past it, by the law's general rule."""
    return bool(_china().is_working_day(day))


def next_working_day(day: date) -> date:
    """Return the day itself where people work on it, else the next on which they do."""
    while not is_working_day(day):
        day += timedelta(days=1)
    return day


def working_days_after(start: date, end: date) -> int:
    """Return how many working days there are after `start` and up to `end`, which counts; 0 where `end` is not later."""
    return sum(is_working_day(start + timedelta(days=number)) for number in range(1, (end - start).days + 1))


def add_months(start: date, count: int) -> date:
    """Return the same day `count` months on, or that month's last day where it has none."""
    year, month = divmod(start.year * 12 + start.month - 1 + count, 12)
    return date(year, month + 1, min(start.day, months.monthrange(year, month + 1)[1]))


@cache
def published_through() -> int:
    """Return the last year whose notice is loaded."""
    from holidays.countries.china import ChinaStaticHolidays

    return max(ChinaStaticHolidays.special_public_holidays)


@cache
def _china() -> HolidayBase:
    from holidays import country_holidays

    # A notice can make a December weekend before its own year into working days, so all are loaded together.
    return country_holidays("CN", years=range(FIRST_YEAR, published_through() + 2))
