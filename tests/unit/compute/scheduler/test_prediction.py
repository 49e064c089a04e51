"""Run times are expected from like jobs that had ended, and how well is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.prediction import Past, accuracy, history_of


def past(user: str, name: str, run_s: float, submitted_s: float = 0.0, shape: str = "1", ended_s: float | None = None) -> Past:
    ended = submitted_s + run_s if ended_s is None else ended_s
    return Past(user=user, name=name, shape=shape, submitted_s=submitted_s, ended_s=ended, run_s=run_s)


def test_the_narrowest_circle_with_enough_ended_runs_is_asked():
    runs = [past("ann", "train", 100.0)] * 3 + [past("ann", "train", 900.0, shape="8")] * 2 + [past("bob", "train", 5000.0)] * 4
    history = history_of(runs)
    same = history.predict("ann", "train", "1")
    assert same is not None
    assert (round(same.p50_s), same.basis, same.runs) == (100, "user, name and shape", 3)
    other_shape = history.predict("ann", "train", "8")
    assert other_shape is not None
    assert (other_shape.basis, other_shape.runs) == ("user and name", 5)
    newcomer = history.predict("eve", "train", "1")
    assert newcomer is not None
    assert newcomer.basis == "name and shape"
    stranger = history.predict("eve", "bake", "4")
    assert stranger is not None
    assert stranger.basis == "all jobs"


def test_nothing_is_expected_where_nothing_has_ended():
    assert history_of([]).predict("ann", "train", "1") is None


def test_only_runs_that_had_ended_at_submission_speak():
    """The second job is submitted while the first still runs: looking ahead would make it exact."""
    found = accuracy([past("ann", "train", 1000.0, 0.0), past("ann", "train", 1000.0, 500.0), past("ann", "train", 500.0, 2000.0)])
    assert (found.jobs, found.predicted) == (3, 1)
    assert found.median_ratio == pytest.approx(2.0)


def test_an_exact_history_is_called_exact():
    found = accuracy([past("ann", "train", 60.0, 100.0 * step) for step in range(20)])
    assert found.predicted == 19
    assert (found.median_ratio, found.median_factor, found.covered) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))


def test_no_expectations_make_no_figures():
    assert accuracy([past("ann", "train", 5.0)]).median_ratio is None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(1, 1e6), st.floats(0, 1e6)), min_size=1, max_size=40))
def test_quantiles_are_ordered_and_lie_within_what_was_seen(rows):
    history = history_of([past(user, "n", run, submitted) for user, run, submitted in rows])
    found = history.predict("a", "n", "1")
    assert found is not None
    runs = [run for _, run, _ in rows]
    assert min(runs) * 0.999 <= found.p10_s <= found.p50_s <= found.p90_s <= max(runs) * 1.001


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 1e5)), min_size=2, max_size=30), st.floats(1, 1e5))
def test_the_future_does_not_change_what_was_expected(rows, later):
    """A run that ends after every submission leaves all expectations as they were."""
    runs = [past("a", "n", run, submitted) for run, submitted in rows]
    last = max(run.submitted_s for run in runs)
    before, after = accuracy(runs), accuracy([*runs, past("a", "n", later, last, ended_s=last + 1e6)])
    assert after.predicted - before.predicted in (0, 1)
    if after.predicted == before.predicted:
        np.testing.assert_equal(before.median_ratio, after.median_ratio)
