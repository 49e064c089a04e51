"""The hub's gate: closed unless everything is there, and monotone in the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.models import gate
from headwater.models.gate import Found, Looked, Request
from headwater.models.policy import RISK_ORDER, Grade, read, shipped

POLICY = shipped()
MODEL = "sha256:" + "a" * 64 + "/"
GRADES: tuple[Grade, ...] = ("A", "B", "C", "D", "E", "N")


def evidence(letters: dict[str, str] | None = None, *, use: str = "U4", signatures: int = 2) -> dict[str, Looked]:
    told = dict.fromkeys(POLICY.dimensions, "A") | (letters or {})
    trust = {"useClass": use, "overall": max(told.values()), "dimensions": {name: {"grade": one} for name, one in told.items()}}
    predicates: dict[str, dict[str, Any]] = {"lineage": {}, "trust_grade": trust, "filing": {"decision": "filed"}}
    return {name: Looked(found=Found(digest="sha256:" + name, predicate=one, signatures=signatures)) for name, one in predicates.items()}


def ask(risk: Any = "U1", **declared: Any) -> Request:
    return Request(model=MODEL, risk_class=risk, declared=declared)


@pytest.mark.parametrize("risk", RISK_ORDER[1:])
def test_the_best_evidence_opens_the_gate_for_every_class_but_the_prohibited(risk: Any) -> None:
    decision = gate.decide(evidence(), POLICY, ask(risk))
    assert decision.allowed
    assert decision.reasons == ()
    assert set(decision.statements) == {"lineage", "trust_grade", "filing"}


def test_a_prohibited_use_is_denied_whatever_the_evidence_and_the_declaration() -> None:
    decision = gate.decide(evidence(), POLICY, ask("U0", fairness="N"))
    assert not decision.allowed
    assert "prohibited" in decision.reasons[0]


def test_no_evidence_at_all_names_every_statement() -> None:
    decision = gate.decide({}, POLICY, ask())
    assert not decision.allowed
    assert [reason.split(" statement")[0] for reason in decision.reasons] == ["no valid lineage", "no valid trust grade", "no valid filing"]


def test_why_other_statements_were_passed_over_is_said() -> None:
    held = evidence() | {"filing": Looked(passed_over=("it expired", "it was revoked: false material"))}
    assert "it was revoked: false material" in gate.decide(held, POLICY, ask()).reasons[0]


@pytest.mark.parametrize(
    ("risk", "minimum"),
    [
        ("U1", {"stability": "D", "fairness": "D", "explainability": "D"}),
        ("U2", {"stability": "C", "fairness": "C", "explainability": "C"}),
        ("U3", {"stability": "B", "fairness": "B", "explainability": "C"}),
        ("U4", {"stability": "B", "fairness": "A", "explainability": "B"}),
    ],
)
def test_each_class_has_the_minimum_grades_of_the_scheme(risk: Any, minimum: dict[str, str]) -> None:
    held = gate.minimum_of(POLICY, ask(risk))
    assert {name: held[name] for name in minimum} == minimum


def test_the_stricter_minimum_holds_except_that_minimal_risk_may_declare_less() -> None:
    assert gate.minimum_of(POLICY, ask("U2", fairness="E"))["fairness"] == "C"
    assert gate.minimum_of(POLICY, ask("U2", fairness="A"))["fairness"] == "A"
    assert gate.minimum_of(POLICY, ask("U1", fairness="E"))["fairness"] == "E"
    assert gate.minimum_of(POLICY, ask("U1", fairness="A"))["fairness"] == "A"
    assert gate.minimum_of(POLICY, ask("U1", overall="C"))["overall"] == "C"


@pytest.mark.parametrize("risk", RISK_ORDER[1:])
def test_not_measurable_denies_unless_minimal_risk_says_so_for_that_dimension(risk: Any) -> None:
    assert not gate.decide(evidence({"privacy": "N"}), POLICY, ask(risk)).allowed
    assert not gate.decide(evidence({"privacy": "N"}), POLICY, ask(risk, privacy="E")).allowed
    assert gate.decide(evidence({"privacy": "N"}), POLICY, ask(risk, privacy="N")).allowed is (risk == "U1")


def test_a_grade_for_a_milder_use_does_not_carry_a_stricter_one() -> None:
    decision = gate.decide(evidence(use="U1"), POLICY, ask("U2"))
    assert "milder than U2" in decision.reasons[0]
    assert gate.decide(evidence(use="U3"), POLICY, ask("U2")).allowed


def test_rights_and_safety_need_two_signatures_on_the_grade() -> None:
    assert "2" in gate.decide(evidence(signatures=1), POLICY, ask("U3")).reasons[0]
    assert gate.decide(evidence(signatures=1), POLICY, ask("U2")).allowed


def test_a_filing_that_was_refused_is_no_filing() -> None:
    held = evidence()
    found = held["filing"].found
    assert found is not None
    held["filing"] = Looked(found=replace(found, predicate={"decision": "not_filed"}))
    assert "'not_filed'" in gate.decide(held, POLICY, ask()).reasons[0]


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"dimensions": "all good"},
        {"dimensions": {"fairness": "A"}},
        {"dimensions": {"fairness": {"grade": "AB"}}},
        {"dimensions": {"fairness": {"grade": None}}},
        {"dimensions": {"fairness": {"grade": ""}}},
        {"useClass": "U9", "dimensions": {}},
        {"useClass": ["U1"], "dimensions": []},
    ],
)
def test_a_grade_that_cannot_be_read_denies(predicate: dict[str, Any]) -> None:
    held = evidence() | {"trust_grade": Looked(found=Found(digest="sha256:x", predicate=predicate, signatures=2))}
    decision = gate.decide(held, POLICY, ask())
    assert not decision.allowed
    assert any("fairness" in reason for reason in decision.reasons)


def test_a_minimum_for_something_that_is_not_graded_denies() -> None:
    assert "'beauty'" in gate.decide(evidence(), POLICY, ask(beauty="A")).reasons[0]


letters = st.fixed_dictionaries({name: st.sampled_from(GRADES) for name in POLICY.dimensions})
declarations = st.dictionaries(st.sampled_from(POLICY.dimensions), st.sampled_from(GRADES))


@given(letters, declarations, st.sampled_from(RISK_ORDER[1:]), st.sampled_from(POLICY.dimensions))
def test_a_worse_grade_never_opens_the_gate(told: dict[str, Any], declared: dict[str, Grade], risk: Any, dimension: str) -> None:
    request = Request(model=MODEL, risk_class=risk, declared=declared)
    worse = told | {dimension: GRADES[min(GRADES.index(told[dimension]) + 1, len(GRADES) - 1)]}
    if gate.decide(evidence(worse), POLICY, request).allowed:
        assert gate.decide(evidence(told), POLICY, request).allowed


@given(letters, declarations, st.sampled_from(RISK_ORDER[1:]), st.sampled_from(["lineage", "trust_grade", "filing"]))
def test_nothing_opens_without_each_statement(told: dict[str, Any], declared: dict[str, Grade], risk: Any, absent: str) -> None:
    held = evidence(told)
    del held[absent]
    assert not gate.decide(held, POLICY, Request(model=MODEL, risk_class=risk, declared=declared)).allowed


@given(letters, declarations, st.sampled_from(RISK_ORDER[1:]))
def test_an_open_gate_means_that_every_grade_reaches_its_minimum(told: dict[str, Any], declared: dict[str, Grade], risk: Any) -> None:
    decision = gate.decide(evidence(told), POLICY, Request(model=MODEL, risk_class=risk, declared=declared))
    reaches = all(GRADES.index(told[name]) <= GRADES.index(least) for name, least in decision.minimum.items())
    forbidden = risk != "U1" and "N" in declared.values()
    assert decision.allowed is (reaches and not forbidden)


def policy_told() -> dict[str, Any]:
    told: dict[str, Any] = POLICY.model_dump(mode="json", by_alias=True)
    return told


def without(told: dict[str, Any], *path: str) -> dict[str, Any]:
    inner = told
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return told


@pytest.mark.parametrize(
    "told",
    [
        without(policy_told(), "classes", "U3"),
        without(policy_told(), "classes", "U2", "minimum", "privacy"),
        without(policy_told(), "classes", "U0", "refused"),
        without(policy_told(), "statements", "filing"),
        without(policy_told(), "version"),
        policy_told() | {"surprise": 1},
    ],
)
def test_a_policy_with_a_gap_or_a_stray_key_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read(yaml.safe_dump(told))


def test_a_policy_keeps_its_digest_through_yaml() -> None:
    assert read(yaml.safe_dump(policy_told())).digest == POLICY.digest
