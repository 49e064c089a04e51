"""Which candidates are worth having. Pure.

A candidate is worth having where no other that passes is as small, as fast and as good, and better in one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Aim = Literal["size", "latency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One candidate as it was measured. `metric` is better where it is higher; `why_not` is empty where it passes."""

    engine: str
    setting: str
    size_bytes: int
    latency_ms: float
    """Median of one answer at batch 1, asked in turn with the model that it came from."""
    before_ms: float
    """The same of the model that it came from, in the same rounds."""
    metric: float
    low: float
    """Of the metric's interval, where the measure gives one; else the metric."""
    high: float
    why_not: str = ""
    on_front: bool = False
    chosen: bool = False
    receipt: dict[str, Any] = field(default_factory=dict)
    """How it was made: versions, settings, digests, machine."""

    @property
    def faster(self) -> float:
        """How many times faster than the model that it came from."""
        return self.before_ms / self.latency_ms


def beats(one: Point, other: Point) -> bool:
    """Tell whether a candidate is at least as small, fast and good as another, and better in one of these."""
    pairs = ((other.size_bytes, one.size_bytes), (other.latency_ms, one.latency_ms), (one.metric, other.metric))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def front(points: Sequence[Point]) -> list[Point]:
    """Return the candidates that pass and that none that passes beats, in their order."""
    passing = [point for point in points if not point.why_not]
    return [point for point in passing if not any(beats(other, point) for other in passing)]


def choose(points: Sequence[Point], aim: Aim) -> Point | None:
    """Return the smallest or the fastest of the front; among equals the better, then the first. None where nothing passes."""
    best = front(points)
    if not best:
        return None
    return min(best, key=lambda one: ((one.size_bytes if aim == "size" else one.latency_ms), -one.metric))
