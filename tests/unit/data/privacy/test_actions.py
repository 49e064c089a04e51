"""What is done with findings: nothing of a value stays that should not, and pseudonyms are consistent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.privacy import Action, act, find
from headwater.data.privacy.actions import masked, replaced

KEY, OTHER = b"k" * 16, b"o" * 16
TEXT = (
    "申请人：唐秀兰，电话13800001234，身份证11010519491231002X，住址：成都市武侯区天府大道北段953号。"
    "卡6217005200049767192，车京A12345，护照E12345678，代码91350100M000100Y43，邮箱a.b@example.cn，来自192.0.2.9。"
    "SSN 219-09-9999, contact: Emily Chen."
)
VALUES = [TEXT[one.start : one.end] for one in find(TEXT)]


def test_every_kind_is_in_the_text() -> None:
    assert len({one.label for one in find(TEXT)}) == 11


@pytest.mark.parametrize("action", [Action.REDACT, Action.PSEUDONYMISE, Action.SURROGATE, Action.MASK])
def test_no_value_stays_in_the_text(action: str) -> None:
    acted = act(TEXT, find(TEXT), action, KEY)
    assert not [value for value in VALUES if value in acted]


def test_a_surrogate_is_found_as_the_same_kind_in_the_same_order() -> None:
    acted = act(TEXT, find(TEXT), "surrogate", KEY)
    assert [one.label for one in find(acted)] == [one.label for one in find(TEXT)]


def test_a_surrogate_is_determined_by_key_and_value() -> None:
    assert act(TEXT, find(TEXT), "surrogate", KEY) == act(TEXT, find(TEXT), "surrogate", KEY)
    assert act(TEXT, find(TEXT), "surrogate", KEY) != act(TEXT, find(TEXT), "surrogate", OTHER)


def test_the_same_number_has_one_pseudonym_however_it_is_written() -> None:
    written = ("13800001234", "138 0000 1234", "138-0000-1234", "１３８００００１２３４")
    made = {"".join(one for one in replaced(value, "PHONE", Action.PSEUDONYMISE, KEY) if one.isdigit()) for value in written}
    assert len(made) == 1
    assert made.isdisjoint({"13800001234"})


def test_a_pseudonym_keeps_the_layout_of_a_number() -> None:
    made = replaced("6222 0200-0000X", "BANK_CARD", Action.PSEUDONYMISE, KEY)
    assert [one.isdigit() for one in made] == [one.isdigit() for one in "6222 0200-0000X"]


def test_labels_may_be_treated_differently_and_what_is_not_named_is_redacted() -> None:
    text = "联系人：张伟，13800001234，x@example.cn"
    assert act(text, find(text), {"PHONE": "mask", "EMAIL": "keep"}) == "联系人：[PERSON]，138******34，x@example.cn"


@pytest.mark.parametrize("action", ["pseudonymise", "surrogate"])
@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_keyed_action_without_a_key_of_enough_bytes_is_refused(action: str, key: bytes) -> None:
    with pytest.raises(BadInput, match=rf"The key has {len(key)} bytes. Give at least 16"):
        act("x", [], action, key)


def test_an_unknown_action_or_label_is_refused_with_what_there_is() -> None:
    with pytest.raises(BadInput, match="Actions: redact, mask, pseudonymise, surrogate, keep"):
        act("x", [], "shred")
    with pytest.raises(BadInput, match="There is no label 'FAX'"):
        act("x", [], {"FAX": "mask"})


@given(
    st.text(alphabet="0123456789-@.abc张伟 ", min_size=1, max_size=30), st.sampled_from(["PHONE", "PERSON", "EMAIL", "BANK_CARD", "US_SSN"])
)
def test_a_mask_has_the_values_length_and_hides_at_least_half_of_what_it_may(value: str, label: str) -> None:
    made = masked(value, label)
    body = value.partition("@")[0] if label == "EMAIL" else value
    letters = sum(one.isalnum() for one in body)
    assert len(made) == len(value)
    assert made.count("*") - value.count("*") >= (letters + 1) // 2
