"""The processes of a job, as /proc shows them, and what they use. Standard library only: a runner imports it."""

from __future__ import annotations

import os
import resource
import time

FULL_SCAN_S = 1.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process:
    """One line of /proc: parent, start and CPU time in clock ticks, resident bytes."""

    __slots__ = ("cpu_s", "parent", "pid", "resident_bytes", "start")

    def __init__(self, pid: int, stat: str) -> None:
        fields = stat[stat.rindex(")") + 2 :].split()
        self.pid = pid
        self.parent = int(fields[1])
        self.cpu_s = sum(int(part) for part in fields[11:15]) / TICKS_PER_S
        self.start = int(fields[19])
        self.resident_bytes = int(fields[21]) * PAGE_BYTES


def read_process(pid: int) -> Process | None:
    """Return what /proc says of a process, or None where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return Process(pid, file.read())
    except (OSError, ValueError):
        return None


def proportional_bytes(pid: int) -> int:
    """Return a process's resident bytes with shared pages divided among their users, 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return 0


class Tree:
    """All descendants of this process.

    The kernel's lists of children lead to them by reading a few files, but may leave out some while others end: enough for measuring.
    Where it has no such lists, as for killing, every process of the machine is read; then one that is not a descendant can never become
    one, so those seen once are not read again for up to a second; after that, all are, because process numbers are used again.
    """

    def __init__(self) -> None:
        self._foreign: set[int] = set()
        self._full_at = 0.0
        self._lists_children = os.path.exists(f"/proc/self/task/{os.getpid()}/children")

    def members(self, *, fresh: bool = False) -> list[Process]:
        """Return the descendants that live now; `fresh` reads every process of the machine."""
        if self._lists_children and not fresh:
            return _below(os.getpid())
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        if fresh or time.monotonic() - self._full_at > FULL_SCAN_S:
            self._foreign.clear()
            self._full_at = time.monotonic()
        self._foreign &= pids
        found = {pid: process for pid in pids - self._foreign if (process := read_process(pid))}
        ours = _descendants(found)
        self._foreign.update(found.keys() - {process.pid for process in ours})
        return ours


def _below(pid: int) -> list[Process]:
    """Return the descendants of a process by the kernel's lists of the children of each of its threads."""
    found: list[Process] = []
    unread = [pid]
    while unread:
        parent = unread.pop()
        for child in _children(parent):
            if (process := read_process(child)) is not None:
                found.append(process)
                unread.append(child)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass  # it has ended meanwhile
    return found


def _descendants(found: dict[int, Process]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in found.values():
        children.setdefault(process.parent, []).append(process)
    ours: list[Process] = []
    unread = [os.getpid()]
    while unread:
        below = children.get(unread.pop(), [])
        ours += below
        unread += [process.pid for process in below]
    return ours


class Meter:
    """What the job used so far: CPU seconds over the whole tree, peak memory in bytes."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.peak_bytes = 0
        self._reaped_s = 0.0
        self._shared_at = 0.0

    def take(self, used: resource.struct_rusage) -> None:
        """Take the kernel's own figures of a process that was waited for, theirs for whom it had waited included."""
        self._reaped_s += used.ru_utime + used.ru_stime
        self.peak_bytes = max(self.peak_bytes, used.ru_maxrss << 10)

    def sample(self, tree: list[Process], limit_bytes: float) -> int:
        """Return the bytes the tree holds now.

        Resident sizes count shared pages once per process, which can only be too much; only where that
        sum matters (over the limit, or a new peak, the latter once a second) are they divided.
        """
        self.cpu_s = self._reaped_s + sum(process.cpu_s for process in tree)
        held = sum(process.resident_bytes for process in tree)
        now = time.monotonic()
        if len(tree) > 1 and (held > limit_bytes or (held > self.peak_bytes and now - self._shared_at > 1.0)):
            self._shared_at = now
            held = sum(proportional_bytes(process.pid) for process in tree)
        elif len(tree) > 1:
            return held
        self.peak_bytes = max(self.peak_bytes, held)
        return held

    def final(self) -> None:
        """Let what was reaped be all, once every process has been."""
        self.cpu_s = self._reaped_s
