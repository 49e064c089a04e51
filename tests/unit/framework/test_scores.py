"""Scores agree with scikit-learn's, and what cannot be measured is said, not filled in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.framework.scores import auc, score


def some(seed: int, n: int, classes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return probabilities with many ties and labels in which every class occurs."""
    draw = np.random.default_rng(seed)
    weights = draw.integers(1, 5, (n, classes)).astype(np.float64)
    return weights / weights.sum(axis=1, keepdims=True), np.r_[np.arange(classes), draw.integers(0, classes, n - classes)].astype(np.int64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 80), st.integers(2, 4))
def test_scores_equal_those_of_an_independent_library(seed: int, n: int, classes: int) -> None:
    from sklearn import metrics

    probabilities, labels = some(seed, n, classes)
    scores = score(probabilities, labels, positive=1)
    told = {name: one.value for name, one in scores.items()}
    chosen = probabilities.argmax(axis=1)
    assert told["accuracy"] == pytest.approx(metrics.accuracy_score(labels, chosen))
    assert told["balanced_accuracy"] == pytest.approx(metrics.recall_score(labels, chosen, labels=range(classes), average="macro"))
    assert told["auc"] == pytest.approx(metrics.roc_auc_score(labels == 1, probabilities[:, 1]))
    assert told["log_loss"] == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(classes)))
    assert {one.n for one in scores.values()} == {n}


def test_a_class_that_does_not_occur_makes_a_score_unmeasurable_with_the_reason() -> None:
    scores = score(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]), positive=1)
    assert (scores["auc"].value, scores["auc"].reason) == (None, "0 of 2 rows are positive")
    assert (scores["balanced_accuracy"].value, scores["balanced_accuracy"].reason) == (None, "no row of the class at place 1")
    assert scores["accuracy"].value == 0.5


def test_no_rows_give_no_scores() -> None:
    scores = score(np.empty((0, 2)), np.empty(0, dtype=np.int64), positive=0)
    assert {(one.value, one.n, one.reason) for one in scores.values()} == {(None, 0, "no rows")}


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_counts_pairs_and_turns_round_with_the_scores(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([one for one, _ in rows], dtype=np.float64), np.array([one for _, one in rows])
    value = auc(scores, positive).value
    pairs = [(a > b) + 0.5 * (a == b) for a, is_a in rows if is_a for b, is_b in rows if not is_b]
    if not pairs:
        assert value is None
        return
    assert value == pytest.approx(sum(pairs) / len(pairs))
    assert auc(-scores, positive).value == pytest.approx(1 - sum(pairs) / len(pairs))
