"""Expect a job's run time from the runs of like jobs that had ended when it was handed in, and say how good such expectations were.

Pure: past runs in, quantiles out. Like jobs are those of the same user, name and shape; where too few of them have ended, those of the
same user and name, then name and shape, then user, then all. Nothing that ended later is looked at.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Basis = Literal["user, name and shape", "user and name", "name and shape", "user", "all jobs"]
BASES: tuple[Basis, ...] = ("user, name and shape", "user and name", "name and shape", "user", "all jobs")
LATEST = 30
"""Runs of like jobs that are looked at: the latest."""
ENOUGH = 3
"""Ended runs below which a wider circle of jobs is asked."""
ROUNDING = 1e-9
P10, P50, P90 = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A run that has ended."""

    user: str
    name: str
    shape: str
    submitted_s: float
    ended_s: float
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTime:
    """A run time expected in seconds: one in ten is shorter than `p10_s`, one in ten longer than `p90_s`."""

    p10_s: float
    p50_s: float
    p90_s: float
    basis: Basis
    runs: int
    """How many it rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How expectations compared with what happened, over jobs for which there was one. Ratios are expected over actual."""

    jobs: int
    predicted: int
    median_ratio: float | None
    ratio_p10: float | None
    ratio_p90: float | None
    median_factor: float | None
    """The larger of the ratio and its inverse, in the median: 1 is exact."""
    covered: float | None
    """Part of the actual run times that lay between p10 and p90."""


@dataclass(slots=True)
class History:
    """Ended runs by circle of like jobs, the latest of each. Add them in the order in which they ended."""

    _runs: dict[tuple[str, ...], deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=LATEST)))

    def add(self, past: Past) -> None:
        """Take in one more ended run."""
        for circle in circles(past.user, past.name, past.shape):
            self._runs[circle].append(max(past.run_s, 1.0))

    def predict(self, user: str, name: str, shape: str) -> RunTime | None:
        """Return what is expected of such a job; None where nothing has ended yet."""
        for basis, circle in zip(BASES, circles(user, name, shape), strict=True):
            runs = self._runs.get(circle, ())
            if len(runs) >= ENOUGH or (runs and basis == BASES[-1]):
                p10, p50, p90 = np.exp(np.quantile(np.log(np.array(runs)), (P10, P50, P90)))
                return RunTime(p10_s=float(p10), p50_s=float(p50), p90_s=float(p90), basis=basis, runs=len(runs))
        return None


def circles(user: str, name: str, shape: str) -> tuple[tuple[str, ...], ...]:
    """Return the keys of the circles that a job belongs to, the narrowest first."""
    return ("uns", user, name, shape), ("un", user, name), ("ns", name, shape), ("u", user), ("all",)


def history_of(past: Iterable[Past]) -> History:
    """Return the history of these runs, in whatever order they come."""
    history = History()
    for one in sorted(past, key=lambda run: run.ended_s):
        history.add(one)
    return history


def accuracy(past: Sequence[Past]) -> Accuracy:
    """Return how good the expectations would have been: each job is predicted from those that had ended when it was submitted."""
    history, ended = History(), sorted(past, key=lambda run: run.ended_s)
    found: list[tuple[RunTime, float]] = []
    told = 0
    for job in sorted(past, key=lambda run: run.submitted_s):
        while told < len(ended) and ended[told].ended_s <= job.submitted_s:
            history.add(ended[told])
            told += 1
        expected = history.predict(job.user, job.name, job.shape)
        if expected is not None:
            found.append((expected, max(job.run_s, 1.0)))
    return summary(len(past), found)


def summary(jobs: int, found: Sequence[tuple[RunTime, float]]) -> Accuracy:
    """Return the figures over pairs of expected and actual run times."""
    if not found:
        return Accuracy(jobs=jobs, predicted=0, median_ratio=None, ratio_p10=None, ratio_p90=None, median_factor=None, covered=None)
    ratio = np.array([expected.p50_s / actual for expected, actual in found])
    inside = [expected.p10_s * (1 - ROUNDING) <= actual <= expected.p90_s * (1 + ROUNDING) for expected, actual in found]
    low, middle, high = np.quantile(ratio, (P10, P50, P90))
    return Accuracy(
        jobs=jobs, predicted=len(found), median_ratio=float(middle), ratio_p10=float(low), ratio_p90=float(high),
        median_factor=float(np.median(np.maximum(ratio, 1 / ratio))), covered=float(np.mean(inside)),
    )  # fmt: skip
