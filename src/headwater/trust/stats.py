"""Intervals and sample sizes for evaluation figures: closed forms, no clock, no random source.

Every function takes counts or per-row values and gives an `Interval`. There is no bootstrap here: a percentile
bootstrap of a largest-minus-smallest gap covers a true gap of 0 in none of 1,000 trials.

Sources: Wilson 1927; Newcombe 1998, Statistics in Medicine 17:873 (method 10); Bonett and Price 2012, Journal of
Educational and Behavioral Statistics 37:479; DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837; Hanley and
McNeil 1982, Radiology 143:29; Newcombe 2006, Statistics in Medicine 25:559 (method 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided confidence interval, its level, and how it was made."""

    low: float
    high: float
    level: float
    method: str


class Rate(NamedTuple):
    """`hits` of `n`."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The observed share; n must not be 0."""
        return self.hits / self.n


def z_of(level: float) -> float:
    """Return the normal quantile of a two-sided level: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(rate: Rate, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion; n must not be 0."""
    z2 = z_of(level) ** 2
    p, n = rate.value, rate.n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) + z2 / (4 * n)) / n) / (1 + z2 / n)
    low = 0.0 if rate.hits == 0 else max(0.0, middle - half)
    high = 1.0 if rate.hits == n else min(1.0, middle + half)
    return Interval(low=low, high=high, level=level, method="Wilson")


def newcombe(a: Rate, b: Rate, level: float = 0.95) -> Interval:
    """Return the interval of a's share less b's, for independent samples (Newcombe's method 10)."""
    one, two = wilson(a, level), wilson(b, level)
    difference = a.value - b.value
    low = difference - math.hypot(a.value - one.low, two.high - b.value)
    high = difference + math.hypot(one.high - a.value, b.value - two.low)
    return Interval(low=max(-1.0, low), high=min(1.0, high), level=level, method="Newcombe")


class Gap(NamedTuple):
    """The largest of several absolute differences, with an interval that holds for all of them at once."""

    value: float
    interval: Interval


def _of_absolute(interval: Interval) -> tuple[float, float]:
    nearest = 0.0 if interval.low <= 0 <= interval.high else min(abs(interval.low), abs(interval.high))
    return nearest, max(abs(interval.low), abs(interval.high))


def simultaneous_gap(families: Sequence[Sequence[Rate]], level: float = 0.95) -> Gap:
    """Return the largest gap between two groups' rates, over all pairs of groups and all families of rates.

    A family holds one rate per group (the true-positive rates, say); each needs two groups or more, none of them
    empty. Pairwise Newcombe intervals at 1 - (1 - level)/m for the m pairs of all families (Bonferroni): the
    interval runs from the largest of the pairs' lower ends (0 where a pair's interval holds 0) to the largest upper end.
    """
    pairs = [pair for rates in families for pair in combinations(rates, 2)]
    each = 1 - (1 - level) / len(pairs)
    ends = [_of_absolute(newcombe(a, b, each)) for a, b in pairs]
    value = max(abs(a.value - b.value) for a, b in pairs)
    method = "pairwise Newcombe" + (f", Bonferroni over {len(pairs)}" if len(pairs) > 1 else "")
    return Gap(value, Interval(low=max(low for low, _ in ends), high=max(high for _, high in ends), level=level, method=method))


def worst_shortfall(groups: Sequence[Rate], level: float = 0.95) -> Gap:
    """Return how far the worst group's rate lies below the rate of all groups together, at least 0.

    Overall less group g is (1 - n_g/n) times rest less group g, and rest and group are independent: Newcombe's
    interval of that difference, scaled, Bonferroni over the groups (two groups are one comparison).
    """
    hits, n = sum(group.hits for group in groups), sum(group.n for group in groups)
    comparisons = 1 if len(groups) == 2 else len(groups)
    each = 1 - (1 - level) / comparisons
    lows, highs, values = [0.0], [0.0], [0.0]
    for group in groups:
        rest, weight = Rate(hits - group.hits, n - group.n), 1 - group.n / n
        interval = newcombe(rest, group, each)
        values.append(weight * (rest.value - group.value))
        lows.append(weight * interval.low)
        highs.append(weight * interval.high)
    method = "Newcombe, group against rest" + (f", Bonferroni over {comparisons}" if comparisons > 1 else "")
    return Gap(max(values), Interval(low=max(lows), high=max(highs), level=level, method=method))


def paired_difference(differences: Floats, level: float = 0.95) -> Interval:
    """Return the interval of the mean of per-row differences in [-1, 1].

    Bonett and Price's adjusted Wald interval: one row at +1 and one at -1 are added, so that a sample without any
    difference still gives an interval with width. With differences of -1, 0 and 1 it is theirs exactly; with
    averages over several draws the rows' own variance takes the binomial one's place.
    """
    n = len(differences) + 2
    mean = float(differences.sum()) / n
    variance = (float((differences**2).sum()) + 2) / n - mean**2
    half = z_of(level) * math.sqrt(variance / n)
    return Interval(low=max(-1.0, mean - half), high=min(1.0, mean + half), level=level, method="Bonett-Price, paired by row")


