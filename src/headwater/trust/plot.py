"""Where the marks of an interval plot stand: figures in, positions from 0 to 100 out. The template draws them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from headwater.trust.grade import Graded
from headwater.trust.policy import PASSING

MARGIN = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The stretch of the scale that earns a letter."""

    letter: str
    start: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the scale and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """An interval over the bands of its policy line; all positions in per cent of the width."""

    value: float
    low: float
    high: float
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]


def plot_of(graded: Graded) -> Plot | None:
    """Return the plot of a figure, or None where there is no figure."""
    one = graded.measurement
    if one.value is None or one.interval is None:
        return None
    limits = [graded.line.limits.of(letter) for letter in PASSING] if graded.line else []
    points = [one.value, one.interval.low, one.interval.high, *limits]
    origin = [0.0] if graded.line is None or min(limits) < 0.5 else [0.5]
    start, end = min(points + origin), max(points + origin)
    pad = (end - start or 1.0) * MARGIN
    start, end = start - pad, end + pad

    def at(point: float) -> float:
        return round(100 * (point - start) / (end - start), 2)

    marks = limits or [*origin, one.interval.low, one.interval.high]
    ticks = tuple(Tick(at=at(point), label=f"{point:g}" if limits else f"{point:.2f}") for point in marks)
    return Plot(
        value=at(one.value),
        low=at(one.interval.low),
        high=at(one.interval.high),
        bands=_bands(graded, [at(x) for x in limits]),
        ticks=ticks,
    )


def _bands(graded: Graded, limits: list[float]) -> tuple[Band, ...]:
    if graded.line is None:
        return ()
    edges = [0.0, *limits, 100.0] if graded.line.better == "lower" else [0.0, *limits[::-1], 100.0]
    letters = "ABCDE" if graded.line.better == "lower" else "EDCBA"
    return tuple(Band(letter=letter, start=a, width=round(b - a, 2)) for letter, (a, b) in zip(letters, pairwise(edges), strict=True))
