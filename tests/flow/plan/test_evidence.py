"""The plan over a real ledger: clauses fill with evidence, indicators are recomputed and never typed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from sqlalchemy import Connection

from headwater.core import evidence as statements
from headwater.core import identity, ledger
from headwater.core.platform import Platform
from headwater.core.statement import LINEAGE, PUBLICATION, TRUST_GRADE
from headwater.plan import evidence
from headwater.plan.indicators import Reading
from headwater.plan.plan import load, read
from tests.flow.models.evidence_for_models import issue, revoke

FIRST, SECOND = "sha256:" + "a" * 64 + "/", "sha256:" + "b" * 64 + "/"


def state(site: Platform, clause: str) -> evidence.ClauseState:
    return evidence.overview(site).clause(clause)


def reading(site: Platform, name: str) -> Reading:
    return next(one for clause in evidence.overview(site).clauses for one in clause.indicators if one.indicator.id == name)


def test_an_empty_platform_shows_every_clause_and_claims_nothing(site: Platform) -> None:
    overview = evidence.overview(site)
    assert len(overview.clauses) == 34
    assert overview.counts()["clauses"]["evidenced"] == 0
    assert overview.counts()["indicators"] == {"met": 0, "not_met": 0, "measured": 4, "unlinked": 33}
    assert {one.value for clause in overview.clauses for one in clause.indicators if one.state == "unlinked"} == {None}
    assert all(one.reason for clause in overview.clauses for one in clause.indicators)


def test_a_signed_grade_is_evidence_for_trustworthy_ai_and_for_regulation(site: Platform) -> None:
    assert state(site, "T03").state == "awaited"
    digest = issue(site, TRUST_GRADE, FIRST, {"overall": "C"})
    for clause in ("T03", "T15"):
        found = state(site, clause)
        assert found.state == "evidenced"
        assert digest in {item.name for source in found.sources for item in source.latest}
    assert state(site, "T04").state == "unlinked"


def test_lineage_is_sorted_to_clauses_by_the_step_that_made_it(site: Platform) -> None:
    issue(site, LINEAGE, FIRST, {"step": "framework.train", "engine": "local"})
    issue(site, LINEAGE, SECOND, {"step": "data.prepare", "engine": "local"})
    counts = {name: sum(one.count for one in state(site, name).sources) for name in ("T02", "T05", "T07", "II.2")}
    assert counts == {"T02": 1, "T05": 1, "T07": 1, "II.2": 2}


def test_ledger_entries_are_counted_and_the_newest_are_named(site: Platform) -> None:
    now = site.clock.now()

    def work(connection: Connection) -> None:
        for number in range(7):
            ledger.append(connection, "job.done", subject=f"j{number}", actor=identity.SYSTEM, at=now)

    site.db.write(work)
    done = next(one for one in state(site, "T06").sources if one.source.ledger == "job.done")
    assert (done.count, len(done.latest), done.latest[0].about) == (7, evidence.LATEST, ("j6",))


def test_a_revoked_statement_is_set_aside_and_stops_counting(site: Platform) -> None:
    kept = issue(site, TRUST_GRADE, FIRST, {"overall": "C"})
    ended = issue(site, TRUST_GRADE, SECOND, {"overall": "B"})
    assert reading(site, "M07").value == 2
    revoke(site, ended)
    found = reading(site, "M07")
    assert (found.value, found.inputs) == (1, (kept,))
    source = next(one for one in state(site, "T03").sources if one.source.statements == TRUST_GRADE)
    assert (source.count, source.set_aside) == (1, 1)


def test_an_altered_statement_is_set_aside(site: Platform) -> None:
    digest = issue(site, TRUST_GRADE, FIRST, {"overall": "C"})
    table = statements.statements
    with site.db.read() as connection:
        payload = statements.get(connection, digest).envelope
    forged = replace(payload, payload=payload.payload.replace(b'"C"', b'"A"')).to_json()
    site.db.write(lambda connection: connection.execute(table.update().values(envelope=forged)))
    assert reading(site, "M07").value == 0


def test_equal_evidence_gives_an_equal_figure_with_equal_lineage(site: Platform) -> None:
    issue(site, PUBLICATION, FIRST, {"name": "credit"})
    first = reading(site, "M05")
    assert reading(site, "M05") == first
    issue(site, PUBLICATION, SECOND, {"name": "credit"})
    second = reading(site, "M05")
    assert (first.value, second.value) == (1, 1)
    assert first.lineage != second.lineage


def test_a_reached_target_without_an_owner_is_measured_and_not_met(site: Platform, tmp_path: Path) -> None:
    issue(site, PUBLICATION, FIRST, {"name": "credit"})
    found = reading(site, "M05")
    assert (found.state, found.reached, found.missing) == ("measured", True, ("owner",))
    told = load().model_dump(mode="json", by_alias=True)
    for one in told["indicators"]:
        one["owner"] = "task_force" if one["query"] else ""
    owned = read(yaml.safe_dump(told, allow_unicode=True))
    with site.db.read() as connection:
        overview = evidence.overview_of(connection, site.keyring, owned, now=site.clock.now())
    states = {one.indicator.id: one.state for clause in overview.clauses for one in clause.indicators}
    assert (states["M05"], states["M03"], states["Q1"]) == ("met", "not_met", "unlinked")


def test_the_overview_names_the_moment_of_the_ledger(site: Platform) -> None:
    overview = evidence.overview(site)
    with site.db.read() as connection:
        verified = ledger.verify(connection)
    assert (overview.entries, overview.head) == (verified.entries, verified.head)
