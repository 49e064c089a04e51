"""What the measures may touch, and what they say where there is too little to measure."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.tabular import Column, Signature
from headwater.trust import stats
from headwater.trust.dimensions import measures
from headwater.trust.dimensions.calibration.expected_error import MOST_BINS, ROWS_PER_BIN, reliability
from headwater.trust.dimensions.privacy.membership import Scores, named, tail
from headwater.trust.dimensions.stability.noise import moved
from headwater.trust.examination import Examination, Measure, examine, measure
from headwater.trust.measurement import Measurement, Text
from tests.unit.trust import world

IMMUTABLE = len(world.SIGNATURE.columns) - 1


def small(n: int = 200, *, train: bool = True) -> Examination:
    random = np.random.default_rng(2)
    test = world.draw_part(n, world.truth, random)
    known = world.draw_part(n, world.truth, random) if train else None
    ask = world.two_columns(world.truth)
    return examine(ask=ask, signature=world.SIGNATURE, test=test, train=known, attributes=(world.young(test),), seed=5)


class Watching:
    """A model that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append(rows)
        return world.two_columns(world.truth)(rows)


def test_every_file_under_dimensions_is_found_and_named_after_its_place() -> None:
    found = measures()
    assert len(found) == 8
    assert all(name == one.name and one.take.__module__.split(".")[3] == one.dimension for name, one in found.items())
    assert all(one.title.zh and one.title.en and one.summary.zh and one.summary.en for one in found.values())


@given(st.floats(0.01, 3.0), st.integers(0, 1000))
def test_moved_rows_still_fit_the_signature_and_keep_what_a_person_cannot_change(sigma: float, seed: int) -> None:
    signature = Signature(
        columns=(
            Column(name="amount", type="number", minimum=0, maximum=10),
            Column(name="months", type="integer", minimum=1),
            Column(name="kind", type="category", values=(3, 7)),
            Column(name="age", type="integer", minimum=18, maximum=99, immutable=True),
        ),
        target="y",
        classes=(0, 1),
        positive=1,
    )
    random = np.random.default_rng(seed)
    columns = [random.uniform(0, 10, 30), random.integers(1, 60, 30), random.choice([3, 7], 30), random.integers(18, 99, 30)]
    rows = np.stack(columns, axis=1).astype(np.float32)
    after = moved(rows, signature, sigma, random)
    told = [{"amount": float(a), "months": int(m), "kind": int(k), "age": int(g)} for a, m, k, g in after]
    assert np.array_equal(signature.matrix(told), after)
    assert np.array_equal(after[:, 2:], rows[:, 2:])


@pytest.mark.parametrize("name", ["stability.noise", "explainability.deletion"])
def test_no_measure_asks_about_an_impossible_row_or_changes_an_immutable_column(name: str) -> None:
    exam, watching = small(), Watching()
    measures()[name].take(dataclasses.replace(exam, ask=watching))
    ages = exam.test.rows[:, IMMUTABLE]
    assert watching.asked
    for rows in watching.asked:
        assert np.array_equal(rows[:, IMMUTABLE], ages)
        assert np.isin(rows[:, world.NUMBERS : IMMUTABLE], (0, 1)).all()
        assert np.abs(rows[:, : world.NUMBERS]).max() <= 6


def test_where_no_numeric_column_may_move_noise_is_not_measurable() -> None:
    exam = small()
    columns = tuple(column.model_copy(update={"immutable": True}) for column in exam.signature.columns)
    fixed = dataclasses.replace(exam, signature=exam.signature.model_copy(update={"columns": columns}))
    for one in measures()["stability.noise"].take(fixed):
        assert one.absent is not None
        assert one.absent.code == "nothing_moves"
    (deletion,) = measures()["explainability.deletion"].take(fixed)
    assert deletion.absent is not None
    assert deletion.absent.code == "too_few_columns"


NEEDING_ROWS = [one for name, one in measures().items() if name != "stability.noise"]


