"""Publishing: only what the evidence carries is admitted, and every reason is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from headwater.core import evidence, ledger, statement
from headwater.core.clock import FixedClock
from headwater.core.errors import BadInput, Conflict, GateClosed, NotFound, Refused
from headwater.core.platform import Platform
from headwater.core.statement import FILING, LINEAGE, PUBLICATION, TRUST_GRADE
from headwater.models import hub, publishing
from headwater.models.publishing import Publication
from tests.flow.models.evidence_for_models import claim, graded, issue, put_raw, revoke, stored_model, vouch


def wish(digest: str, **more: Any) -> Publication:
    told = {"name": "credit", "risk_class": "U1", "organisation": "city", "actor": "p1", "job": "run-1.publish"} | more
    return Publication(digest=digest, **told)


def refusal(site: Platform, digest: str, **more: Any) -> str:
    with pytest.raises(GateClosed) as found:
        publishing.publish(site, wish(digest, **more))
    with site.db.read() as connection:
        assert connection.execute(select(func.count()).select_from(hub.versions)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(hub.models)).scalar_one() == 0
        (entry,) = ledger.entries(connection, kind="model.refused", newest_first=True, limit=1)
        assert list(entry.body["reasons"]) == found.value.facts["reasons"]
    return str(found.value)


def test_a_model_with_all_its_evidence_is_admitted_with_a_signed_publication(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    held = vouch(site, digest)
    version = publishing.publish(site, wish(digest))
    assert (version.number, version.digest, version.grades["overall"]) == (1, digest, "B")
    assert version.statements == {"lineage": held[LINEAGE], "trust_grade": held[TRUST_GRADE], "filing": held[FILING]}
    with site.db.read() as connection:
        publication = evidence.get(connection, version.publication)
        told = evidence.check(connection, site.keyring, publication, now=site.clock.now(), artifact=digest)
        assert ledger.verify(connection).entries > 0
    assert told.predicate_type == PUBLICATION
    assert told.predicate["statements"] == version.statements


def test_everything_that_is_missing_is_named_at_once(site: Platform, tmp_path: Path) -> None:
    message = refusal(site, stored_model(site, tmp_path))
    for kind in ("lineage", "trust grade", "filing"):
        assert f"no valid {kind} statement about this model" in message


@pytest.mark.parametrize(("kind", "name"), [(LINEAGE, "lineage"), (TRUST_GRADE, "trust grade"), (FILING, "filing")])
def test_a_revoked_statement_does_not_count(site: Platform, tmp_path: Path, kind: str, name: str) -> None:
    digest = stored_model(site, tmp_path)
    held = vouch(site, digest)
    revoke(site, held[kind], "the data was wrong")
    message = refusal(site, digest)
    assert f"no valid {name} statement" in message
    assert "was revoked: the data was wrong" in message


def test_an_expired_grade_does_not_count(site: Platform, clock: FixedClock, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    held = vouch(site, digest)
    revoke(site, held[TRUST_GRADE])
    issue(site, TRUST_GRADE, digest, graded(), expires_at=clock.now() + timedelta(days=365))
    clock.at += timedelta(days=365)
    assert "expired on 2027-11-23" in refusal(site, digest)


def test_another_models_statements_do_not_count(site: Platform, tmp_path: Path) -> None:
    vouch(site, stored_model(site, tmp_path))
    assert "no valid trust grade statement about this model" in refusal(site, stored_model(site, tmp_path, bias=1.0))


def test_a_statement_moved_onto_another_model_in_the_database_does_not_count(site: Platform, tmp_path: Path) -> None:
    first, second = stored_model(site, tmp_path), stored_model(site, tmp_path, bias=1.0)
    vouch(site, first)
    table = evidence.subjects
    site.db.write(lambda connection: connection.execute(table.update().values(digest=statement.bare(second))))
    assert "is not about" in refusal(site, second)


def test_a_grade_altered_in_the_database_does_not_count(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest, {"fairness": "E"})
    with site.db.read() as connection:
        held = evidence.about(connection, digest, TRUST_GRADE)[0]
    forged = statement.Envelope(payload=held.envelope.payload.replace(b'"E"', b'"A"'), signatures=held.envelope.signatures)
    table = evidence.statements
    change = table.update().where(table.c.digest == held.digest).values(envelope=forged.to_json())
    site.db.write(lambda connection: connection.execute(change))
    assert "it was forged or altered" in refusal(site, digest)


def test_a_grade_signed_by_a_strangers_key_does_not_count(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    revoke(site, vouch(site, digest)[TRUST_GRADE])
    put_raw(site, statement.sign(claim(TRUST_GRADE, digest, graded({"stability": "A"}), site.clock.now()), Ed25519PrivateKey.generate()))
    assert "No trusted key signed this statement" in refusal(site, digest)


def test_a_grade_signed_by_the_office_that_trains_does_not_count(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    revoke(site, vouch(site, digest)[TRUST_GRADE])
    put_raw(site, statement.sign(claim(TRUST_GRADE, digest, graded({"stability": "A"}), site.clock.now()), site.keyring.signer(LINEAGE)))
    assert f"is not trusted to claim {TRUST_GRADE}" in refusal(site, digest)


def test_a_short_or_unmeasurable_grade_is_named_with_what_is_needed(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest, {"fairness": "E", "privacy": "N"})
    message = refusal(site, digest)
    assert "fairness is E; at least D is needed" in message
    assert "privacy is not measurable (N); at least D is needed" in message


def test_the_newest_grade_counts_and_not_the_best(site: Platform, clock: FixedClock, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest)
    clock.at += timedelta(minutes=1)
    issue(site, TRUST_GRADE, digest, graded({"stability": "E"}))
    assert "stability is E" in refusal(site, digest)


def test_a_declared_lower_minimum_is_accepted_for_minimal_risk_and_said_in_the_publication(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest, {"fairness": "E"})
    version = publishing.publish(site, wish(digest, declared={"fairness": "E"}))
    with site.db.read() as connection:
        told = evidence.get(connection, version.publication).statement.predicate
    assert told["declared"] == {"fairness": "E"}
    assert told["minimum"]["fairness"] == "E"
    assert told["grades"]["fairness"] == "E"


def test_publishing_the_same_again_changes_nothing(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest)
    first = publishing.publish(site, wish(digest))
    with site.db.read() as connection:
        before = ledger.verify(connection)
    assert publishing.publish(site, wish(digest)) == first
    assert publishing.publish(site, wish(digest, job="run-2.publish")) == first
    with site.db.read() as connection:
        assert ledger.verify(connection) == before


def test_other_terms_or_another_model_make_a_new_version(site: Platform, tmp_path: Path) -> None:
    first, second = stored_model(site, tmp_path), stored_model(site, tmp_path, bias=1.0)
    vouch(site, first)
    vouch(site, second)
    numbers = [
        publishing.publish(site, one).number
        for one in (
            wish(first),
            wish(second, job="run-2.publish"),
            wish(first, job="run-3.publish", declared={"fairness": "C"}),
        )
    ]
    assert numbers == [1, 2, 3]


def test_many_publishers_at_once_get_one_version_each(any_site: Platform, tmp_path: Path) -> None:
    digests = [stored_model(any_site, tmp_path, bias=float(number)) for number in range(6)]
    for digest in digests:
        vouch(any_site, digest)
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(publishing.publish, any_site, wish(digest, job=f"run-{number}")) for number, digest in enumerate(digests * 2)]
    assert sorted(one.result().number for one in jobs) == sorted([*range(1, 7), *range(1, 7)])


def test_a_body_below_the_owner_does_not_publish_in_its_name_and_one_above_may(site: Platform, tmp_path: Path) -> None:
    first, second = stored_model(site, tmp_path), stored_model(site, tmp_path, bias=2.0)
    vouch(site, first)
    vouch(site, second)
    publishing.publish(site, wish(first, organisation="city/haidian"))
    with pytest.raises(Refused, match="belongs to city/haidian"):
        publishing.publish(site, wish(second, organisation="city/haidian/lab", job="run-2.publish"))
    assert publishing.publish(site, wish(second, organisation="city", job="run-3.publish")).number == 2


def test_a_name_belongs_to_its_organisation(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest)
    publishing.publish(site, wish(digest, organisation="city/haidian"))
    with pytest.raises(Refused, match="belongs to city/haidian"):
        publishing.publish(site, wish(digest, organisation="city/chaoyang", job="run-2.publish"))


@pytest.mark.parametrize("name", ["", "A", "x", "credit/../../etc", "信用", "a" * 65, "-credit", "credit\n"])
def test_a_bad_name_is_refused(site: Platform, name: str) -> None:
    with pytest.raises(BadInput, match="is not a model's name"):
        publishing.publish(site, wish("sha256:" + "0" * 64 + "/", name=name))


def test_serving_picks_the_newest_version_and_is_keyed_by_the_job(site: Platform, tmp_path: Path) -> None:
    first, second = stored_model(site, tmp_path), stored_model(site, tmp_path, bias=1.0)
    for number, digest in enumerate((first, second), start=1):
        vouch(site, digest)
        publishing.publish(site, wish(digest, job=f"run-{number}.publish"))
    assert publishing.serve(site, "credit", job="run-1.serve", actor="p1", number=1).served == 1
    assert publishing.serve(site, "credit", job="run-2.serve", actor="p1").served == 2
    assert publishing.serve(site, "credit", job="run-1.serve", actor="p1", number=1).served == 2


def test_a_retired_version_is_gone_for_good_and_the_next_serve_takes_another(site: Platform, tmp_path: Path) -> None:
    first, second = stored_model(site, tmp_path), stored_model(site, tmp_path, bias=1.0)
    for number, digest in enumerate((first, second), start=1):
        vouch(site, digest)
        publishing.publish(site, wish(digest, job=f"run-{number}.publish"))
    publishing.serve(site, "credit", job="run-2.serve", actor="p1")
    assert publishing.retire(site, "credit", 2, reason="worse than it looked", actor="o1").served is None
    assert publishing.retire(site, "credit", 2, reason="again", actor="o1").version(2).retired_because == "worse than it looked"
    with pytest.raises(Conflict, match="worse than it looked"):
        publishing.serve(site, "credit", job="run-3.serve", actor="p1", number=2)
    assert publishing.serve(site, "credit", job="run-4.serve", actor="p1").served == 1
    again = publishing.publish(site, replace(wish(second), job="run-5.publish"))
    assert again.number == 3


def test_what_was_never_published_cannot_be_served(site: Platform) -> None:
    with pytest.raises(NotFound):
        publishing.serve(site, "credit", job="run-1.serve", actor="p1")


def test_a_version_whose_evidence_is_gone_cannot_be_served(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    held = vouch(site, digest)
    publishing.publish(site, wish(digest))
    revoke(site, held[FILING], "filed with false material")
    with pytest.raises(GateClosed, match="filed with false material"):
        publishing.serve(site, "credit", job="run-1.serve", actor="p1")
