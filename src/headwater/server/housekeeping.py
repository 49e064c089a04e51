"""What a server does by the clock, whoever asks: cases whose clock ran out, grants of decided cases, vouchers, usage statements."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from headwater.core.platform import Platform

EVERY_S = 60.0

log = structlog.get_logger("headwater.server")

Chore = Callable[[Platform], int]


def chores() -> Mapping[str, Chore]:
    """Return the chores by name; each may be repeated without harm and tells how much it did."""
    from headwater.compute.settlement.statements import sign_daily
    from headwater.compute.settlement.vouchers import expire_due
    from headwater.data.authorisation.grants import take_up
    from headwater.programmes.casework import record_overdue

    return {
        "cases.overdue": record_overdue,
        "grants.taken_up": take_up,
        "vouchers.expired": expire_due,
        "usage.signed": sign_daily,
    }


class Housekeeping:
    """A thread that does every chore from time to time. `start` it once; `stop` it."""

    def __init__(self, platform: Platform, *, every_s: float = EVERY_S) -> None:
        self._platform = platform
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin, first after one period: a server that starts has other things to do."""
        self._thread.start()

    def stop(self) -> None:
        """End after the chore under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.wait(self._every_s):
            for name, chore in chores().items():
                try:
                    if done := chore(self._platform):
                        log.info("housekeeping.done", chore=name, count=done)
                except Exception:  # a failing chore is logged and tried again; the others are done all the same
                    log.exception("housekeeping.failed", chore=name)