def ratio_of_means(top: Floats, bottom: Floats, level: float = 0.95) -> tuple[float, Interval]:
    """Return mean(top)/mean(bottom) of paired rows and its delta-method interval; mean(bottom) must be above 0."""
    n, below = len(top), float(bottom.mean())
    ratio = float(top.mean()) / below
    residual = top - ratio * bottom
    half = z_of(level) * float(residual.std(ddof=1)) / (below * math.sqrt(n))
    return ratio, Interval(low=ratio - half, high=ratio + half, level=level, method="delta method, ratio of means over rows")


class Auc(NamedTuple):
    """The area under the ROC curve and its interval."""

    value: float
    interval: Interval


def auc(positives: Floats, negatives: Floats, level: float = 0.95) -> Auc:
    """Return P(positive > negative) + P(equal)/2 with DeLong's interval.

    Where DeLong's variance is 0 (no overlap at all) the Hanley-McNeil variance is inverted instead (Newcombe 2006).
    """
    import numpy as np

    order = np.sort(negatives)
    above = (np.searchsorted(order, positives, "left") + np.searchsorted(order, positives, "right")) / (2 * len(negatives))
    order = np.sort(positives)
    below = 1 - (np.searchsorted(order, negatives, "left") + np.searchsorted(order, negatives, "right")) / (2 * len(positives))
    value = float(above.mean())
    variance = float(above.var(ddof=1)) / len(positives) + float(below.var(ddof=1)) / len(negatives)
    if variance <= 0:
        return Auc(value, hanley_mcneil(value, len(positives), len(negatives), level))
    half = z_of(level) * math.sqrt(variance)
    return Auc(value, Interval(low=max(0.0, value - half), high=min(1.0, value + half), level=level, method="DeLong"))


def hanley_mcneil(value: float, positives: int, negatives: int, level: float = 0.95) -> Interval:
    """Return the areas t with |value - t| <= z times the Hanley-McNeil standard error at t."""
    z, extra = z_of(level), (positives + negatives) / 2 - 1

    def inside(t: float) -> bool:
        variance = t * (1 - t) * (1 + extra * (1 - t) / (2 - t) + extra * t / (1 + t)) / (positives * negatives)
        return abs(value - t) <= z * math.sqrt(variance)

    def edge(outside: float) -> float:
        within = value
        if inside(outside):
            return outside
        for _ in range(60):
            middle = (within + outside) / 2
            within, outside = (middle, outside) if inside(middle) else (within, middle)
        return within

    low = 0.0 if value <= 0 else edge(0.0)
    high = 1.0 if value >= 1 else edge(1.0)
    return Interval(low=low, high=high, level=level, method="Hanley-McNeil, score form")


class Bin(NamedTuple):
    """One bin of a reliability diagram: rows, correct answers, and the sum of the stated confidences."""

    n: int
    correct: int
    confidence_sum: float


def calibration_error(bins: Sequence[Bin], level: float = 0.95) -> tuple[float, Interval]:
    """Return the expected calibration error over bins that were chosen without looking at the labels, with its interval.

    The error E is the sum over bins of |signed deviation|; the estimate is the largest of all signed sums. Upper end:
    with the true signs s, estimate >= s·(observed deviations) = E + noise of one *fixed* contrast, whose variance is
    that of the mean of n independent answers; so E <= estimate + z·sd. Lower end: estimate <= E + the sum of |noise|,
    which stays under its mean + z·sd
    (Gaussian isoperimetry; a convex function's median is below its mean). Bins' variances use (correct + 2)/(n + 4).
    """
    total = sum(one.n for one in bins)
    value = sum(abs(one.correct - one.confidence_sum) for one in bins) / total
    deviations = [math.sqrt(one.n * share * (1 - share)) / total for one in bins for share in [(one.correct + 2) / (one.n + 4)]]
    reach = z_of(level) * math.sqrt(sum(sd**2 for sd in deviations))
    low = value - sum(deviations) * math.sqrt(2 / math.pi) - reach
    return value, Interval(low=max(0.0, low), high=min(1.0, value + reach), level=level, method="fixed-sign contrast over bins")


def binomial_range(n: int, p: float, level: float) -> tuple[int, int]:
    """Return the least and greatest count that a binomial variable takes with at least `level` in between (equal tails)."""
    import numpy as np

    counts = np.arange(n + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    chances = np.exp(factorials[n] - factorials - factorials[::-1] + counts * math.log(p) + (n - counts) * math.log1p(-p))
    cumulative, tail = np.cumsum(chances), (1 - level) / 2
    return int(np.searchsorted(cumulative, tail)), int(np.searchsorted(cumulative, 1 - tail))


def rows_for(n: int, *, value: float, bound: float, limit: float) -> int | None:
    """Return about how many rows bring the pessimistic bound to the limit if the value stays, or None if none would.

    An interval's half-width shrinks with the root of n.
    """
    reach, allowed = abs(bound - value), (limit - value) * (1 if bound > value else -1)
    if allowed <= 0 or not math.isfinite(reach):
        return None
    return max(n, math.ceil(n * (reach / allowed) ** 2))
