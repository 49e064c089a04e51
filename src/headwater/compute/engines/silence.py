"""For how long a site has answered nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.core.errors import Unavailable


class Silence:
    """Counts from the first question that went unanswered to the next answer."""

    def __init__(self) -> None:
        """Begin with a site that answers."""
        self._since_s: float | None = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Take note of whether the question asked within is answered: a refusal is an answer, and Unavailable is none."""
        try:
            yield
        except Unavailable:
            self._since_s = self._since_s or time.monotonic()
            raise
        self._since_s = None

    def lasts_s(self) -> float:
        """Return the seconds of silence, 0.0 where the last question was answered."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s