@pytest.mark.parametrize("measure", NEEDING_ROWS, ids=lambda one: one.name)
def test_a_handful_of_rows_gives_a_reason_and_never_a_zero(measure: Measure) -> None:
    for one in measure.take(small(8)):
        assert one.value is None
        assert one.absent is not None
        assert one.absent.more_samples


@pytest.mark.parametrize("name", ["privacy.membership_auc", "privacy.membership_tail"])
def test_without_training_rows_membership_is_not_measurable(name: str) -> None:
    (one,) = measures()[name].take(small(train=False))
    assert one.absent is not None
    assert one.absent.code == "no_training_rows"


@given(st.integers(ROWS_PER_BIN, 3000), st.integers(1, 50), st.integers(0, 100))
def test_bins_hold_every_row_once_and_equal_confidences_share_one(n: int, distinct: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence, correct = random.choice(random.uniform(0.5, 1, distinct), n), random.random(n) < 0.7
    bins = reliability(confidence, correct)
    assert sum(one.n for one in bins) == n
    assert sum(one.correct for one in bins) == correct.sum()
    assert sum(one.confidence_sum for one in bins) == pytest.approx(confidence.sum())
    assert len(bins) <= min(MOST_BINS, distinct)


def test_attributions_put_the_column_that_matters_first() -> None:
    """A model of one column: deleting by attribution reaches the base rate at once, in random order halfway on average."""
    one_column = world.make(lambda rows: 1 / (1 + np.exp(-4 * rows[:, 0].astype(np.float64))), n=400)
    shared = world.make(world.entangled, labels=world.entangled, n=400)

    def gain(of: world.World) -> float:
        (found,) = measures()["explainability.deletion"].take(of.exam)
        assert found.value is not None
        return found.value

    assert gain(one_column) > 2 * gain(shared)


def test_equal_scores_are_named_at_the_false_positive_rate_itself() -> None:
    scores = Scores(np.zeros(5000), np.zeros(2000))
    assert named(scores, 0.01) == pytest.approx(50)
    value, interval, _ = tail(scores, 0.95)
    assert value == pytest.approx(0.01)
    assert interval.low <= 0.01 <= interval.high


def test_tail_intervals_cover_the_true_rate() -> None:
    random, covered = np.random.default_rng(12), 0
    true = 0.0924  # P(N(1, 1) > z) at P(N(0, 1) > z) = .01
    for _ in range(300):
        _, interval, _ = tail(Scores(random.normal(1, 1, 1500), random.normal(0, 1, 1500)), 0.95)
        covered += interval.low <= true <= interval.high
    assert covered / 300 >= 0.95


def test_a_figures_json_is_rounded_and_complete() -> None:
    (one,) = measures()["calibration.expected_error"].take(small())
    told = one.as_json()
    assert set(told) == {"case", "n", "smallestCell", "counts", "seed", "value", "interval"}
    assert set(told["interval"]) == {"low", "high", "level", "method"}
    (missing,) = measures()["privacy.membership_tail"].take(small())
    assert set(missing.as_json()["notMeasurable"]) == {"code", "en", "zh", "moreSamples"}


def test_larger_parts_are_sampled_in_order_and_by_seed() -> None:
    exam = small(300)
    chosen = exam.sample("x", 100)
    assert len(set(chosen)) == 100
    assert list(chosen) == sorted(chosen)
    assert np.array_equal(chosen, exam.sample("x", 100))
    assert not np.array_equal(chosen, dataclasses.replace(exam, seed=6).sample("x", 100))
    assert isinstance(measures()["stability.noise"].take(exam)[0], Measurement)


def test_the_documented_example_of_a_new_measure_runs() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "trust.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    names = {"np": np, "measure": measure, "Text": Text, "Rate": stats.Rate, "wilson": stats.wilson}
    exec(code, names | {"Examination": Examination, "Measurement": Measurement}, found := {})
    (one,) = found["repeat"].take(small())
    assert found["repeat"].dimension == "stability"
    assert one.value == 0.0
    assert one.interval is not None
    assert one.interval.high > 0
