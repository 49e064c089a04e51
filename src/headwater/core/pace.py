"""How often one caller may ask: a bucket of requests for each, filled evenly over time.

Pure but for the buckets: the time is passed in. Each server process keeps its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

MOST_CALLERS = 20_000
"""Callers remembered; whoever asked longest ago is forgotten first, and then has a full bucket again."""


class Pace:
    """Buckets of `per_minute` requests by caller; 0 means no bound."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, now_s: float) -> float:
        """Take one request of the caller's and return 0, or return the seconds until there is one to take."""
        if self.per_minute == 0:
            return 0.0
        with self._lock:
            left, then = self._left.pop(caller, (float(self.per_minute), now_s))
            left = min(float(self.per_minute), left + max(0.0, now_s - then) * self.per_minute / 60)
            taken = left >= 1
            self._left[caller] = (left - taken, now_s)
            if len(self._left) > MOST_CALLERS:
                self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) * 60 / self.per_minute
