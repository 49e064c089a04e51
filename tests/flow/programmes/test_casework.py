"""Cases in a real database: one transaction each, versions, effects, and the filing step."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headwater.core import evidence, identity, ledger
from headwater.core.clock import FixedClock
from headwater.core.errors import BadInput, Broken, Conflict, GateClosed, NotFound
from headwater.core.identity import Actor, Grant
from headwater.core.platform import Platform
from headwater.core.statement import FILING, TRUST_GRADE
from headwater.core.steps import Task
from headwater.programmes import cases, casework, engine, register, steps
from headwater.programmes.casework import NewCase
from headwater.programmes.definition import from_json, named
from headwater.programmes.engine import Move, Party
from tests.flow.models.evidence_for_models import graded, issue, revoke

MODEL, REPORT = "sha256:" + "a" * 64 + "/", "sha256:" + "b" * 64 + "/"
PROCEDURE = named("algorithm-filing")
PROVIDER = Party(id="p1", roles=frozenset({"provider"}))
OFFICER = Party(id="o1", roles=frozenset({"officer"}))
GIVEN = {
    "provider_name": "Example provider",
    "service_form": "interface",
    "field_of_use": "teaching",
    "algorithm_name": "credit",
    "algorithm_type": "ranking_selection",
    "content_to_publish": "what it does",
}
FIELDS = GIVEN | {"self_assessment_report": REPORT, "model": MODEL}


def new(fields: dict[str, Any] | None = None, *, job: str | None = None) -> NewCase:
    given = FIELDS if fields is None else fields
    return NewCase(definition=PROCEDURE, organisation="city", fields=given, who=PROVIDER, job=job)


def move(site: Platform, record: cases.Record, transition: str, who: Party = PROVIDER, *reasons: str) -> cases.Record:
    wish = Move(transition=transition, who=who, at=site.clock.now(), reasons=reasons)
    return casework.decide(site, record.id, wish, version=record.case.version)


def filed(site: Platform, *, job: str | None = None) -> cases.Record:
    return casework.file_at_once(site, new(job=job), submit="submit")


def kept(site: Platform) -> tuple[int, int]:
    with site.db.read() as connection:
        return len(cases.listed(connection, scopes=["city"])), ledger.verify(connection).entries


def test_a_filed_case_has_a_number_a_statement_and_a_record_that_says_what_it_is_not(site: Platform) -> None:
    issue(site, TRUST_GRADE, MODEL, graded())
    record = filed(site)
    assert (record.case.state, record.case.number) == ("filed", "HW-DEMO-AF-2026-000001")
    with site.db.read() as connection:
        held, _ = evidence.valid(connection, site.keyring, MODEL, FILING, now=site.clock.now())
    assert held is not None
    assert held.digest == record.statement
    told = held.statement.predicate
    assert (told["decision"], told["decidedBy"], told["demonstration"]) == ("filed", "rule:completeness_rule", True)
    assert "not an endorsement" in told["notice"]["en"]
    assert register.public_record(record)["number"] == "HW-DEMO-AF-2026-000001"


def test_a_form_with_gaps_leaves_nothing_and_names_them_all(site: Platform) -> None:
    before = kept(site)
    with pytest.raises(GateClosed) as found:
        casework.file_at_once(site, new({"provider_name": "Example"}), submit="submit")
    for name in (*(name for name in FIELDS if name != "provider_name"), "trust grade"):
        assert name in str(found.value)
    assert kept(site) == before


def test_without_a_valid_grade_there_is_no_filing(site: Platform) -> None:
    revoke(site, issue(site, TRUST_GRADE, MODEL, graded()))
    with pytest.raises(GateClosed, match="no valid statement of a trust grade about 'model'"):
        filed(site)


def test_the_same_job_files_once_and_another_gets_the_next_number(site: Platform) -> None:
    issue(site, TRUST_GRADE, MODEL, graded())
    first = filed(site, job="run-1.file")
    before = kept(site)
    assert filed(site, job="run-1.file") == first
    assert kept(site) == before
    assert filed(site, job="run-2.file").case.number == "HW-DEMO-AF-2026-000002"


def test_many_at_once_get_different_numbers(any_site: Platform) -> None:
    issue(any_site, TRUST_GRADE, MODEL, graded())
    with ThreadPoolExecutor(8) as pool:
        numbers = [str(one) for one in pool.map(lambda n: filed(any_site, job=f"run-{n}.file").case.number, range(16))]
    assert sorted(one[-6:] for one in numbers) == [f"{n:06d}" for n in range(1, 17)]


def test_a_case_is_the_fold_of_its_stored_events(site: Platform) -> None:
    issue(site, TRUST_GRADE, MODEL, graded())
    record = filed(site)
    with site.db.read() as connection:
        events = cases.events(connection, record.id)
        row = connection.execute(cases.cases.select()).one()
    assert [one.kind for one in events] == ["opened", "moved", "moved", "numbered"]
    assert engine.fold(PROCEDURE, events) == record.case
    assert (row.state, row.number, row.version) == (record.case.state, record.case.number, record.case.version)


def test_a_writer_who_comes_too_late_is_refused_and_changes_nothing(site: Platform) -> None:
    record = casework.open_case(site, new({"provider_name": "Example"}))
    casework.fill(site, record.id, {"field_of_use": "teaching"}, PROVIDER, version=record.case.version)
    before = kept(site)
    with pytest.raises(Conflict, match="at version 2, not 1"):
        casework.fill(site, record.id, {"field_of_use": "other"}, PROVIDER, version=record.case.version)
    assert kept(site) == before


def test_of_many_writers_at_once_one_wins(any_site: Platform) -> None:
    record = casework.open_case(any_site, new({"provider_name": "Example"}))

    def write(use: str) -> bool:
        try:
            casework.fill(any_site, record.id, {"field_of_use": use}, PROVIDER, version=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, "abcdefgh")) == 1


def test_an_officer_refuses_with_reasons_and_no_statement_is_issued(site: Platform) -> None:
    issue(site, TRUST_GRADE, MODEL, graded())
    record = move(site, casework.open_case(site, new()), "submit")
    record = move(site, record, "refuse", OFFICER, "the scope is unclear")
    assert (record.case.state, record.case.number, record.statement) == ("not_filed", None, None)


def test_a_change_keeps_the_number_and_replaces_the_statement(site: Platform, clock: FixedClock) -> None:
    issue(site, TRUST_GRADE, MODEL, graded())
    first = filed(site)
    clock.at += timedelta(days=1)
    record = move(site, first, "report_change", PROVIDER, "a wider field of use")
    record = casework.fill(site, record.id, {"field_of_use": "more teaching"}, PROVIDER, version=record.case.version)
    record = move(site, record, "submit")
    record = casework.check(site, record.id, version=record.case.version)
    assert record.case.number == first.case.number
    with site.db.read() as connection:
        held, _ = evidence.valid(connection, site.keyring, MODEL, FILING, now=site.clock.now())
    assert held is not None
    assert held.digest == record.statement != first.statement
    assert held.statement.predicate["fields"]["field_of_use"] == "more teaching"


def test_a_withdrawn_filing_ends_its_statement_with_the_reason(site: Platform) -> None:
    issue(site, TRUST_GRADE, MODEL, graded())
    record = move(site, filed(site), "revoke", OFFICER, "false material")
    assert (record.case.state, record.statement) == ("revoked", None)
    with site.db.read() as connection:
        held, reasons = evidence.valid(connection, site.keyring, MODEL, FILING, now=site.clock.now())
    assert held is None
    assert "was revoked: false material" in reasons[0]


def test_a_clock_that_has_run_out_is_recorded_once(site: Platform, clock: FixedClock) -> None:
    clock.at = datetime(2026, 1, 20, 4, 0, tzinfo=UTC)
    issue(site, TRUST_GRADE, MODEL, graded())
    record = move(site, casework.open_case(site, new()), "submit")
    assert casework.record_overdue(site) == 0
    clock.at += timedelta(days=90)
    assert casework.record_overdue(site) == 1
    assert casework.record_overdue(site) == 0
    with site.db.read() as connection:
        assert cases.get(connection, record.id).case.overdue == {"decide"}
        assert [entry.body["clock"] for entry in ledger.entries(connection, kind="case.overdue")] == ["decide"]


def test_a_clock_may_make_an_automatic_transition(site: Platform, clock: FixedClock) -> None:
    told = deepcopy(PROCEDURE.as_json())
    told["id"] = "lapsing-filing"
    told["roles"]["clockwork"] = {"title": {"zh": "时限规则", "en": "clockwork"}, "automatic": True}
    lapse = {"from": ["draft"], "to": "withdrawn", "by": "clockwork", "title": {"zh": "失效", "en": "lapse"}}
    told["transitions"]["lapse"] = lapse
    told["clocks"]["lapse"] = {"state": "draft", "limit": 1, "unit": "months", "action": "lapse", "source": "house rule"}
    procedure = from_json(told)
    lapsing = NewCase(definition=procedure, organisation="city", fields={}, who=PROVIDER)
    record = casework.open_case(site, lapsing)
    clock.at += timedelta(days=40)
    assert casework.record_overdue(site) == 1
    with site.db.read() as connection:
        assert cases.get(connection, record.id).case.state == "withdrawn"


def test_an_old_case_is_read_under_the_definition_that_it_began_under(site: Platform) -> None:
    told = deepcopy(PROCEDURE.as_json())
    told["version"] = "2020-01-01"
    told["fields"]["fax"] = {"type": "text", "required": True, "title": {"zh": "传真", "en": "fax number"}}
    older = from_json(told)
    issue(site, TRUST_GRADE, MODEL, graded())
    record = casework.open_case(site, NewCase(definition=older, organisation="city", fields=FIELDS, who=PROVIDER))
    with pytest.raises(GateClosed, match="fax"):
        move(site, record, "submit")
    assert filed(site).case.definition == PROCEDURE.digest


def test_lists_show_only_the_organisations_in_scope(site: Platform) -> None:
    site.db.write(lambda connection: identity.add_organisation(connection, "city/haidian", "Haidian", actor="system", at=site.clock.now()))
    casework.open_case(site, new({}))
    casework.open_case(site, NewCase(definition=PROCEDURE, organisation="city/haidian", fields={}, who=PROVIDER))
    with site.db.read() as connection:
        assert len(cases.listed(connection, scopes=["city"])) == 2
        assert len(cases.listed(connection, scopes=["city/haidian"])) == 1
        assert cases.listed(connection, scopes=[]) == ()


def test_roles_in_a_case_follow_from_permissions_in_its_organisation() -> None:
    both = Actor(
        id="x", name="x", organisation="city", grants=(Grant(role="developer", scope="city"), Grant(role="officer", scope="city/a"))
    )
    assert cases.party(both, PROCEDURE, "city").roles == {"provider"}
    assert cases.party(both, PROCEDURE, "city/a").roles == {"provider", "officer"}


def test_a_case_for_an_unknown_organisation_is_not_opened(site: Platform) -> None:
    with pytest.raises(NotFound, match="no organisation moon"):
        casework.open_case(site, NewCase(definition=PROCEDURE, organisation="moon", fields={}, who=PROVIDER))


def task(site: Platform, folder: Path, **params: Any) -> Task:
    return Task(
        step="programmes.file",
        params=steps.FileParams(**params),
        folder=folder,
        inputs={"model": folder / "model", "report": folder / "report"},
        digests={"model": MODEL, "report": REPORT},
        job="run-1.file",
        actor="p1",
        organisation="city",
        platform=site,
    )


def test_the_step_files_the_model_and_writes_the_public_record(site: Platform, tmp_path: Path) -> None:
    issue(site, TRUST_GRADE, MODEL, graded() | {"report": REPORT})
    one = task(site, tmp_path, fields=GIVEN)
    steps.file.run(one)
    record = json.loads(one.outputs["record"].read_text(encoding="utf-8"))
    assert (record["state"], record["number"], record["fields"]["model"]) == ("filed", "HW-DEMO-AF-2026-000001", MODEL)
    assert record["fields"]["self_assessment_report"] == REPORT
    again = task(site, tmp_path / "again", fields=GIVEN)
    steps.file.run(again)
    assert again.outputs["record"].read_bytes() == one.outputs["record"].read_bytes()


def test_the_step_refuses_a_report_that_the_trust_grade_does_not_name(site: Platform, tmp_path: Path) -> None:
    issue(site, TRUST_GRADE, MODEL, graded() | {"report": "sha256:" + "c" * 64 + "/"})
    with pytest.raises(GateClosed, match="is not the one of the model's trust grade"):
        steps.file.run(task(site, tmp_path, fields=GIVEN))


def test_the_step_takes_the_model_from_its_input_alone(site: Platform, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="taken from the step's input"):
        steps.file.run(task(site, tmp_path, fields=GIVEN | {"model": REPORT}))


def test_a_kept_definition_that_was_altered_is_found_out(site: Platform) -> None:
    record = casework.open_case(site, new({}))
    table = cases.procedures
    told = deepcopy(PROCEDURE.as_json())
    told["clocks"]["decide"]["limit"] = 300
    site.db.write(lambda connection: connection.execute(table.update().values(body=json.dumps(told))))
    with site.db.read() as connection, pytest.raises(Broken, match="was altered"):
        cases.get(connection, record.id)
