"""Fairness figures against fairlearn where every cell has rows, and refused where one has too few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.tabular import Column, Signature
from headwater.trust.dimensions import measures
from headwater.trust.examination import Attribute, Examination, Part, examine
from headwater.trust.measurement import Measurement, Text

SIGNATURE = Signature(columns=(Column(name="answer", type="number"),), target="y", classes=(0, 1), positive=1)


def examination(actual: Sequence[int], predicted: Sequence[int], member: Sequence[int], **more: Text | None) -> Examination:
    """An examination of the model that answers what the one column says."""
    groups = tuple(f"group {place}" for place in range(max(2, max(member) + 1)))
    attribute = Attribute(name="g", title=Text(en="g", zh="g"), groups=groups, member=np.array(member), **more)
    rows = np.array(predicted, dtype=np.float32)[:, None]

    def ask(asked: np.ndarray) -> np.ndarray:
        return np.stack([1 - asked[:, 0], asked[:, 0]], axis=1).astype(np.float64)

    return examine(ask=ask, signature=SIGNATURE, test=Part(rows=rows, labels=np.array(actual)), train=None, attributes=(attribute,), seed=0)


def figure(name: str, exam: Examination) -> Measurement:
    (one,) = measures()[name].take(exam)
    return one


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_gaps_are_fairlearns_where_every_cell_has_rows(seed: int, groups: int) -> None:
    random = np.random.default_rng(seed)
    n = 60 * groups
    member = np.arange(n) % groups
    actual = (np.arange(n) // groups) % 2
    predicted = (random.random(n) < 0.3 + 0.1 * member).astype(int)
    exam = examination(actual, predicted, member)
    parity = demographic_parity_difference(actual, predicted, sensitive_features=member)
    odds = equalized_odds_difference(actual, predicted, sensitive_features=member)
    assert figure("fairness.demographic_parity", exam).value == pytest.approx(parity)
    assert figure("fairness.equalized_odds", exam).value == pytest.approx(odds)


def test_an_empty_cell_is_not_measurable_where_fairlearn_makes_up_a_gap_of_one() -> None:
    """Group 1 has no row whose true class is 0: its false-positive rate does not exist, and is not 0."""
    actual, member = [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]
    predicted = [1] * 6
    assert equalized_odds_difference(actual, predicted, sensitive_features=member) == 1.0
    one = figure("fairness.equalized_odds", examination(actual, predicted, member))
    assert one.value is None
    assert one.absent is not None
    assert one.absent.code == "empty_cell"
    assert one.absent.more_samples == 8 + 8 + 8 + 10
    assert "group 1 · y ≠ 1: 0" in one.absent.reason.en
    assert "group 1 · y ≠ 1: 0" in one.absent.reason.zh


def test_group_rates_are_divided_by_the_groups_own_rows() -> None:
    """13 of 30 young and 27 of 60 older defaults are found: rates of .433 and .450, a gap of .017."""
    actual = [1] * 90 + [0] * 90
    member = [0] * 30 + [1] * 60 + [0] * 45 + [1] * 45
    predicted = [1] * 13 + [0] * 17 + [1] * 27 + [0] * 33 + [0] * 90
    one = figure("fairness.equalized_odds", examination(actual, predicted, member))
    assert one.value == pytest.approx(27 / 60 - 13 / 30)
    assert one.counts["group 0 · y = 1"] == 30
    assert one.counts["group 0 · y = 1 · ŷ = 1"] == 13
    assert one.smallest == 30


def test_a_declared_attribute_that_cannot_be_graded_keeps_its_owners_reason() -> None:
    reason = Text(en="Only 8 rows.", zh="仅 8 行。")
    exam = examination([0, 1] * 40, [0, 1] * 40, [0] * 40 + [1] * 40, not_gradable=reason)
    for name in ("fairness.equalized_odds", "fairness.worst_group", "fairness.demographic_parity"):
        one = figure(name, exam)
        assert not one.gradable
        assert one.value is None
        assert one.absent is not None
        assert one.absent.reason == reason


def test_rows_whose_group_is_unknown_are_counted_and_belong_to_no_group() -> None:
    exam = examination([0, 1] * 50, [0, 1] * 50, [0] * 40 + [1] * 40 + [-1] * 20)
    one = figure("fairness.worst_group", exam)
    assert one.counts["?"] == 20
    assert one.counts["group 0"] + one.counts["group 1"] == 80


def test_an_attribute_with_one_group_has_no_gap() -> None:
    attribute = Attribute(name="g", title=Text(en="g", zh="g"), groups=("all",), member=np.zeros(40, dtype=np.int64))
    exam = examination([0, 1] * 20, [0, 1] * 20, [0] * 40)
    for measure in (one for name, one in measures().items() if name.startswith("fairness.")):
        (found,) = measure.take(Examination(**{n: getattr(exam, n) for n in Examination.__slots__} | {"attributes": (attribute,)}))
        assert found.absent is not None
        assert found.absent.code == "one_group"
