"""From an application to a grant, to each use decided and counted, to its end: over the real procedure, ledger and statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headwater.core import ledger, platform, settings
from headwater.core.clock import FixedClock
from headwater.core.errors import Refused
from headwater.core.platform import Platform
from headwater.data.authorisation import disclosure, grants
from headwater.data.authorisation.decision import Use
from headwater.data.catalogue.sets import DataSet
from headwater.programmes import casework
from tests.flow.data.authorisation.cases import OPERATOR, Desk, dataset_of, desk_on, moment
from tests.flow.data.conftest import publishing_on

IN_TERM = Use(action="read", organisation=OPERATOR, purpose="traffic_management", region="CN-BJ")


@pytest.fixture
def clock() -> FixedClock:
    """Give a clock that stands in the middle of the term."""
    return FixedClock(moment("2026-06-01T04:00:00+00:00"))


@pytest.fixture
def site(tmp_path: Path, database_url: str, clock: FixedClock) -> Iterator[Platform]:
    """Give a platform over each database in turn, with the held clock."""
    with platform.opened(settings.load(data_folder=tmp_path / "data", database_url=database_url), clock=clock) as opened:
        opened.found()
        yield opened


@pytest.fixture
def desk(site: Platform) -> Desk:
    return desk_on(site)


@pytest.fixture
def dataset(site: Platform, tmp_path: Path) -> DataSet:
    publishing_on(site, tmp_path)(openness="authorised", licence="terms-of-grant")
    return dataset_of(site, "bus-stops")


def recorded(site: Platform, kind: str) -> list[ledger.Entry]:
    with site.db.read() as connection:
        return list(ledger.entries(connection, kind=kind))


def test_a_granted_case_becomes_a_grant_with_its_terms_and_is_taken_up_once(site: Platform, desk: Desk, dataset: DataSet) -> None:
    grant = desk.granted(dataset)
    assert (grant.number, grant.dataset, grant.grantee, grant.problem) == ("HW-DA-2026-000001", dataset.id, OPERATOR, None)
    policy = grant.policy
    assert (policy.actions, policy.count, policy.fee_ceiling_fen, policy.onward_sharing) == (("read", "aggregate"), 5, 1000, False)
    assert policy.ends_at == moment("2027-01-01T00:00:00+08:00")
    assert grants.take_up(site) == 0
    assert len(recorded(site, "data.grant.taken_up")) == 1


def test_each_use_is_decided_counted_and_recorded_with_its_reason(site: Platform, desk: Desk, dataset: DataSet) -> None:
    grant = desk.granted(dataset, uses=1)
    first = grants.use(site, grant.number, dataset, IN_TERM, actor="someone", about={"version": 1})
    second = grants.use(site, grant.number, dataset, IN_TERM, actor="someone")
    assert first.allowed
    assert not second.allowed
    assert "all 1 uses are spent" in second.because
    (allowed,), (refused,) = recorded(site, "data.use.allowed"), recorded(site, "data.use.refused")
    assert (allowed.body["purpose"], allowed.body["version"], allowed.body["count"]) == ("traffic_management", 1, 1)
    assert "spent" in refused.body["because"]


def test_many_who_ask_at_once_never_get_more_uses_than_were_granted(site: Platform, desk: Desk, dataset: DataSet) -> None:
    grant = desk.granted(dataset, uses=7)
    with ThreadPoolExecutor(8) as pool:
        decisions = list(pool.map(lambda _: grants.use(site, grant.number, dataset, IN_TERM, actor="someone").allowed, range(24)))
    assert Counter(decisions) == {True: 7, False: 17}
    with site.db.read() as connection:
        held = grants.find(connection, grant.number)
        ledger.verify(connection)
    assert (held.used, held.refused) == (7, 17)
    assert len(recorded(site, "data.use.allowed")) == 7


def test_a_revoked_case_ends_its_grant_at_the_next_use(site: Platform, desk: Desk, dataset: DataSet) -> None:
    record = desk.move(desk.move(desk.apply(dataset), "submit", desk.applicant), "grant", desk.officer)
    grants.take_up(site)
    assert grants.use(site, str(record.statement), dataset, IN_TERM, actor="someone").allowed
    desk.move(record, "revoke", desk.officer, "passed data on")
    decision = grants.use(site, str(record.statement), dataset, IN_TERM, actor="someone")
    assert not decision.allowed
    assert "revoked: passed data on" in decision.because
    with pytest.raises(Refused, match="passed data on"):
        grants.require(site, str(record.statement), dataset, IN_TERM, actor="someone")


def test_a_term_that_ends_ends_the_grant_and_closes_the_case(site: Platform, desk: Desk, dataset: DataSet, clock: FixedClock) -> None:
    grant = desk.granted(dataset)
    clock.at = moment("2026-12-31T23:59:59+08:00")
    assert grants.use(site, grant.number, dataset, IN_TERM, actor="someone").allowed
    clock.at = moment("2027-01-01T00:00:00+08:00")
    assert "the term ended" in grants.use(site, grant.number, dataset, IN_TERM, actor="someone").because
    assert casework.record_overdue(site) == 1
    assert "revoked" in grants.use(site, grant.number, dataset, IN_TERM, actor="someone").because


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"purposes": "advertising"}, "takes the purposes"),
        ({"uses": -1}, "greater than or equal to 0"),
        ({"dataset": "nothing-of-the-kind"}, "there is no data set"),
        ({"resource": "sha256:" + "a" * 64}, "not about the identity"),
    ],
)
def test_a_grant_that_goes_beyond_its_zone_or_data_set_allows_nothing(
    site: Platform, desk: Desk, dataset: DataSet, more: dict[str, object], problem: str
) -> None:
    grant = desk.granted(dataset, **more)
    assert problem in str(grant.problem)
    decision = grants.use(site, grant.number, dataset, IN_TERM, actor="someone")
    assert not decision.allowed
    assert recorded(site, "data.grant.taken_up") == []


def test_the_applicant_cannot_grant_their_own_application(desk: Desk, dataset: DataSet) -> None:
    record = desk.move(desk.apply(dataset), "submit", desk.applicant)
    with pytest.raises(Refused, match="for the role 'officer'"):
        desk.move(record, "grant", desk.applicant)


def test_the_disclosure_of_a_year_names_its_grants_and_leaves_out_those_that_ended_before(
    site: Platform, desk: Desk, dataset: DataSet, clock: FixedClock
) -> None:
    grant = desk.granted(dataset)
    grants.use(site, grant.number, dataset, IN_TERM, actor="someone")
    clock.at = moment("2027-06-01T00:00:00+08:00")
    with site.db.read() as connection:
        years = {year: disclosure.of(connection, year) for year in (2025, 2026, 2027)}
    assert [len(one["implementing_bodies"]) for one in years.values()] == [0, 1, 0]
    (line,) = years[2026]["implementing_bodies"][0]["authorisations"]
    assert (line["number"], line["dataset"], line["uses_allowed"], line["standing_at_year_end"]) == (grant.number, "bus-stops", 1, "ended")
    assert years[2026]["ledger"]["entries"] == years[2027]["ledger"]["entries"] > years[2025]["ledger"]["entries"] == 0
