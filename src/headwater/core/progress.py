"""How a running step says how far it is, and what it measures on the way: one JSON line per change, in a file that anyone may follow."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headwater.core.plain_file import plain

SMALLEST_GAP_S = 0.2
FILE = "progress.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is: `done` of `total` units, and what it is doing."""

    done: float
    total: float
    note: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What was measured at this point, by name: a curve of each is drawn."""

    @property
    def share(self) -> float:
        """The finished share, 0 to 1."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0


class ProgressWriter:
    """Appends progress to a file, at most five lines a second, the last one always."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = float("-inf")

    def __call__(self, done: float, total: float, note: str = "", figures: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if done < total and now - self._last < SMALLEST_GAP_S:
            return
        self._last = now
        with self._path.open("a", encoding="utf-8") as file:
            told = {name: value for name, value in (figures or {}).items() if math.isfinite(value)}
            line = {"done": done, "total": total, "note": note[:200], **({"figures": told} if told else {})}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def last(path: Path) -> Progress | None:
    """Return the newest progress in a file, or None where there is none yet."""
    try:
        with plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return Progress(**json.loads(line))
        except (ValueError, TypeError):
            continue  # the writer is in the middle of this line
    return None


MOST_BYTES = 4 << 20
"""Of a progress file that curves are read from: its end."""


def curves(path: Path, *, most: int = 300) -> dict[str, list[tuple[float, float]]]:
    """Return each figure of a progress file as points (done, value), thinned out to about `most`, the last one always kept."""
    found: dict[str, list[tuple[float, float]]] = {}
    for told in _lines(path):
        for name, value in told.figures.items():
            found.setdefault(name, []).append((told.done, value))
    return {name: _thinned(points, most) for name, points in found.items()}


def _lines(path: Path) -> list[Progress]:
    try:
        with plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    told = []
    for line in lines:
        try:
            told.append(Progress(**json.loads(line)))
        except (ValueError, TypeError):
            continue  # the first may be cut, and the last may be in the middle of being written
    return told


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    step = max(1, math.ceil(len(points) / most))
    kept = list(points[::step])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]
