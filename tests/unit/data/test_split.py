"""Each row falls into one part, by a split file or by seeded fractions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.split import PARTS, Part, apportion, by_fractions, read_assignments, refuse_if_unusable
from headwater.data.table import parse_csv

FRACTIONS: dict[Part, float] = {"train": 0.6, "valid": 0.1, "test": 0.3}


def test_a_split_file_is_followed_in_any_order() -> None:
    assert read_assignments(parse_csv("part,row\ntest,1\ntrain,0\n"), 2) == ("train", "test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("row,fold\n0,train\n", "columns row,part; this one has row,fold"),
        ("row,part\n0,train\n0,test\n", "split:3: Row 0 stands twice"),
        ("row,part\n0,train\n2,test\n", "split:3: '2' is not a row of the table. Rows are counted from 0 to 1"),
        ("row,part\n-1,train\n", "'-1' is not a row"),
        ("row,part\n0,dev\n", "'dev' is not a part. Parts: train, valid, test"),
        ("row,part\n0,train,1\n", "split:2: A line has 3 cells"),
        ("row,part\n1,train\n", "1 of 2 rows have no part, the first is row 0"),
    ],
)
def test_a_split_file_that_does_not_give_each_row_one_part_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_assignments(parse_csv(text), 2)


rows = st.lists(st.tuples(st.integers(0, 10**6).map(str), st.sampled_from("ab")), max_size=60, unique=True)


@given(rows, st.integers(0, 2**31), st.randoms())
def test_fractions_give_the_same_parts_whatever_the_order_of_the_rows(
    some: list[tuple[str, str]], seed: int, shuffle: random.Random
) -> None:
    def parts_of(given_rows: list[tuple[str, str]]) -> dict[tuple[str, str], Part]:
        parts = by_fractions([content for content, _ in given_rows], [label for _, label in given_rows], FRACTIONS, seed)
        return dict(zip(given_rows, parts, strict=True))

    moved = list(some)
    shuffle.shuffle(moved)
    assert parts_of(some) == parts_of(moved)


@given(st.integers(0, 10_000), st.integers(1, 98).flatmap(lambda a: st.tuples(st.just(a), st.integers(1, 99 - a))))
def test_counts_add_up_and_each_is_within_one_of_its_fraction(total: int, percent: tuple[int, int]) -> None:
    fractions: dict[Part, float] = {
        "train": percent[0] / 100,
        "valid": percent[1] / 100,
        "test": (100 - sum(percent)) / 100,
    }
    counts = apportion(total, fractions)
    assert sum(counts.values()) == total
    assert all(abs(counts[part] - total * fractions[part]) < 1 + 1e-6 for part in PARTS)


def test_fractions_are_kept_within_each_class_and_another_seed_gives_another_split() -> None:
    contents = [str(number) for number in range(1000)]
    labels = ["bad" if number % 10 < 3 else "good" for number in range(1000)]
    parts = by_fractions(contents, labels, FRACTIONS, 7)
    assert sum(part == "test" and label == "bad" for part, label in zip(parts, labels, strict=True)) == 90
    assert sum(part == "train" and label == "good" for part, label in zip(parts, labels, strict=True)) == 420
    assert parts != by_fractions(contents, labels, FRACTIONS, 8)


def test_an_empty_part_or_a_class_that_is_not_in_train_is_refused() -> None:
    with pytest.raises(BadInput, match="The part 'valid' has no rows"):
        refuse_if_unusable(["train", "test"], ["a", "b"], ["a", "b"])
    with pytest.raises(BadInput, match="No row of the class 'b' is in train"):
        refuse_if_unusable(["train", "test", "valid"], ["a", "b", "a"], ["a", "b"])
