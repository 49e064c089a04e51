"""How often one caller may ask: a bucket of requests for each, filled evenly over time; and longer waits after failures.

Pure but for what is remembered: the time is passed in. Each server process remembers for itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

MOST_CALLERS = 20_000
"""Callers remembered; whoever asked longest ago is forgotten first, and then has a full bucket again."""


class Pace:
    """Buckets of `per_minute` requests by caller; 0 means no bound."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, now_s: float, cost: int = 1) -> float:
        """Take a request of the caller's, or as many as it costs, and return 0; else return the seconds until they are there."""
        if self.per_minute == 0:
            return 0.0
        with self._lock:
            left, then = self._left.pop(caller, (float(self.per_minute), now_s))
            left = min(float(self.per_minute), left + max(0.0, now_s - then) * self.per_minute / 60)
            cost = min(cost, self.per_minute)
            taken = left >= cost
            self._left[caller] = (left - cost if taken else left, now_s)
            if len(self._left) > MOST_CALLERS:
                self._left.popitem(last=False)
        return 0.0 if taken else (cost - left) * 60 / self.per_minute


FORGET_S = 3600.0
LONGEST_WAIT_S = 900.0


class Backoff:
    """Failures by key: after some that are free, each doubles the wait before the next attempt, up to a quarter of an hour."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def attempt(self, free: Mapping[str, int], now_s: float) -> float:
        """Return the seconds until another attempt, or 0 and count one as failed for each key until `succeeded` says otherwise.

        `free` holds how many attempts each key has before it must wait. Counting comes first, so that
        attempts at the same time do not pass together.
        """
        with self._lock:
            wait_s = max((self._failures.get(key, (0, 0.0, 0.0))[2] - now_s for key in free), default=0.0)
            if wait_s > 0:
                return wait_s
            for key, allowed in free.items():
                count, then, _ = self._failures.pop(key, (0, now_s, 0.0))
                count = 1 if now_s - then > FORGET_S else count + 1
                over = count - allowed
                self._failures[key] = (count, now_s, now_s + min(LONGEST_WAIT_S, 2.0 ** min(over, 20)) if over >= 0 else 0.0)
            while len(self._failures) > MOST_CALLERS:
                self._failures.popitem(last=False)
        return 0.0

    def succeeded(self, forget: str, uncount: str) -> None:
        """Forget one key's failures, and take back the last attempt's of another: an address may try several people's passwords."""
        with self._lock:
            self._failures.pop(forget, None)
            count, then, _ = self._failures.pop(uncount, (0, 0.0, 0.0))
            if count > 1:
                self._failures[uncount] = (count - 1, then, 0.0)
