"""A card says what a table may hold; a wrong one is refused with every problem and its place."""

from __future__ import annotations

import json
import pickle

import pytest

from headwater.core.errors import BadFile
from headwater.data.card import Card, read_card
from tests.unit.data.loans import CARD, card


def test_a_good_card_gives_the_models_signature_without_what_is_ignored() -> None:
    signature = card().signature()
    assert signature.names == ("amount", "months", "purpose")
    assert signature.columns[2].values == (1, 2)
    assert (signature.target, signature.classes, signature.positive) == ("outcome", ("late", "repaid"), "late")


def test_a_card_survives_being_written_as_json() -> None:
    told = card().as_json()
    assert told["sensitive"][0]["rule"] == {"at_most": 25.0}
    assert told["sensitive"][1]["rule"] == {"in": [1]}
    assert Card.model_validate(json.loads(json.dumps(told))) == card()


def test_a_value_is_named_in_both_languages_and_by_itself_where_the_card_does_not_name_it() -> None:
    assert card().by_name["purpose"].label(1, "zh") == "汽车"
    assert card().target.label("late", "en") == "late"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("licence: CC-BY-4.0\n", "", r"licence: Field required"),
        ("licence:", "license:", r"license: Extra inputs are not permitted"),
        ("type: number, minimum: 0", "type: numeric, minimum: 0", r"card:12 columns\[0\]\.type: Input should be 'integer'"),
        (
            "minimum: 0, maximum: 1000",
            "minimum: 9, maximum: 1",
            r"columns\[0\]\.minimum: The range of 'amount', 9\.0 to 1\.0, holds",
        ),
        ("name: months, type: integer", "name: amount, type: integer", r"'amount' is described 2 times"),
        ("name: months, type: integer", "name: _row, type: integer", r"'_row' is the name"),
        ("type: integer, minimum: 1}", "type: integer, minimum: 1, values: [1, 2]}", r"'months' is integer and cannot list values"),
        ("type: integer, role: ignore, immutable", "type: text, minimum: 3, role: ignore, immutable", r"is text and cannot have a minimum"),
        ("name: note, type: text, role: ignore", "name: note, type: text", r"The text column 'note' cannot be a feature"),
        ("values: [late, repaid]", "values: [late]", r"'outcome' needs at least two values, it has 1"),
        ("values: [late, repaid]", "values: [late, late]", r"A value of 'outcome' stands twice"),
        ("values: [late, repaid]", "values: [late, 3]", r"mix numbers and texts"),
        ("values: [late, repaid]", "values: [yes, no]", r"columns\[5\]\.values: YAML reads a bare yes"),
        ("      2: {zh: 学习, en: studies}", "      2: {zh: 学习, fr: études}", r"card:18 columns\[2\]\.values\[2\]\.fr: Extra inputs"),
        ("role: target, values", "role: feature, values", r"One column must have the role 'target'; there are 0 \(none\)"),
        ("name: months, type: integer", "name: months, role: target, type: integer", r"there are 2 \(months, outcome\)"),
        ("positive: late", "positive: never", r"card:10 positive: 'never' is not a value of the target"),
        ("column: age", "column: years", r"There is no column 'years'"),
        ("rule: {at_most: 25}", "rule: {at_most: 25, equals: 3}", r"exactly one of at_most, at_least, equals, in"),
        ("column: age, rule: {at_most: 25}", "column: age", r"'under_26' needs a rule: 'age' is integer"),
        ("rule: {in: [1]}", "rule: {in: [7]}", r"7 is not a value of 'purpose'"),
        ("rule: {in: [1]}", "rule: {at_most: 1}", r"at_most and at_least need numbers; 'purpose' is category"),
        ("rule: {in: [1]}", "gradable: false", r"'car' is not gradable, and no reason is given"),
        ("name: car, column", "name: under_26, column", r"'under_26' is declared 2 times"),
    ],
)
def test_a_wrong_card_is_refused_where_it_is_wrong(old: str, new: str, said: str) -> None:
    assert old in CARD
    with pytest.raises(BadFile, match=said):
        card(CARD.replace(old, new, 1))


def test_all_problems_are_told_at_once() -> None:
    wrong = CARD.replace("positive: late", "positive: never").replace("column: age", "column: years")
    wrong = wrong.replace("maximum: 1000", "maximum: -1")
    with pytest.raises(BadFile) as refused:
        card(wrong)
    assert len(refused.value.problems) == 3
    assert len(pickle.loads(pickle.dumps(refused.value)).problems) == 3


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"", b"[1, 2]", b"schema: [", b"a: 1\na: 2\n"])
def test_what_is_no_card_at_all_is_refused_too(data: bytes) -> None:
    with pytest.raises(BadFile, match="in the card|not YAML"):
        read_card(data)
