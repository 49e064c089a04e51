"""Time, from one place, so that a test or the digital twin can hold it.

Every time inside Headwater is timezone-aware UTC; people see their own zone at the edge.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a part of the platform gets its time."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is moved: for tests and replays."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def to_text(at: datetime) -> str:
    """Return a UTC time as RFC 3339 text with microseconds, which sorts as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Return the time that `to_text` (or any RFC 3339 writer) wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)
