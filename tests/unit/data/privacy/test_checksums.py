"""Checksums, on published examples and as invariants."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headwater.data.privacy import checksums

DIGITS = "0123456789"


def test_the_example_of_the_identity_number_standard_holds() -> None:
    assert checksums.id_check("11010519491231002") == "X"  # GB 11643-1999, example
    assert checksums.is_resident_id("11010519491231002X")


def test_a_published_credit_code_holds() -> None:
    assert checksums.is_credit_code("91350100M000100Y43")  # GB 32100-2015, example


def test_a_published_card_number_holds() -> None:
    assert checksums.is_luhn("79927398713")  # ISO/IEC 7812-1 textbook example


@pytest.mark.parametrize("text", ["11010519491331002X", "99010519491231002X", "11000019491231002X", "11010518991231002X"])
def test_an_identity_number_of_no_region_or_day_is_none(text: str) -> None:
    assert not checksums.is_resident_id(text[:17] + checksums.id_check(text[:17]))


@given(st.text(DIGITS, min_size=17, max_size=17), st.integers(0, 16), st.sampled_from(DIGITS))
def test_one_wrong_digit_never_passes_for_an_identity_number(first17: str, place: int, digit: str) -> None:
    assume(first17[place] != digit)
    assert checksums.id_check(first17) != checksums.id_check(first17[:place] + digit + first17[place + 1 :])


@given(st.text(checksums.CREDIT_ALPHABET, min_size=17, max_size=17), st.integers(0, 16), st.sampled_from(checksums.CREDIT_ALPHABET))
def test_one_wrong_character_never_passes_for_a_credit_code(first17: str, place: int, character: str) -> None:
    assume(first17[place] != character)
    assert checksums.credit_check(first17) != checksums.credit_check(first17[:place] + character + first17[place + 1 :])


@given(st.text(DIGITS, min_size=12, max_size=18))
def test_a_number_with_its_luhn_digit_passes_and_with_another_does_not(payload: str) -> None:
    right = checksums.luhn_check(payload)
    assert checksums.is_luhn(payload + right)
    assert not any(checksums.is_luhn(payload + digit) for digit in DIGITS if digit != right)
