"""Serving: a real ONNX model answers, and stops when its evidence does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater.core import identity
from headwater.core.clock import FixedClock
from headwater.core.errors import BadInput, Broken, Conflict, GateClosed, LimitExceeded, NotFound, Refused
from headwater.core.identity import Actor, Grant
from headwater.core.platform import Platform
from headwater.core.statement import TRUST_GRADE
from headwater.core.tabular import Column
from headwater.models import publishing, serving
from headwater.models.example import example_row
from headwater.models.publishing import Publication
from headwater.models.serving import MOST_ROWS, Serving
from tests.flow.models.evidence_for_models import ROW, SIGNATURE, graded, issue, make_model, revoke, stored_model, vouch

CALLER = Actor(id="c1", name="caller", organisation="city", grants=(Grant(role="caller", scope="city"),))


def published(site: Platform, digest: str, *, job: str = "run-1") -> dict[str, str]:
    held = vouch(site, digest)
    wish = Publication(name="credit", digest=digest, risk_class="U1", organisation="city", actor="p1", job=f"{job}.publish")
    version = publishing.publish(site, wish)
    publishing.serve(site, "credit", job=f"{job}.serve", actor="p1", number=version.number)
    return held | {"publication": version.publication}


@pytest.fixture
def answering(site: Platform) -> Iterator[Serving]:
    with closing(Serving(site, threads=2)) as opened:
        yield opened


def test_the_served_version_answers_with_label_probabilities_digest_and_grades(site: Platform, answering: Serving, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    published(site, digest)
    told = answering.predict("credit", [ROW, ROW | {"purpose": "car"}], CALLER)
    logit = np.float64(0.02 * 30 + 0.001 * 1000 + 0.5)
    assert told.answers[0].probabilities == pytest.approx([1 / (1 + np.exp(-2 * logit)), 1 / (1 + np.exp(2 * logit))], abs=1e-5)
    assert told.answers[0].label == 0
    assert (told.version.digest, told.version.number, told.grades["overall"]) == (digest, 1, "B")
    assert sum(told.answers[1].probabilities) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"age": "old"}, "row 1, column 'age'"),
        (ROW | {"age": 17}, "row 1, column 'age'"),
        (ROW | {"age": float("nan")}, "row 1, column 'age'"),
        (ROW | {"purpose": "boat"}, "row 1, column 'purpose'"),
        ({"age": 30, "amount": 1.0}, "row 1: The column 'purpose' is missing"),
        (ROW | {"colour": "red"}, "row 1: Unknown column 'colour'"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column(
    site: Platform, answering: Serving, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    published(site, stored_model(site, tmp_path))
    with pytest.raises(BadInput, match=message):
        answering.predict("credit", [ROW, row], CALLER)


def test_none_and_too_many_rows_are_refused(site: Platform, answering: Serving, tmp_path: Path) -> None:
    published(site, stored_model(site, tmp_path))
    with pytest.raises(BadInput, match="no rows"):
        answering.predict("credit", [], CALLER)
    with pytest.raises(LimitExceeded):
        answering.predict("credit", [ROW] * (MOST_ROWS + 1), CALLER)
    assert len(answering.predict("credit", [ROW] * MOST_ROWS, CALLER).answers) == MOST_ROWS


def test_a_person_without_the_permission_in_that_organisation_gets_no_answer(site: Platform, answering: Serving, tmp_path: Path) -> None:
    published(site, stored_model(site, tmp_path))
    elsewhere = Actor(id="c2", name="other", organisation="city/x", grants=(Grant(role="caller", scope="city/x"),))
    with pytest.raises(Refused, match="may not models.predict in city"):
        answering.predict("credit", [ROW], elsewhere)


def test_what_is_unknown_or_not_served_says_so(site: Platform, answering: Serving, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        answering.predict("nothing", [ROW], CALLER)
    digest = stored_model(site, tmp_path)
    vouch(site, digest)
    publishing.publish(site, Publication(name="credit", digest=digest, risk_class="U1", organisation="city", actor="p", job="j"))
    with pytest.raises(Conflict, match="No version"):
        answering.predict("credit", [ROW], CALLER)


@pytest.mark.parametrize("kind", [TRUST_GRADE, "publication"])
def test_a_revocation_stops_the_answers_within_seconds_and_says_why(
    site: Platform, clock: FixedClock, answering: Serving, tmp_path: Path, kind: str
) -> None:
    held = published(site, stored_model(site, tmp_path))
    answering.predict("credit", [ROW], CALLER)
    revoke(site, held[kind], "a leak was found")
    clock.at += timedelta(seconds=serving.RECHECK_S)
    with pytest.raises(GateClosed, match="a leak was found"):
        answering.predict("credit", [ROW], CALLER)


def test_a_grade_that_expires_while_the_model_answers_stops_it(
    site: Platform, clock: FixedClock, answering: Serving, tmp_path: Path
) -> None:
    digest = stored_model(site, tmp_path)
    held = published(site, digest)
    issue(site, TRUST_GRADE, digest, graded(), expires_at=clock.now() + timedelta(hours=1))
    revoke(site, held[TRUST_GRADE])
    answering.predict("credit", [ROW], CALLER)
    clock.at += timedelta(hours=1)
    with pytest.raises(GateClosed, match="expired"):
        answering.predict("credit", [ROW], CALLER)


def test_a_worse_grade_stops_it_too(site: Platform, clock: FixedClock, answering: Serving, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    published(site, digest)
    clock.at += timedelta(seconds=10)
    issue(site, TRUST_GRADE, digest, graded({"privacy": "E"}))
    with pytest.raises(GateClosed, match="privacy is E"):
        answering.predict("credit", [ROW], CALLER)


def test_a_newly_served_version_takes_over_while_questions_come(
    site: Platform, clock: FixedClock, answering: Serving, tmp_path: Path
) -> None:
    published(site, stored_model(site, tmp_path))
    with ThreadPoolExecutor(4) as callers:
        before = [callers.submit(answering.predict, "credit", [ROW], CALLER) for _ in range(20)]
        published(site, stored_model(site, tmp_path, bias=-5.0), job="run-2")
        clock.at += timedelta(seconds=serving.RECHECK_S)
        later = [callers.submit(answering.predict, "credit", [ROW], CALLER) for _ in range(20)]
    assert {one.result().version.number for one in before} <= {1, 2}
    assert {(one.result().version.number, one.result().answers[0].label) for one in later} == {(2, 1)}


def test_only_the_last_used_models_stay_loaded(site: Platform, answering: Serving, tmp_path: Path) -> None:
    for bias in range(serving.MOST_SESSIONS + 2):
        answering.load(stored_model(site, tmp_path, bias=float(bias)))
    assert len(answering._loaded) == serving.MOST_SESSIONS


def test_a_damaged_model_is_broken_and_not_an_answer(site: Platform, answering: Serving, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "bad")
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(Broken, match="cannot load"):
        answering.load(site.store.put_tree(folder))


def test_a_model_that_takes_other_columns_than_its_signature_says_is_broken(site: Platform, answering: Serving, tmp_path: Path) -> None:
    short = SIGNATURE.model_copy(update={"columns": SIGNATURE.columns[:2]})
    with pytest.raises(Broken, match="as its signature says"):
        answering.load(site.store.put_tree(make_model(tmp_path / "bad", signature=short)))


def test_an_example_row_made_from_the_signature_is_accepted(site: Platform, answering: Serving, tmp_path: Path) -> None:
    odd = SIGNATURE.model_copy(update={"columns": (*SIGNATURE.columns, Column(name="x", type="integer", minimum=0.5, maximum=1.4))})
    assert odd.matrix([example_row(odd)]).shape == (1, 4)
    published(site, stored_model(site, tmp_path))
    administrator = site.found()
    with site.db.read() as connection:
        actor = identity.load_actor(connection, administrator, now=site.clock.now())
    assert answering.predict("credit", [example_row(answering.signature("credit"))], actor).answers
