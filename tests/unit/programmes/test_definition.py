"""Definitions: what ships is sound, and what is wrong is named, all at once."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from headwater.core.errors import NotFound
from headwater.programmes.definition import BadDefinition, from_json, named, read, shipped

Told = dict[str, Any]


def filing() -> Told:
    return deepcopy(named("algorithm-filing").as_json())


def test_every_shipped_definition_is_sound_and_keeps_its_digest_through_json() -> None:
    assert "algorithm-filing" in shipped()
    for one in shipped().values():
        assert from_json(one.as_json()).digest == one.digest


def test_the_filing_procedure_holds_the_facts_of_the_provisions() -> None:
    clocks = named("algorithm-filing").clocks
    assert {name: (clock.limit, clock.unit) for name, clock in clocks.items()} == {
        "file_after_start": (10, "working_days"),
        "decide": (30, "working_days"),
        "change": (10, "working_days"),
        "cancel": (20, "working_days"),
    }
    assert all("art. 2" in clock.source for clock in clocks.values())


def test_the_public_notice_says_demonstration_and_no_endorsement_in_both_languages() -> None:
    register = named("algorithm-filing").register_
    assert register is not None
    assert "demonstration register" in register.notice.en
    assert "not an endorsement" in register.notice.en
    assert "不是主管部门" in register.notice.zh
    assert "不是对算法" in register.notice.zh


def drop(*path: str) -> Callable[[Told], None]:
    def change(told: Told) -> None:
        for name in path[:-1]:
            told = told[name]
        del told[path[-1]]

    return change


def put(value: Any, *path: str) -> Callable[[Told], None]:
    def change(told: Told) -> None:
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = value

    return change


TEXT = {"zh": "状态", "en": "state"}


def strand(told: Told) -> None:
    told["states"]["limbo"] = {"title": TEXT}
    told["transitions"]["lose"] = {"from": ["draft"], "to": "limbo", "by": "provider", "title": TEXT}


FAULTS: list[tuple[Callable[[Told], None], str]] = [
    (put({"title": TEXT}, "states", "limbo"), "No transition leads here"),
    (strand, "states.limbo: No way leads from here to a final state"),
    (put(True, "states", "filed", "final"), "A final state has no way out"),
    (put(True, "states", "filed", "initial"), "Exactly one state is initial, not 2"),
    (put("nowhere", "transitions", "submit", "to"), "There is no state 'nowhere'"),
    (put("nobody", "transitions", "submit", "by"), "There is no role 'nobody'"),
    (put("missing == 0 and fee > 0", "transitions", "submit", "guard"), "reads fee"),
    (put("open('x')", "transitions", "submit", "guard"), "holds a Call"),
    (put([["provider", "completeness_rule"]], "separate"), "keep the two roles apart"),
    (put([["provider", "provider"]], "separate"), "cannot be kept apart from itself"),
    (put("vanish", "clocks", "decide", "action"), "There is no transition 'vanish'"),
    (put("submit", "clocks", "decide", "action"), "must start in 'submitted'"),
    (drop("clocks", "decide", "action"), "Field required"),
    (drop("clocks", "decide", "source"), "Field required"),
    (put("model", "clocks", "decide", "starts"), "which is no date field"),
    (put("cancelled", "clocks", "decide", "state"), "is final"),
    (put([], "fields", "service_form", "values"), "A choice, and only a choice"),
    (put({"fax": TEXT}, "fields", "service_form", "words"), "words for fax, which are no values"),
    (put("provider_name", "register", "about"), "'provider_name', which is not there as an artifact"),
    (put("provider_name", "evidence", "trust_grade", "about"), "no artifact field"),
    (put("nobody", "filled_by"), "There is no role 'nobody'"),
    (put(True, "roles", "provider", "automatic"), "either automatic or held by people"),
    (drop("fields", "model"), "'model', which is not there"),
    (put("everything", "roles", "provider", "permission"), "Input should be"),
    (put(1, "surprise"), "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_each_seeded_fault_is_found(change: Callable[[Told], None], message: str) -> None:
    told = filing()
    change(told)
    with pytest.raises(BadDefinition) as found:
        from_json(told, "x.yaml")
    assert message in str(found.value)


def test_all_problems_are_reported_at_once() -> None:
    told = filing()
    put("nowhere", "transitions", "submit", "to")(told)
    put("nobody", "transitions", "file", "by")(told)
    put("fee > 0", "transitions", "withdraw", "guard")(told)
    with pytest.raises(BadDefinition) as found:
        from_json(told, "x.yaml")
    message = str(found.value)
    assert "nowhere" in message
    assert "nobody" in message
    assert "fee" in message


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "a: &x [*x]", "\x00", "x" * (1 << 21)])
def test_what_is_no_definition_is_refused(text: str) -> None:
    with pytest.raises(BadDefinition):
        read(text)


def test_an_unknown_procedure_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="algorithm-filing"):
        named("moon-landing")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("provider_name", "Example", "   "),
        ("service_form", "interface", "teapot"),
        ("service_started_on", "2026-03-09", "2026-3-9"),
        ("model", "sha256:" + "a" * 64 + "/", "sha256:xyz"),
        ("opinion_or_mobilisation", False, "no"),
    ],
)
def test_fields_take_what_fits_and_say_what_is_wrong(field: str, good: object, bad: object) -> None:
    spec = named("algorithm-filing").fields[field]
    assert spec.problem(good) is None
    assert (spec.problem(bad) or "").startswith("needs ")
