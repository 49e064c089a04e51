"""Expect a job's run time from those of like jobs that ended before, and say how far off such expectations were.

Likeness, from near to far: the same person, project step and shape; the same project step and shape; the same step or program of
that shape; any job. The nearest with a run decides: the geometric mean of its latest eight. The interval is what actual runs were,
over what was expected of them: from the tenth to the ninetieth of a hundred, once there are enough. Nothing is looked at that had
not ended when it was needed.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from headwater.compute import jobs
from headwater.compute.jobs import Job, State
from headwater.core.identity import ROOT

LATEST = 8
ENOUGH = 20
"""Predictions that must have come true or not before their errors make an interval."""
LOW, HIGH = 0.1, 0.9
LONGEST_HISTORY = 2000
LEAST_S = 0.001
LEVELS = ("person, project step and shape", "project step and shape", "step or program, and shape", "any job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A job that ended well: what it was like by level, when it was handed in and ended, and for how long it ran."""

    likeness: tuple[str, ...]
    submitted_s: float
    ended_s: float
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A run time to expect; `low_s` and `high_s` are None until enough predictions have been held against what came."""

    run_s: float
    low_s: float | None
    high_s: float | None
    runs: int
    likeness: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """How runs compared with what was expected of them at submission: actual over expected, by likeness and over all."""

    likeness: str
    predictions: int
    median: float
    low: float
    high: float
    within_2x: float


class History:
    """Runs in the order of their ends, and what they teach."""

    def __init__(self, runs: Iterable[Ran] = ()) -> None:
        """Learn from runs in any order: each was expected when it was handed in, from those that had ended by then."""
        self._latest: dict[tuple[int, str], deque[float]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._by_level: dict[int, list[float]] = defaultdict(list)
        told: dict[Ran, tuple[int, float]] = {}
        for _, ends, one in sorted(_moments(runs), key=lambda moment: moment[:2]):
            if not ends and (found := self._nearest(one.likeness)) is not None:
                told[one] = found
            if ends:
                self._learn(one, told.get(one))
        self._ratios = sorted(ratio for ratios in self._by_level.values() for ratio in ratios)

    def _learn(self, one: Ran, told: tuple[int, float] | None) -> None:
        if told is not None:
            self._by_level[told[0]].append(max(one.run_s, LEAST_S) / told[1])
        for level, key in enumerate(one.likeness):
            self._latest[level, key].append(max(one.run_s, LEAST_S))

    def _nearest(self, likeness: Sequence[str]) -> tuple[int, float] | None:
        """Return the nearest level that knows a run, and the mean of the latest there."""
        for level, key in enumerate(likeness):
            if runs := self._latest.get((level, key)):
                return level, math.exp(sum(map(math.log, runs)) / len(runs))
        return None

    def expect(self, likeness: Sequence[str]) -> Expected | None:
        """Return the run time to expect of a job like this; None where nothing has run."""
        found = self._nearest(likeness)
        if found is None:
            return None
        level, run_s = found
        enough = len(self._ratios) >= ENOUGH
        return Expected(
            run_s=run_s,
            low_s=run_s * quantile(self._ratios, LOW) if enough else None,
            high_s=run_s * quantile(self._ratios, HIGH) if enough else None,
            runs=len(self._latest[level, likeness[level]]),
            likeness=LEVELS[level],
        )

    def errors(self) -> tuple[Error, ...]:
        """Return how runs compared with what was expected of them, by likeness from near to far, and over all."""
        groups = [(LEVELS[level], sorted(self._by_level[level])) for level in sorted(self._by_level)]
        return tuple(_error(name, ratios) for name, ratios in [*groups, ("all", self._ratios)] if ratios)


def _moments(runs: Iterable[Ran]) -> Iterable[tuple[float, int, Ran]]:
    """Yield when each run was handed in (0) and ended (1); at one moment, what was handed in comes first and knows no end of it."""
    for one in runs:
        yield one.submitted_s, 0, one
        yield one.ended_s, 1, one


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of ordered values lies."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _error(likeness: str, ratios: Sequence[float]) -> Error:
    return Error(
        likeness=likeness,
        predictions=len(ratios),
        median=quantile(ratios, 0.5),
        low=quantile(ratios, LOW),
        high=quantile(ratios, HIGH),
        within_2x=sum(0.5 <= ratio <= 2.0 for ratio in ratios) / len(ratios),
    )


def likeness_of(job: Job) -> tuple[str, ...]:
    """Return what a job is like, from near to far."""
    asked = job.spec.resources
    chips = ",".join(f"{chip}x{count}" for chip, count in sorted(asked.accelerators.items()))
    shape = f"{asked.cpus:g} {asked.memory_gib:g} {chips}"
    program = job.spec.step or (job.spec.argv[0] if job.spec.argv else "")
    place = f"{job.organisation} {job.spec.project}.{job.name} {program} {shape}"
    return f"{job.submitted_by} {place}", place, f"{program} {shape}", ""


def kind_of(job: Job) -> str:
    """Return the name that like jobs share, as the scheduler learns from them."""
    return likeness_of(job)[0]


def runs(connection: Connection, scopes: Iterable[str] = (ROOT,)) -> tuple[Ran, ...]:
    """Return the latest runs that ended well in some organisations; the scheduler learns from those of all."""
    column = jobs.jobs.c
    query = (
        select(jobs.jobs)
        .where(column.state == State.DONE, jobs.within(column.organisation, scopes))
        .order_by(column.ended_at.desc())
        .limit(LONGEST_HISTORY)
    )
    return tuple(_ran(job) for job in map(jobs.from_row, connection.execute(query)) if job.took_s is not None)


def _ran(job: Job) -> Ran:
    assert job.ended_at is not None
    assert job.took_s is not None
    run_s = job.attained_s + job.took_s
    return Ran(likeness=likeness_of(job), submitted_s=job.submitted_at.timestamp(), ended_s=job.ended_at.timestamp(), run_s=run_s)
