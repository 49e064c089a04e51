"""What happens by the clock while a server runs, without anyone asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from headwater.core import ledger, platform, settings
from headwater.core.clock import FixedClock
from headwater.core.platform import Platform
from headwater.data.authorisation import grants
from headwater.server.housekeeping import Housekeeping
from tests.flow.data.authorisation.cases import dataset_of, desk_on, moment
from tests.flow.data.conftest import publishing_on


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(moment("2026-06-01T04:00:00+00:00"))


@pytest.fixture
def site(tmp_path: Path, clock: FixedClock) -> Iterator[Platform]:
    with platform.opened(settings.load(data_folder=tmp_path / "data"), clock=clock) as opened:
        opened.found()
        yield opened


@pytest.fixture
def kept(site: Platform) -> Iterator[None]:
    """Keep house every few milliseconds."""
    housekeeping = Housekeeping(site, every_s=0.02)
    housekeeping.start()
    yield
    housekeeping.stop()


def until(holds: Callable[[], bool]) -> None:
    last_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < last_s
        time.sleep(0.02)


def test_a_decided_case_becomes_a_grant_and_ends_with_its_term(site: Platform, clock: FixedClock, kept: None, tmp_path: Path) -> None:
    publishing_on(site, tmp_path)(openness="authorised", licence="terms-of-grant")
    desk = desk_on(site)
    desk.move(desk.move(desk.apply(dataset_of(site, "bus-stops")), "submit", desk.applicant), "grant", desk.officer)

    def grants_held() -> int:
        with site.db.read() as connection:
            return len(grants.listed(connection))

    def clocks_recorded() -> int:
        with site.db.read() as connection:
            return len(list(ledger.entries(connection, kind="case.overdue")))

    until(lambda: grants_held() == 1)
    clock.at += timedelta(days=400)
    until(lambda: clocks_recorded() > 0)
