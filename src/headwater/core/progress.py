"""How a running step says how far it is: one JSON line per change, in a file that anyone may follow."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

SMALLEST_GAP_S = 0.2
FILE = "progress.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is: `done` of `total` units, and what it is doing."""

    done: float
    total: float
    note: str = ""

    @property
    def share(self) -> float:
        """The finished share, 0 to 1."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0


class ProgressWriter:
    """Appends progress to a file, at most five lines a second, the last one always."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = float("-inf")

    def __call__(self, done: float, total: float, note: str = "") -> None:
        now = time.monotonic()
        if done < total and now - self._last < SMALLEST_GAP_S:
            return
        self._last = now
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"done": done, "total": total, "note": note[:200]}, ensure_ascii=False) + "\n")


def last(path: Path) -> Progress | None:
    """Return the newest progress in a file, or None where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return Progress(**json.loads(line))
        except (ValueError, TypeError):
            continue  # the writer is in the middle of this line
    return None
