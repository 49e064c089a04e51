"""A job's output, kept within bounds. Standard library only: a runner imports it."""

from __future__ import annotations

import errno
import os

HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 20
LAST_BYTES = 1 << 13
LAST_LINES = 20


class Log:
    """The job's output in `log.txt`: all of it up to a bound, then its head and its newest part."""

    def __init__(self, path: str, *, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        """Begin a log that keeps `head_bytes` of the beginning and at least `tail_bytes` of the newest output."""
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._left_out = 0
        self.last = b""
        self.disk_full = False

    def write(self, data: bytes) -> None:
        """Add output. Where the disk is full it is dropped, and `disk_full` set: the job goes on."""
        self.last = (self.last + data)[-LAST_BYTES:]
        try:
            if self._size + len(data) > self._head_bytes + 2 * self._tail_bytes:
                self._shorten()
            self._size += os.pwrite(self._fd, data, self._size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.disk_full = True

    def _shorten(self) -> None:
        tail = os.pread(self._fd, self._tail_bytes, self._size - self._tail_bytes)
        self._left_out += self._size - self._head_bytes - len(tail)
        kept = f"\n[... {self._left_out} bytes left out ...]\n".encode() + tail
        os.pwrite(self._fd, kept, self._head_bytes)
        os.ftruncate(self._fd, self._head_bytes + len(kept))
        self._left_out -= len(kept) - len(tail)
        self._size = self._head_bytes + len(kept)

    def last_lines(self) -> str:
        """Return the newest lines."""
        return "\n".join(self.last.decode("utf-8", "replace").strip().splitlines()[-LAST_LINES:])
