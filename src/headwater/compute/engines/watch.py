"""Watching over one attempt: start its job, hold it to its limits, end all of it, and write down what became of it.

Standard library only: this runs in the runner's process (see `runner.py`), never in the server's.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import select
import time

from headwater.compute.engines import plain_json
from headwater.compute.engines.job_log import Log
from headwater.compute.engines.limits import GIB, Limits
from headwater.compute.engines.process_tree import Meter, Tree, read_process

TYPE_CHECKING = False  # typing takes longer to import than all the rest, and a runner has no use for it
if TYPE_CHECKING:
    import signal
    from collections.abc import Collection, Mapping
    from typing import Any, NoReturn
else:
    import _signal as signal  # what `signal` wraps: the wrapping takes longer to import than a short job runs

TICK_S = 0.1
LEFTOVER_GRACE_S = 1.0
READ_BYTES = 1 << 16
MESSAGE_CHARS = 3000
EXIT_BYTES = 1 << 14
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NO_SPACE = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
LIBC = ctypes.CDLL(None, use_errno=True)


class Runner:
    """One attempt, from the start of its process to `exit.json`. The working folder is the attempt's."""

    going_down = False
    """Whether this process was told to go: of all its attempts, the next one too."""

    def __init__(self, work: dict[str, Any]) -> None:
        self.work = work
        self.limits = Limits(work)
        self.grace_s = float(work.get("grace_s", 5.0))
        self.log = Log("log.txt")
        self.tree = Tree()
        self.meter = Meter()
        self.pid = 0
        self.status: int | None = None
        self.stopped: tuple[str, str] | None = None
        self.started_s = time.monotonic()
        self.wall_s = 0.0
        self.oom_kills = kernel_oom_kills()
        self._output_ended = False
        self.output, self._job_output = os.pipe()
        self._wake, self._wake_write = os.pipe()
        for fd in (self.output, self._wake, self._wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def run(self) -> None:
        """Start the job and return when it has ended, with all its processes."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._go_down)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        try:
            if not self._asked_to_stop():
                self.pid = self._start()
                self._watch()
        finally:
            os.close(self._job_output)
            self._end_all(self.grace_s if self.stopped else LEFTOVER_GRACE_S)
            while self._take_output():
                pass
            self.meter.final()
            self.wall_s = time.monotonic() - self.started_s
            signal.set_wakeup_fd(-1)
            for fd in (self.output, self._wake, self._wake_write):
                os.close(fd)

    def _go_down(self, *_: object) -> None:
        Runner.going_down = True

    def _start(self) -> int:
        runner = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_job(runner)
        return pid

    def _become_job(self, runner: int) -> NoReturn:
        argv = [str(part) for part in self.work["argv"]]
        try:
            os.setsid()
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == runner:
                self._limit_self()
                os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
                os.dup2(self._job_output, 1)
                os.dup2(self._job_output, 2)
                os.execvpe(argv[0], argv, self.work["environment"])  # noqa: S606 - a command never goes through a shell
        except (OSError, ValueError, TypeError) as error:
            os.write(self._job_output, f"{argv[0]} could not be started: {getattr(error, 'strerror', None) or error}.\n".encode())
        finally:
            os._exit(127)

    def _limit_self(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.limits.cpu_s != float("inf"):
            # The runner's own sum over the tree comes first; this is for the case that it is held up.
            soft, hard = int(self.limits.cpu_s) + 2, resource.getrlimit(resource.RLIMIT_CPU)[1]
            hard = soft + 2 if hard == resource.RLIM_INFINITY else min(hard, soft + 2)
            resource.setrlimit(resource.RLIMIT_CPU, (min(soft, hard), hard))
        prefer_for_oom()

    def _watch(self) -> None:
        end_s = self.started_s + self.limits.wall_s
        next_sample_s = self.started_s + TICK_S  # reading every process costs more than a short job does
        while not self._over():
            self._rest(min(next_sample_s, end_s) - time.monotonic())
            if time.monotonic() >= min(next_sample_s, end_s):
                self._check_limits()
                next_sample_s = time.monotonic() + TICK_S
            if not self.stopped and self.status != 0:
                self._asked_to_stop()

    def _over(self) -> bool:
        return self.status is not None or self.stopped is not None

    def _check_limits(self) -> None:
        held = self.meter.sample(self.tree.members(), self.limits.memory_bytes)
        if self.status is None:
            self.stopped = self.limits.passed(time.monotonic() - self.started_s, self.meter.cpu_s, held)

    def _asked_to_stop(self) -> bool:
        if os.path.exists("cancel"):
            self.stopped = "cancelled", "The job was cancelled."
        elif self.going_down:
            self.stopped = "node_lost", "The machine or its service manager ended the job."
        elif not os.path.exists("runner.json"):
            self.stopped = "failed", "The job removed the files of its own folder. Keep to outputs/ and tmp/ in it."
        return self.stopped is not None

    def _rest(self, timeout_s: float) -> None:
        """Wait for output, an ended child or a signal, and take them in."""
        heard = [self._wake] if self._output_ended else [self._wake, self.output]
        ready, _, _ = select.select(heard, [], [], max(0.0, timeout_s))
        if self._wake in ready:
            os.read(self._wake, READ_BYTES)
        if self.output in ready:
            self._take_output()
        self._reap()

    def _take_output(self) -> bool:
        try:
            data = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return False
        self._output_ended = not data
        self.log.write(data)
        return bool(data)

    def _reap(self) -> bool:
        """Take in every ended child and tell whether any is left."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.meter.take(used)
            if pid == self.pid:
                self.status = self._status(status)

    def _status(self, status: int) -> int:
        """Return the job's exit code, or minus the signal that ended it; of one that is shut in, bwrap tells a signal as 128 and more."""
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if self.work.get("shut_in") and code > 128 else code

    def _end_all(self, grace_s: float) -> None:
        if not self._reap():
            return
        asked: set[int] = set()
        patience_s = time.monotonic() + grace_s
        while self._reap() and time.monotonic() < patience_s:
            asked |= self._signal_all(signal.SIGTERM, signal.SIGCONT, but=asked | self._shell())
            self._rest(min(TICK_S, patience_s - time.monotonic()))
        while self._reap():
            self._signal_all(signal.SIGSTOP)
            self._signal_all(signal.SIGKILL)
            self._rest(TICK_S / 10)

    def _shell(self) -> set[int]:
        """Return what must outlive the job that is asked to end: bwrap, with which all in it would be killed at once."""
        return {self.pid} if self.work.get("shut_in") else set()

    def _signal_all(self, *numbers: int, but: Collection[int] = ()) -> set[int]:
        pids = {process.pid for process in self.tree.members(fresh=True)} - set(but)
        for pid in pids:
            for number in numbers:
                try:
                    os.kill(pid, number)
                except (ProcessLookupError, PermissionError):
                    break
        return pids

    def outcome(self) -> dict[str, Any]:
        """Return what `exit.json` says."""
        phase, reason, message = self._verdict()
        exit_code = None if self.status is None else self.status if self.status >= 0 else 128 - self.status
        return {
            "phase": phase,
            "reason": reason,
            "exit_code": exit_code,
            "message": message[-MESSAGE_CHARS:],
            "usage": {
                "wall_s": round(self.wall_s, 6),
                "cpu_s": round(self.meter.cpu_s, 6),
                "peak_memory_gib": round(self.meter.peak_bytes / GIB, 6),
            },
        }

    def _verdict(self) -> tuple[str, str | None, str]:
        if self.stopped:
            return "lost" if self.stopped[0] == "node_lost" else "failed", *self.stopped
        if self.status == 0:
            return "succeeded", None, ""
        message = step_error() or self.log.last_lines() or f"The job ended with {self._ending()} and printed nothing."
        return "failed", self._failure(message), message

    def _ending(self) -> str:
        return f"exit code {self.status}" if self.status is not None and self.status >= 0 else f"signal {-(self.status or 0)}"

    def _failure(self, message: str) -> str:
        if self.status == -signal.SIGXCPU or (self.status == -signal.SIGKILL and self.meter.cpu_s > self.limits.cpu_s):
            return "out_of_cpu_time"
        if self.status == -signal.SIGKILL and kernel_oom_kills() > self.oom_kills:
            return "out_of_memory"
        told = message + self.log.last_lines()
        return "disk_full" if self.log.disk_full or any(text in told for text in NO_SPACE) else "failed"


def prefer_for_oom() -> None:
    """Make a machine that is out of memory take this process before the server or a runner, where that is allowed."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError:
        pass


def kernel_oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since the machine started."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def step_error() -> str:
    """Return the message that a step left in `error.json`, or nothing."""
    try:
        return str(plain_json.read("error.json")["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def identity() -> dict[str, Any]:
    """Return who this process is: its number, its start in clock ticks since boot, and the boot."""
    me = read_process(os.getpid())
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return {"pid": os.getpid(), "start": me.start if me else 0, "boot": file.read().strip()}


def claim(lock: int | None) -> int | None:
    """Return the lock's descriptor if this process may start the attempt, else None."""
    if lock is None:
        lock = os.open("lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    os.set_inheritable(lock, False)
    return None if os.path.exists("runner.json") or os.path.exists("exit.json") else lock


def reserve(name: str, size: int) -> int:
    """Return a descriptor of a file whose blocks are there already, so that a full disk cannot stop its writing."""
    fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    if os.fstat(fd).st_size < size:
        os.posix_fallocate(fd, 0, size)
    return fd


def put(fd: int, part: str, name: str, value: dict[str, Any], *, flush: bool = True) -> None:
    """Write JSON into a reserved file, close it, so that other machines see all of it, and give it its name."""
    try:
        os.ftruncate(fd, os.pwrite(fd, plain_json.told(value), 0))
        if flush:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(part, name)


def leave(folder: str, reserved: int, outcome: dict[str, Any], *, flush: bool = True) -> None:
    """Write `exit.json`, also where the job has removed the folder."""
    try:
        put(reserved, "exit.json.part", "exit.json", outcome, flush=flush)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        os.chdir(folder)
        put(reserve("exit.json.part", EXIT_BYTES), "exit.json.part", "exit.json", outcome, flush=flush)


def ring(bell: str) -> None:
    """Tell the engine that something ended; it looks from time to time anyway, so a failure does not matter."""
    try:
        fd = os.open(bell, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(fd, b".")
        os.close(fd)
    except OSError:
        pass


def run(folder: str, handed: int | None, more: Mapping[str, str] | None = None, *, flush: bool = True) -> str | None:
    """Run the attempt in a folder, with more environment, and return the phase in which it ended; None where another has it already.

    Without `flush` what it notes is not forced to the disk: of many short attempts, those that a machine takes along are found lost.
    """
    os.chdir(folder)
    lock = claim(handed)
    if lock is None:
        return None
    os.closerange(lock + 1, max(resource.getrlimit(resource.RLIMIT_NOFILE)))
    os.umask(0o077)
    put(reserve("runner.json.part", 512), "runner.json.part", "runner.json", identity(), flush=flush)
    reserved = reserve("exit.json.part", EXIT_BYTES)
    work = plain_json.read("work.json")
    work["environment"].update(more or {})
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runner = Runner(work)
    runner.run()
    outcome = runner.outcome()
    leave(folder, reserved, outcome, flush=flush)
    os.close(lock)
    ring(work["bell"])
    return str(outcome["phase"])


def main(folder: str, handed: int | None, more: Mapping[str, str] | None = None) -> int:
    """Run the attempt in a folder; the exit status is 0 also where another has it already."""
    run(folder, handed, more)
    return 0
