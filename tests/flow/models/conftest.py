"""A platform whose clock the tests hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headwater.core import platform, settings
from headwater.core.clock import FixedClock
from headwater.core.platform import Platform

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> FixedClock:
    """Give a clock that stands at noon of 23 November 2026."""
    return FixedClock(NOW)


@pytest.fixture
def site(tmp_path: Path, clock: FixedClock) -> Iterator[Platform]:
    """Give an open platform over SQLite with the held clock."""
    with platform.opened(settings.load(data_folder=tmp_path / "data"), clock=clock) as opened:
        opened.found()
        yield opened
