"""Intervals against published examples, other implementations, and their own promise: coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference
from sklearn.metrics import roc_auc_score

from headwater.trust import stats
from headwater.trust.stats import Bin, Rate

LEVELS = st.sampled_from([0.9, 0.95, 0.99])


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    n = draw(st.integers(1, 400))
    return Rate(draw(st.integers(0, n)), n)


@given(rates(), LEVELS)
def test_wilson_is_scipys(rate: Rate, level: float) -> None:
    ours, theirs = stats.wilson(rate, level), reference.binomtest(rate.hits, rate.n).proportion_ci(level, "wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        (Rate(56, 70), Rate(48, 80), 0.0524, 0.3339),
        (Rate(9, 10), Rate(3, 10), 0.1705, 0.8090),
        (Rate(6, 7), Rate(2, 7), 0.0582, 0.8062),
        (Rate(5, 56), Rate(0, 29), -0.0381, 0.1926),
        (Rate(0, 10), Rate(0, 20), -0.1611, 0.2775),
        (Rate(0, 10), Rate(0, 10), -0.2775, 0.2775),
        (Rate(10, 10), Rate(0, 20), 0.6791, 1.0),
        (Rate(10, 10), Rate(0, 10), 0.6075, 1.0),
    ],
)
def test_newcombe_gives_the_examples_of_his_paper(a: Rate, b: Rate, low: float, high: float) -> None:
    interval = stats.newcombe(a, b)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(rates(), rates())
def test_newcombe_holds_the_difference_and_turns_round_with_its_arguments(a: Rate, b: Rate) -> None:
    one, other = stats.newcombe(a, b), stats.newcombe(b, a)
    assert one.low <= a.value - b.value <= one.high
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@given(st.lists(rates(), min_size=2, max_size=6), LEVELS)
def test_a_gap_lies_in_its_interval_and_is_the_largest_minus_the_smallest(groups: list[Rate], level: float) -> None:
    gap = stats.simultaneous_gap([groups], level)
    shares = [group.value for group in groups]
    assert gap.value == pytest.approx(max(shares) - min(shares))
    assert 0 <= gap.interval.low <= gap.value <= gap.interval.high <= 1


@given(st.lists(rates(), min_size=2, max_size=6))
def test_a_shortfall_is_that_of_the_worst_group_against_everyone(groups: list[Rate]) -> None:
    shortfall = stats.worst_shortfall(groups)
    overall = sum(group.hits for group in groups) / sum(group.n for group in groups)
    assert shortfall.value == pytest.approx(max(0.0, overall - min(group.value for group in groups)), abs=1e-12)
    assert 0 <= shortfall.interval.low <= shortfall.value + 1e-12
    assert shortfall.value <= shortfall.interval.high + 1e-12


CASES = [
    ((68, 232), 0.0),
    ((68, 232), 0.1),
    ((5421, 10860), 0.0),
    ((5421, 10860), 0.15),
    ((13946, 1561, 480, 159, 135), 0.0),
    ((13946, 1561, 480, 159, 135), 0.15),
    ((964, 617, 157, 114), 0.0),
    ((8, 292), 0.0),
]


@pytest.mark.parametrize(("sizes", "gap"), CASES)
def test_gap_intervals_cover_the_true_gap_in_at_least_93_of_100_samples(sizes: tuple[int, ...], gap: float) -> None:
    random = np.random.default_rng(20231123)
    shares = np.full(len(sizes), 0.3)
    shares[-1] += gap
    trials = 600
    hits = random.binomial(sizes, shares, size=(trials, len(sizes)))
    intervals = [stats.simultaneous_gap([[Rate(int(h), n) for h, n in zip(row, sizes, strict=True)]]).interval for row in hits]
    covered = sum(interval.low <= gap <= interval.high for interval in intervals) / trials
    assert covered >= 0.93, covered


def test_shortfall_intervals_cover_the_true_shortfall() -> None:
    random, sizes, shares = np.random.default_rng(5), np.array([300, 80, 60]), np.array([0.8, 0.75, 0.65])
    true = float((sizes * shares).sum() / sizes.sum() - shares.min())
    rows = random.binomial(sizes, shares, size=(600, 3))
    intervals = [stats.worst_shortfall([Rate(int(h), int(n)) for h, n in zip(row, sizes, strict=True)]).interval for row in rows]
    assert sum(one.low <= true <= one.high for one in intervals) / 600 >= 0.93


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300))
def test_paired_differences_of_single_draws_are_bonett_and_prices(losses: int, gains: int, ties: int) -> None:
    n = losses + gains + ties
    if n == 0:
        return
    interval = stats.paired_difference(np.array([1.0] * losses + [-1.0] * gains + [0.0] * ties))
    one, two = (losses + 1) / (n + 2), (gains + 1) / (n + 2)
    half = 1.959964 * math.sqrt((one + two - (one - two) ** 2) / (n + 2))
    assert (interval.low, interval.high) == pytest.approx((max(-1, one - two - half), min(1, one - two + half)), abs=1e-6)


def test_no_observed_loss_still_leaves_room_for_one() -> None:
    assert stats.paired_difference(np.zeros(300)).high > 0.005


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1])
def test_paired_intervals_cover_the_true_loss(loss: float) -> None:
    random = np.random.default_rng(9)
    chances = [loss + 0.02, 0.02, 1 - loss - 0.04]
    samples = [np.repeat([1.0, -1.0, 0.0], random.multinomial(300, chances)) for _ in range(600)]
    intervals = [stats.paired_difference(sample) for sample in samples]
    assert sum(one.low <= loss <= one.high for one in intervals) / 600 >= 0.93


@given(st.lists(st.integers(0, 6), min_size=3, max_size=40), st.lists(st.integers(0, 6), min_size=3, max_size=40))
def test_auc_is_scikit_learns_also_with_ties_and_lies_in_its_interval(positives: list[int], negatives: list[int]) -> None:
    found = stats.auc(np.array(positives, dtype=float), np.array(negatives, dtype=float))
    labels = [1] * len(positives) + [0] * len(negatives)
    assert found.value == pytest.approx(roc_auc_score(labels, positives + negatives))
    assert found.interval.low <= found.value <= found.interval.high


def test_delongs_variance_is_that_of_the_placements() -> None:
    random = np.random.default_rng(3)
    positives, negatives = random.normal(0.4, 1, 40), random.normal(0, 1, 60)
    wins = (positives[:, None] > negatives[None, :]).astype(float)
    half = 1.959964 * math.sqrt(wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 60)
    found = stats.auc(positives, negatives)
    assert (found.interval.low, found.interval.high) == pytest.approx((found.value - half, found.value + half), abs=1e-6)


def test_perfect_separation_still_has_an_interval_with_width() -> None:
    found = stats.auc(np.ones(20), np.zeros(30))
    assert found.value == found.interval.high == 1.0
    assert 0.8 < found.interval.low < 0.98


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_auc_intervals_cover_the_true_area(shift: float) -> None:
    random, true = np.random.default_rng(4), reference.norm.cdf(shift / math.sqrt(2))
    found = [stats.auc(random.normal(shift, 1, 200), random.normal(0, 1, 100)).interval for _ in range(600)]
    assert sum(one.low <= true <= one.high for one in found) / 600 >= 0.93


@pytest.mark.parametrize("off", [(0.0, 0.0, 0.0, 0.0, 0.0), (0.2, -0.1, 0.1, 0.0, 0.05), (0.3, 0.3, 0.3, 0.3, 0.3)])
def test_calibration_intervals_cover_the_true_error(off: tuple[float, ...]) -> None:
    random, stated, n = np.random.default_rng(6), np.array([0.55, 0.6, 0.65, 0.7, 0.9]), 60
    shares = np.clip(stated - np.array(off), 0, 1)
    true = float(np.abs(stated - shares).mean())
    rows = random.binomial(n, shares, size=(600, 5))
    found = [stats.calibration_error([Bin(n, int(k), n * p) for k, p in zip(row, stated, strict=True)])[1] for row in rows]
    assert sum(one.low <= true <= one.high for one in found) / 600 >= 0.95
    assert sum(true <= one.high for one in found) / 600 >= 0.97


def test_a_ratio_of_means_is_known_exactly_where_rows_agree() -> None:
    bottom = np.array([1.0, 2.0, 5.0])
    ratio, interval = stats.ratio_of_means(0.25 * bottom, bottom)
    assert ratio == pytest.approx(0.25)
    assert (interval.low, interval.high) == pytest.approx((0.25, 0.25))


def test_ratio_intervals_cover_the_true_ratio() -> None:
    random, covered = np.random.default_rng(8), 0
    for _ in range(600):
        bottom = random.uniform(0.4, 0.9, 100)
        _, interval = stats.ratio_of_means(bottom * random.normal(0.2, 0.3, 100), bottom)
        covered += interval.low <= 0.2 <= interval.high
    assert covered / 600 >= 0.93


@given(st.integers(1, 3000), st.floats(0.001, 0.999), LEVELS)
def test_the_binomial_range_is_scipys(n: int, p: float, level: float) -> None:
    low, high = stats.binomial_range(n, p, level)
    held = reference.binom.cdf(high, n, p) - reference.binom.cdf(low - 1, n, p)
    assert held >= level - 1e-9
    assert reference.binom.cdf(low - 1, n, p) < (1 - level) / 2 + 1e-9


@given(st.integers(10, 10_000), st.floats(0, 0.2), st.floats(0.001, 0.3), st.floats(0.01, 0.5))
def test_rows_asked_for_bring_the_bound_to_the_limit_or_none_are_asked(n: int, value: float, reach: float, limit: float) -> None:
    rows = stats.rows_for(n, value=value, bound=value + reach, limit=limit)
    if rows is None:
        assert limit <= value
    else:
        assert rows >= n
        assert value + reach * math.sqrt(n / rows) <= max(limit, value + reach) + 1e-9
        assert value + reach * math.sqrt(n / rows) <= limit + 1e-9 or rows == n
