"""Charts as data for a page to draw as SVG: where lines, points and ticks lie, in the chart's own units. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 640.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 12.0, 10.0, 26.0
TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of an axis: where it is, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve: its name, its path, and its last value."""

    name: str
    path: str
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point: where it is, what it says, and in which state it is."""

    x: float
    y: float
    label: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart, ready to be drawn."""

    title: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From values to places on one axis."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value lies."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return round values within the axis, about TICKS of them."""
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(Tick(at=self.place(number * step), label=f"{number * step:.6g}") for number in range(first, last + 1))


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return the axis that holds some values; one value alone gets room on both sides."""
    low, high = min(values), max(values)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    return Axis(low=low, high=high, start=start, end=end)


def lines(title: str, series: Mapping[str, Points], *, x_title: str = "", y_title: str = "") -> Chart | None:
    """Return a chart of curves over one axis, or None where there is no point. Values that are no numbers are left out."""
    kept = {name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in series.items()}
    every = [point for points in kept.values() for point in points]
    if not every:
        return None
    across, up = axis([x for x, _ in every], LEFT, WIDTH - RIGHT), axis([y for _, y in every], HEIGHT - BOTTOM, TOP)
    drawn = tuple(Line(name=name, path=_path(points, across, up), last=points[-1][1]) for name, points in kept.items() if points)
    return Chart(title=title, x_title=x_title, y_title=y_title, x_ticks=across.ticks(), y_ticks=up.ticks(), lines=drawn)


def _path(points: Points, across: Axis, up: Axis) -> str:
    return "M" + " L".join(f"{across.place(x)} {up.place(y)}" for x, y in points)


def dots(title: str, points: Sequence[tuple[float, float, str, str]], *, x_title: str, y_title: str) -> Chart | None:
    """Return a chart of points (x, y, label, state) with both axes from 0, or None where there is none."""
    kept = [point for point in points if math.isfinite(point[0]) and math.isfinite(point[1])]
    if not kept:
        return None
    across = axis([0.0, *(x for x, *_ in kept)], LEFT, WIDTH - RIGHT)
    up = axis([0.0, *(one[1] for one in kept)], HEIGHT - BOTTOM, TOP)
    drawn = tuple(Dot(x=across.place(x), y=up.place(y), label=label, state=state) for x, y, label, state in kept)
    return Chart(title=title, x_title=x_title, y_title=y_title, x_ticks=across.ticks(), y_ticks=up.ticks(), dots=drawn)
