"""What a person typed, as values of a procedure's fields."""

from __future__ import annotations

from headwater.programmes import definition, forms

RULES = definition.named("data-authorisation")


def test_numbers_become_numbers_and_what_is_none_stays_as_it_was_typed() -> None:
    given = {"field-uses": "12", "field-fee_ceiling_fen": "1e3", "field-dataset": " stops ", "field-unknown": "x", "dataset": "y"}
    assert forms.typed(RULES, given) == {"uses": 12, "fee_ceiling_fen": "1e3", "dataset": "stops"}


def test_what_was_left_empty_is_left_out_or_emptied() -> None:
    assert forms.typed(RULES, {"field-uses": " "}) == {}
    assert forms.typed(RULES, {"field-uses": " "}, blank=True) == {"uses": None}


def test_yes_and_no_are_read_as_such() -> None:
    filing = definition.named("algorithm-filing")
    assert forms.typed(filing, {"field-opinion_or_mobilisation": "false"}) == {"opinion_or_mobilisation": False}
