"""A protected table of data that are not open answers others only under a grant, decided anew at every question."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.core import ledger, platform, settings
from headwater.core.clock import FixedClock
from headwater.core.errors import NotFound
from headwater.core.identity import Actor
from headwater.core.platform import Platform
from headwater.data.authorisation import grants
from headwater.data.catalogue.sets import DataSet
from headwater.data.privacy.protected import asking, budget, holding
from headwater.data.privacy.protected.asking import Asked, NotGranted
from headwater.data.privacy.protected.holding import Declared
from headwater.data.privacy.protected.questions import AggregateQuestion, PrivateQuestion
from headwater.data.privacy.protected.terms import Under
from tests.flow.data.authorisation.cases import OPERATOR, Desk, dataset_of, desk_on, moment
from tests.flow.data.conftest import publishing_on
from tests.flow.data.privacy.people_table import COLUMNS, frame

Ask = Callable[[Platform, Actor, Under | None], Asked]


def ask_exactly(site: Platform, actor: Actor, under: Under | None) -> Asked:
    return asking.ask_exact(site, actor, "people", AggregateQuestion(group_by=("sex",)), under)


def ask_with_noise(site: Platform, actor: Actor, under: Under | None) -> Asked:
    return asking.ask_private(site, actor, "people", PrivateQuestion(kind="count", epsilon=0.1), under)


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Platform]:
    clock = FixedClock(moment("2026-06-01T04:00:00+00:00"))
    with platform.opened(settings.load(data_folder=tmp_path / "data", database_url=database_url), clock=clock) as opened:
        opened.found()
        yield opened


@pytest.fixture
def desk(site: Platform) -> Desk:
    return desk_on(site)


@pytest.fixture
def dataset(site: Platform, tmp_path: Path, desk: Desk) -> DataSet:
    """Publish the people as data for authorised operation, protect them, and give the operator a budget."""
    data = io.BytesIO()
    frame().write_parquet(data)
    made = publishing_on(site, tmp_path)(data.getvalue(), file="people.parquet", openness="authorised", licence="terms-of-grant")
    declared = Declared.model_validate({"artifact": made.digest, "file": made.files[0].name, "columns": COLUMNS})
    holding.register(site, "people", "city", declared, actor=site.found())
    budget.give(site, "people", OPERATOR, epsilon=1.0, most_questions=10, reason="agreed", actor=site.found())
    return dataset_of(site, "bus-stops")


def used(site: Platform, number: str) -> int:
    with site.db.read() as connection:
        return grants.find(connection, number).used


@pytest.mark.parametrize("ask", [ask_exactly, ask_with_noise])
def test_a_question_needs_a_grant_for_its_purpose_and_counts_as_a_use_of_it(site: Platform, desk: Desk, dataset: DataSet, ask: Ask) -> None:
    grant, actor = desk.granted(dataset), desk.actor(desk.applicant)
    with pytest.raises(NotGranted, match="no grant is named"):
        ask(site, actor, None)
    with pytest.raises(NotGranted, match="the purpose 'marketing' is not granted"):
        ask(site, actor, Under(grant=grant.number, purpose="marketing", region="CN-BJ"))
    with pytest.raises(NotFound):
        ask(site, actor, Under(grant="HW-DA-0000-000000"))
    assert used(site, grant.number) == 0
    answered = ask(site, actor, Under(grant=grant.number, purpose="traffic_management", region="CN-BJ"))
    assert (answered.state, used(site, grant.number)) == ("answered", 1)
    with site.db.read() as connection:
        refused = [one for one in asking.listed(connection, "people") if one.state == "refused"]
        (allowed,) = ledger.entries(connection, kind="data.use.allowed")
    assert len(refused) == 2
    assert (allowed.body["table"], allowed.body["action"]) == ("people", "aggregate")


@pytest.mark.parametrize("ask", [ask_exactly, ask_with_noise])
def test_an_answer_given_before_is_not_given_again_when_the_grant_has_ended(site: Platform, desk: Desk, dataset: DataSet, ask: Ask) -> None:
    record = desk.move(desk.move(desk.apply(dataset), "submit", desk.applicant), "grant", desk.officer)
    grants.take_up(site)
    assert record.statement is not None
    under, actor = Under(grant=record.statement, purpose="traffic_management", region="CN-BJ"), desk.actor(desk.applicant)
    first = ask(site, actor, under)
    assert ask(site, actor, under).id == first.id
    desk.move(record, "revoke", desk.officer, "passed data on")
    with pytest.raises(NotGranted, match="revoked: passed data on"):
        ask(site, actor, under)


def test_the_datas_own_organisation_needs_no_grant(site: Platform, desk: Desk, dataset: DataSet) -> None:
    budget.give(site, "people", "city", epsilon=1.0, most_questions=10, reason="own", actor=site.found())
    assert ask_exactly(site, desk.actor(desk.officer), None).state == "answered"
