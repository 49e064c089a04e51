"""The case engine: who may do what, what is missing, and that a case is the fold of its events."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.calendar import published_through
from headwater.core.errors import BadInput, Conflict, GateClosed, HeadwaterError, Refused
from headwater.programmes import engine
from headwater.programmes.definition import Definition, from_json, named
from headwater.programmes.engine import Case, Event, Move, Party

AT = datetime(2026, 1, 20, 4, 0, tzinfo=UTC)
FILING = named("algorithm-filing")
PROVIDER = Party(id="p1", roles=frozenset({"provider"}))
RULE = Party(id="rule:completeness_rule", roles=frozenset({"completeness_rule"}))
OFFICER = Party(id="o1", roles=frozenset({"officer"}))
EVERYBODY = Party(id="p1", roles=frozenset({"provider", "officer"}))
FACTS = {"trust_grade": "D"}
FIELDS: dict[str, Any] = {
    "provider_name": "Example provider",
    "service_form": "interface",
    "field_of_use": "teaching",
    "algorithm_name": "credit",
    "algorithm_type": "ranking_selection",
    "self_assessment_report": "sha256:" + "b" * 64 + "/",
    "content_to_publish": "what it does",
    "model": "sha256:" + "a" * 64 + "/",
}


def begun(fields: dict[str, Any] | None = None, definition: Definition = FILING) -> Case:
    return engine.fold(definition, [engine.opening(definition, FIELDS if fields is None else fields, PROVIDER, at=AT)])


def after(
    case: Case, transition: str, who: Party, *, at: datetime = AT, reasons: tuple[str, ...] = (), definition: Definition = FILING
) -> Case:
    wish = Move(transition=transition, who=who, at=at, reasons=reasons)
    return engine.evolve(definition, case, engine.moving(definition, case, wish, FACTS))


def test_a_complete_form_is_submitted_and_filed_by_the_automatic_rule() -> None:
    case = after(after(begun(), "submit", PROVIDER), "file", RULE)
    assert case.state == "filed"
    assert case.acted["completeness_rule"] == {"rule:completeness_rule"}


def test_an_incomplete_form_is_told_everything_that_is_missing_at_once() -> None:
    case = begun({"provider_name": "Example"})
    wish = Move(transition="submit", who=PROVIDER, at=AT)
    with pytest.raises(GateClosed) as found:
        engine.moving(FILING, case, wish, {"trust_grade": None})
    for name in (*(name for name in FIELDS if name != "provider_name"), "a trust grade"):
        assert name in str(found.value)


def test_wrong_fields_are_all_named() -> None:
    with pytest.raises(BadInput) as found:
        begun({"service_form": "teapot", "colour": "red", "service_started_on": "soon"})
    assert all(part in str(found.value) for part in ("service_form", "colour", "service_started_on"))


def test_only_the_role_named_may_make_a_transition() -> None:
    with pytest.raises(Refused, match="completeness_rule"):
        after(after(begun(), "submit", PROVIDER), "file", PROVIDER)
    with pytest.raises(Refused, match="provider"):
        engine.opening(FILING, {}, OFFICER, at=AT)


def test_who_applied_may_not_decide_even_with_both_roles() -> None:
    case = after(begun(), "submit", EVERYBODY)
    assert "refuse" not in engine.possible(FILING, case, EVERYBODY)
    with pytest.raises(Refused, match="may not act as 'officer'"):
        after(case, "refuse", EVERYBODY, reasons=("no",))
    assert after(case, "refuse", OFFICER, reasons=("unclear scope",)).state == "not_filed"


def test_a_decision_that_needs_reasons_is_not_made_without() -> None:
    with pytest.raises(BadInput, match="needs reasons"):
        after(after(begun(), "submit", PROVIDER), "refuse", OFFICER, reasons=("  ",))


def test_a_transition_starts_only_where_it_says_and_the_form_closes_after_submission() -> None:
    case = after(begun(), "submit", PROVIDER)
    with pytest.raises(Conflict, match="the case is 'submitted'"):
        after(case, "submit", PROVIDER)
    with pytest.raises(Conflict, match="form is closed"):
        engine.filling(FILING, case, {"provider_name": "Other"}, PROVIDER, at=AT)
    with pytest.raises(BadInput, match="no transition 'fly'"):
        after(case, "fly", PROVIDER)


def test_a_change_reopens_the_form() -> None:
    case = after(after(after(begun(), "submit", PROVIDER), "file", RULE), "report_change", PROVIDER, reasons=("new data",))
    filled = engine.evolve(FILING, case, engine.filling(FILING, case, {"field_of_use": "more teaching"}, PROVIDER, at=AT))
    assert filled.fields["field_of_use"] == "more teaching"
    assert after(filled, "submit", PROVIDER).state == "submitted"


def test_the_authoritys_thirty_working_days_run_from_submission() -> None:
    (clock,) = engine.running(FILING, after(begun(), "submit", PROVIDER))
    assert (clock.clock, clock.due.day.isoformat()) == ("decide", "2026-03-09")
    assert "art. 25" in clock.source


def test_the_providers_clock_waits_for_the_day_on_which_the_service_began() -> None:
    assert engine.running(FILING, begun()) == ()
    (clock,) = engine.running(FILING, begun(FIELDS | {"service_started_on": "2026-01-20"}))
    assert clock.due.day.isoformat() == "2026-02-03"


def test_a_clock_is_recorded_as_run_out_once_after_its_last_day() -> None:
    case = after(begun(), "submit", PROVIDER)
    last_moment = datetime(2026, 3, 9, 15, 59, tzinfo=UTC)
    assert engine.expiring(FILING, case, at=last_moment) == ()
    (event,) = engine.expiring(FILING, case, at=last_moment + timedelta(minutes=1))
    assert event.data == {"clock": "decide", "due": "2026-03-09"}
    assert engine.expiring(FILING, engine.evolve(FILING, case, event), at=last_moment + timedelta(days=9)) == ()


def test_a_clock_whose_last_day_may_still_move_is_shown_and_not_recorded_as_run_out() -> None:
    late = datetime(published_through(), 12, 20, 4, 0, tzinfo=UTC)
    case = after(begun(), "submit", PROVIDER, at=late)
    (clock,) = engine.running(FILING, case)
    assert clock.due.provisional
    assert engine.expiring(FILING, case, at=late + timedelta(days=300)) == ()


def test_an_old_case_ends_under_its_own_version_and_refuses_events_of_another() -> None:
    told = deepcopy(FILING.as_json())
    told["version"] = "2027-01-01"
    told["fields"]["licence_number"] = {"type": "text", "required": True, "title": {"zh": "许可证号", "en": "licence number"}}
    newer = from_json(told)
    old = begun()
    assert after(old, "submit", PROVIDER).state == "submitted"
    with pytest.raises(GateClosed, match="licence_number"):
        after(begun(definition=newer), "submit", PROVIDER, definition=newer)
    with pytest.raises(Conflict, match="another version"):
        engine.evolve(newer, old, engine.filling(FILING, old, {"field_of_use": "x"}, PROVIDER, at=AT))


def test_a_number_is_given_once() -> None:
    case = engine.evolve(FILING, begun(), engine.numbering(begun(), "N-1", actor="r", role="r", at=AT))
    with pytest.raises(Conflict, match="N-1"):
        engine.numbering(case, "N-2", actor="r", role="r", at=AT)


PEOPLE = [PROVIDER, RULE, OFFICER, EVERYBODY, Party(id="p2", roles=frozenset({"provider", "officer"}))]
wishes = st.lists(
    st.tuples(st.sampled_from([*FILING.transitions, "fill", "clock"]), st.sampled_from(PEOPLE), st.integers(0, 40)), max_size=12
)


@given(wishes)
def test_a_case_is_the_fold_of_its_events_and_never_leaves_the_definition(steps: list[tuple[str, Party, int]]) -> None:
    at = AT
    events: list[Event] = [engine.opening(FILING, FIELDS, PROVIDER, at=at)]
    case = engine.fold(FILING, events)
    for name, who, days in steps:
        at += timedelta(days=days)
        try:
            if name == "fill":
                new = [engine.filling(FILING, case, {"field_of_use": f"use {days}"}, who, at=at)]
            elif name == "clock":
                new = list(engine.expiring(FILING, case, at=at))
            else:
                new = [engine.moving(FILING, case, Move(transition=name, who=who, at=at, reasons=("because",)), FACTS)]
        except HeadwaterError:
            continue
        for event in new:
            case = engine.evolve(FILING, case, event)
        events += new
        assert case.state in FILING.states
    assert engine.fold(FILING, events) == case
    assert case.version == len(events)
    for first, second in FILING.separate:
        assert not case.acted.get(first, frozenset()) & case.acted.get(second, frozenset())
