"""The opening plan over both databases: entered, changed and cancelled with reasons that the ledger keeps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from headwater.core import ledger, platform, settings
from headwater.core.clock import FixedClock
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.platform import Platform
from headwater.data.catalogue import opening, publishing
from headwater.data.catalogue.opening import Promise
from tests.flow.data.authorisation.cases import dataset_of, moment
from tests.flow.data.conftest import description, publishing_on


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(moment("2026-03-02T04:00:00+00:00"))


@pytest.fixture
def site(tmp_path: Path, database_url: str, clock: FixedClock) -> Iterator[Platform]:
    with platform.opened(settings.load(data_folder=tmp_path / "data", database_url=database_url), clock=clock) as opened:
        opened.found()
        yield opened


def promised(day: str, revision: int = 0, reason: str = "plan of 2026") -> Promise:
    return Promise(due=date.fromisoformat(day), owner="city", rhythm="monthly", reason=reason, revision=revision)


def state(site: Platform) -> list[tuple[str, str, int]]:
    with site.db.read() as connection:
        return [
            (one.dataset.name, one.standing.state, one.standing.working_days_late) for one in opening.plan(connection, site.clock.now())
        ]


def test_a_commitment_grows_late_is_kept_and_falls_behind_as_time_goes(site: Platform, clock: FixedClock, tmp_path: Path) -> None:
    publishing.declare(site, description(), "city", actor="test")
    opening.commit(site, "bus-stops", promised("2026-03-07"), actor="planner")
    assert state(site) == [("bus-stops", "planned", 0)]
    clock.at = moment("2026-03-11T04:00:00+00:00")
    assert state(site) == [("bus-stops", "late", 2)]
    publishing_on(site, tmp_path)()
    assert state(site) == [("bus-stops", "open", 0)]
    clock.at = moment("2026-04-15T04:00:00+00:00")
    assert state(site) == [("bus-stops", "update_late", 2)]


def test_every_change_is_in_the_ledger_with_what_stood_before_and_why(site: Platform) -> None:
    publishing.declare(site, description(), "city", actor="test")
    opening.commit(site, "bus-stops", promised("2026-03-07"), actor="planner")
    opening.commit(site, "bus-stops", promised("2026-06-30", 1, "the source is late"), actor="planner")
    opening.cancel(site, "bus-stops", reason="merged into another", revision=2, actor="planner")
    with site.db.read() as connection:
        changes = opening.changes(connection, dataset_of(site, "bus-stops"))
        ledger.verify(connection)
    assert [one.kind for one in changes] == ["data.plan.committed", "data.plan.changed", "data.plan.cancelled"]
    assert [one.body["reason"] for one in changes] == ["plan of 2026", "the source is late", "merged into another"]
    assert [(one.body["before"] or {}).get("due") for one in changes] == [None, "2026-03-07", "2026-06-30"]
    assert changes[2].body["after"] is None
    assert state(site) == []


def test_a_change_without_a_reason_or_of_another_revision_is_refused(site: Platform) -> None:
    publishing.declare(site, description(), "city", actor="test")
    with pytest.raises(BadInput, match="needs a reason"):
        opening.commit(site, "bus-stops", promised("2026-03-07", reason="  "), actor="planner")
    opening.commit(site, "bus-stops", promised("2026-03-07"), actor="planner")
    with pytest.raises(Conflict, match="at revision 1, not 0"):
        opening.commit(site, "bus-stops", promised("2026-04-07"), actor="planner")
    with pytest.raises(NotFound, match="no organisation"):
        opening.commit(
            site, "bus-stops", Promise(due=date(2026, 5, 1), owner="nobody", rhythm="once", reason="x", revision=1), actor="planner"
        )
    with pytest.raises(NotFound, match="no data set"):
        opening.commit(site, "nothing", promised("2026-03-07"), actor="planner")
