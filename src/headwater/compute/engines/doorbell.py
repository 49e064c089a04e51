"""A named pipe in the jobs folder that a runner rings when its attempt has ended, so that nobody has to look all the time.

A pipe and not a socket: a runner rings it without importing anything, and its path may be of any length.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

NAME = ".bell"
READ_BYTES = 1 << 16


class Doorbell:
    """The listening end. Runners started by an earlier server on the same folder ring it too."""

    def __init__(self, folder: Path) -> None:
        """Open the bell of a folder, hanging it up first if need be."""
        self.path = folder / NAME
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.path, 0o600)
        # Open for writing too, so that the pipe is never at its end when the last runner has closed it.
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, timeout_s: float) -> None:
        """Return when the bell has rung since the last call, or after the time."""
        if select.select([self._fd], [], [], max(0.0, timeout_s))[0]:
            with contextlib.suppress(BlockingIOError):  # another thread has heard it
                os.read(self._fd, READ_BYTES)

    def close(self) -> None:
        """Stop listening. Closing twice changes nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
