"""Processes of an attempt whose runner is gone: found by the attempt that their environment names, and ended.

A process that leaves its parent *and* clears its environment *and* outlives a runner that was killed is not found.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "HW_ATTEMPT"
MARK = f"{VARIABLE}=".encode()
PAUSE_S = 0.01


def processes(folder: Path) -> list[int]:
    """Return the processes of this user that belong to the attempt in a folder."""
    return [pid for pid, path in _marked() if path == str(folder)]


def attempts(root: Path) -> set[str]:
    """Return the keys of all attempts below a folder that have processes."""
    return {path.removeprefix(f"{root}/") for _, path in _marked() if path.startswith(f"{root}/")}


def _marked() -> Iterator[tuple[int, str]]:
    """Yield each process whose environment names the folder of an attempt, with that folder."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile, or belongs to another user
        yield from ((int(name), os.fsdecode(entry.removeprefix(MARK))) for entry in entries if entry.startswith(MARK))


def end(folder: Path, *, timeout_s: float = 5.0) -> bool:
    """Kill the processes of an attempt until none is left, and tell whether that was so within the time."""
    last_try_s = time.monotonic() + timeout_s
    while left := processes(folder):
        if time.monotonic() > last_try_s:
            return False
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                try:
                    os.kill(pid, number)
                except (ProcessLookupError, PermissionError):
                    continue
        time.sleep(PAUSE_S)
    return True
