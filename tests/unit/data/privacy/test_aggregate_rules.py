"""Suppression and overlap: what is given cannot be solved for what is not."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.privacy.protected.cells import complementary
from headwater.data.privacy.protected.overlap import OUTSIDE, too_alike

sizes = st.lists(st.integers(0, 40), min_size=12, max_size=12)


@given(sizes, st.integers(3, 15))
def test_no_line_is_left_with_one_hidden_cell_or_too_few_hidden_rows_beside_shown_ones(counts: list[int], least: int) -> None:
    keys = list(itertools.product("ab", "xy", "123"))
    out = complementary(keys, counts, [count < least for count in counts], least)
    assert all(hidden for hidden, count in zip(out, counts, strict=True) if count < least)
    for dimension in range(3):
        for rest in {key[:dimension] + key[dimension + 1 :] for key in keys}:
            line = [place for place, key in enumerate(keys) if key[:dimension] + key[dimension + 1 :] == rest]
            hidden = [counts[place] for place in line if out[place]]
            assert not hidden or len(hidden) == len(line) or (len(hidden) >= 2 and sum(hidden) >= least)


def test_where_every_cell_is_large_none_is_left_out() -> None:
    assert complementary([("a",), ("b",)], [10, 11], [False, False], 10) == [False, False]


divisions = st.lists(st.integers(-2, 2), min_size=30, max_size=30).map(lambda one: np.array(one, np.int64))


def sets(division: np.ndarray) -> list[set[int]]:
    """Return the sets of rows that an answer is about: the whole selection and each cell that was given."""
    whole = {row for row, cell in enumerate(division) if cell != OUTSIDE}
    return [whole, *({row for row, cell in enumerate(division) if cell == number} for number in range(3))]


@given(divisions, divisions, st.integers(2, 8))
def test_two_questions_are_too_alike_exactly_when_two_of_their_sets_differ_by_few(one: np.ndarray, other: np.ndarray, least: int) -> None:
    pairs = [(a, b) for a in sets(one) for b in sets(other) if a & b]
    expected = any(0 < len(a - b) < least or 0 < len(b - a) < least for a, b in pairs)
    assert too_alike(one, other, least) == expected


@given(divisions, st.integers(2, 8))
def test_a_question_without_cells_is_never_too_like_itself(one: np.ndarray, least: int) -> None:
    whole = np.where(one == OUTSIDE, OUTSIDE, 0)
    assert not too_alike(whole, whole, least)
