"""Letters from figures: pure, on the pessimistic end of each interval.

A dimension is as good as its worst line; the whole is as good as its worst graded dimension, never a mean. Few samples
widen the interval and cap the letter; a figure that could not be measured never counts as a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from headwater.core.errors import BadInput
from headwater.trust.measurement import Measurement
from headwater.trust.policy import PASSING, Cap, DimensionPolicy, Letter, Line, Policy
from headwater.trust.stats import rows_for


@dataclass(frozen=True, slots=True, kw_only=True)
class NextGrade:
    """What the next better letter takes: about so many more rows if the value stays, or None if the value itself is beyond it.

    `of_smallest_cell`: the rows must be of the kind that the smallest cell holds.
    """

    letter: Letter
    more_samples: int | None
    of_smallest_cell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One figure and its letter; letter None: reported, not graded.

    `cap` is the rule that holds the letter down; `possible` is the letter that the favourable end of the interval
    would earn: what the data do not exclude.
    """

    measure: str
    measurement: Measurement
    line: Line | None = None
    letter: Letter | None = None
    bound: float | None = None
    possible: Letter | None = None
    cap: Cap | None = None
    next: NextGrade | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionGrade:
    """A dimension's letter and its figures. `unmet`: graded measures of the policy for which there was no gradable figure."""

    letter: Letter
    figures: tuple[Graded, ...]
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grades:
    """The overall letter and each dimension's."""

    overall: Letter
    dimensions: Mapping[str, DimensionGrade]


def grade(taken: Mapping[str, Sequence[Measurement]], policy: Policy) -> Grades:
    """Return the grades of what was measured. Raises BadInput where the policy names a measure that was not taken."""
    named = {line.measure for dimension in policy.dimensions.values() for line in dimension.lines}
    if unknown := sorted(named - set(taken)):
        raise BadInput(f"The policy grades '{unknown[0]}', which no measure gives.", f"Measures: {', '.join(taken)}.", where=policy.id)
    dimensions = {name: _dimension(name, one, taken, policy.caps) for name, one in policy.dimensions.items()}
    letters = [one.letter for one in dimensions.values() if one.letter is not Letter.N]
    return Grades(overall=max(letters, default=Letter.N), dimensions=dimensions)


def _dimension(name: str, dimension: DimensionPolicy, taken: Mapping[str, Sequence[Measurement]], caps: Sequence[Cap]) -> DimensionGrade:
    figures: list[Graded] = []
    unmet: list[str] = []
    for line in dimension.lines:
        cases = [one for one in taken[line.measure] if line.case in (None, one.case)]
        if not any(one.gradable for one in cases):
            unmet.append(line.measure)
        figures += [graded(line, one, caps) for one in cases]
    seen = {(one.measure, one.measurement.case) for one in figures}
    for measure, cases_of in taken.items():
        if measure.partition(".")[0] == name:
            figures += [Graded(measure=measure, measurement=one) for one in cases_of if (measure, one.case) not in seen]
    return DimensionGrade(letter=_worst([one.letter for one in figures], unmet), figures=tuple(figures), unmet=tuple(unmet))


def _worst(letters: Iterable[Letter | None], unmet: Sequence[str]) -> Letter:
    """Return E where any line has failed, else N where any is not measurable, else the worst letter."""
    given = [letter for letter in letters if letter is not None]
    if Letter.E in given:
        return Letter.E
    return Letter.N if unmet else max(given, default=Letter.N)


def graded(line: Line, one: Measurement, caps: Sequence[Cap] = ()) -> Graded:
    """Return one figure's letter under one line of a policy."""
    if not one.gradable:
        return Graded(measure=line.measure, measurement=one)
    if one.value is None or one.interval is None:
        return Graded(measure=line.measure, measurement=one, line=line, letter=line.when_absent)
    bound, favourable = (one.interval.high, one.interval.low) if line.better == "lower" else (one.interval.low, one.interval.high)
    earned = letter_of(bound, line)
    binding = [cap for cap in caps if one.smallest < cap.below and cap.best > earned]
    cap = max(binding, key=lambda cap: cap.best, default=None)
    letter, possible = cap.best if cap else earned, letter_of(favourable, line)
    found = Graded(measure=line.measure, measurement=one, line=line, letter=letter, bound=bound, possible=possible, cap=cap)
    return replace(found, next=_capped_next(one, cap, binding) if cap else _next(line, one, earned, bound))


def letter_of(bound: float, line: Line) -> Letter:
    """Return the best letter whose limit the bound keeps."""
    return next((letter for letter in PASSING if keeps(bound, line, letter)), Letter.E)


def keeps(bound: float, line: Line, letter: Letter) -> bool:
    """Tell whether a bound is on the good side of a letter's limit, or on it."""
    limit = line.limits.of(letter)
    return bound <= limit if line.better == "lower" else bound >= limit


def _better(letter: Letter) -> Letter:
    return Letter(chr(ord(letter.value) - 1))


def _next(line: Line, one: Measurement, letter: Letter, bound: float) -> NextGrade | None:
    if letter is Letter.A or one.value is None:
        return None
    wanted = _better(letter)
    rows = rows_for(one.n, value=one.value, bound=bound, limit=line.limits.of(wanted))
    return NextGrade(letter=wanted, more_samples=None if rows is None else rows - one.n)


def _capped_next(one: Measurement, cap: Cap, binding: Sequence[Cap]) -> NextGrade:
    wanted = _better(cap.best)
    below = max(other.below for other in binding if other.best > wanted)
    return NextGrade(letter=wanted, more_samples=below - one.smallest, of_smallest_cell=True)
