"""The engine of one machine: each attempt is a process tree under a runner of its own, in a folder of its own.

The folder is `<data>/jobs/<key>/`. Everything this engine knows is in those folders, and whether an
attempt runs is whether its lock is held; so a server that was killed finds every attempt again.
See `runner.py` for what happens inside one.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from headwater.compute import checkpoints
from headwater.compute.engines import attempt, leftovers, sandbox
from headwater.compute.engines.devices import visible_devices
from headwater.compute.engines.doorbell import Doorbell
from headwater.compute.work import Capacity, EngineFactory, Observation, Phase, SiteOptions, Work
from headwater.core.errors import BadInput, Conflict, HeadwaterError, Unavailable
from headwater.core.platform import Platform
from headwater.core.settings import Settings
from headwater.core.store import Store

RUNNER = Path(__file__).with_name("runner.py")
LOCK_FD = 3
GRACE_S = 5.0
RETRY_S = 0.005
LAYING_OUT_S = 60.0
SHARE_OF_MEMORY = 0.8
GIB = 1 << 30
RESERVED_BYTES = {"runner.json.part": 512, "exit.json.part": 1 << 14}
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


class LocalEngine:
    """Runs attempts as processes of this machine. Safe for several threads, and after a crash of any of them."""

    name = "local"
    # Children belong to the process: an engine takes in the runners of one that was closed before it.
    _runners: ClassVar[dict[Path, int]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, *, root: Path, store: Store, capacity: Capacity, grace_s: float = GRACE_S, hidden: Sequence[Path] = ()) -> None:
        """Open the engine on a folder; `grace_s` is what an ended job gets to clean up before it is killed.

        With `hidden` every job is shut in, and sees of these folders and files its own part alone. Raises Unavailable where that cannot be.
        """
        if hidden:
            sandbox.check()
        self._hidden = tuple(hidden)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()
        self._store = store
        self._capacity = capacity
        self._grace_s = grace_s
        self._bell = Doorbell(self._root)
        self._emptied: set[str] = set()

    def capacity(self) -> Capacity:
        """Return what the settings give to jobs."""
        return self._capacity

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def submit(self, work: Work) -> None:
        """Start an attempt, once: a second call for its key does nothing.

        Raises BadInput where there is nothing to run, Unavailable where the disk or the machine refuses.
        """
        folder = self.folder(work.key)
        argv = work.argv or step_command(work, folder)
        self._reap()
        lock = _lock_unstarted(folder)
        if lock is None:
            return
        try:
            attempt.lay_out(folder, work, self._store)
            self._write_work(folder, work, argv)
            self._start(folder, lock)
        except OSError as error:
            attempt.remove(folder)
            raise attempt.cannot_write(error, folder) from error
        except HeadwaterError:
            attempt.remove(folder)
            raise
        finally:
            os.close(lock)

    def _write_work(self, folder: Path, work: Work, argv: Sequence[str]) -> None:
        for name, size in RESERVED_BYTES.items():
            with (folder / name).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        told = {
            "argv": list(self._shut_in(argv, folder, self._hidden, work) if self._hidden else argv),
            "shut_in": bool(self._hidden),
            "environment": job_environment(work, folder),
            "wall_s": work.resources.wall_s,
            "cpu_s": work.resources.cpu_s,
            "memory_gib": work.resources.memory_gib,
            "grace_s": self._grace_s,
            "bell": str(self._bell.path),
        }
        (folder / "work.json").write_text(json.dumps(told), encoding="utf-8")

    @staticmethod
    def _shut_in(argv: Sequence[str], folder: Path, hidden: Sequence[Path], work: Work) -> tuple[str, ...]:
        kept = work.environment.get(checkpoints.VARIABLE)
        return sandbox.shut_in(argv, folder=folder, hidden=hidden, kept=[Path(kept)] if kept else [])

    def _start(self, folder: Path, lock: int) -> None:
        """Start the runner in a session of its own, with the lock and nothing else of this process.

        The lock goes down open, so that there is no moment in which the attempt is laid out, on its way, and unlocked.
        """
        complaints = str(folder / "runner.log")
        with self._guard:
            self._runners[folder] = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(RUNNER), str(folder), str(LOCK_FD)],
                {"LANG": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, lock, LOCK_FD),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, complaints, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )

    def _reap(self) -> None:
        """Take in the runners that have ended, so that none stays a zombie."""
        with self._guard:
            for folder, pid in list(self._runners.items()):
                try:
                    ended, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    ended = pid
                if ended:
                    del self._runners[folder]

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is, from its files. What is left of a lost one is killed before it is called lost."""
        self._reap()
        return {key: self._observe(key) for key in keys}

    def _observe(self, key: str) -> Observation:
        folder = self.folder(key)
        ended = _seen(folder)
        if ended is attempt.LOST:
            # Looked at again, now that the runner is known to have begun: it may have between the two looks.
            ended = _seen(folder)
        if ended is attempt.UNKNOWN and folder in self._runners and not (folder / "lock").exists():
            return attempt.RUNNING  # the job has removed its own folder, and its runner is about to end it
        return self._lost(key, ended) if ended.phase is Phase.LOST else ended

    def _lost(self, key: str, lost: Observation) -> Observation:
        if key not in self._emptied:
            if not leftovers.end(self.folder(key)):
                return attempt.RUNNING  # until nothing of it is left, another attempt must not start
            self._emptied.add(key)
        return lost

    def cancel(self, key: str) -> None:
        """Ask the attempt's runner to end the job; `poll` tells when it has. One that has not started will not."""
        folder = self.folder(key)
        if not attempt.ask_to_end(folder):
            return
        if _is_locked(folder):
            _signal_runner(folder)
        elif (folder / "runner.json").exists() and attempt.observed(folder) is None:
            self._lost(key, attempt.LOST)

    def forget(self, key: str) -> None:
        """Remove an ended attempt's files but its log and the record that it was made. Raises Conflict while it runs."""
        folder = self.folder(key)
        phase = self._observe(key).phase
        if phase is Phase.RUNNING:
            raise Conflict(f"The attempt '{key}' is still running.", "Cancel it first.")
        if phase is not Phase.UNKNOWN:
            attempt.clear(folder, keep=attempt.KEPT)
        elif folder.is_dir() and (lock := _lock_unstarted(folder)) is not None:
            attempt.remove(folder)
            os.close(lock)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """Cancel every running attempt that is not known, kill what is left of lost ones, and return the keys of both."""
        ended = []
        alive = leftovers.attempts(self._root)
        for key in sorted(attempt.keys(self._root) - set(known)):
            phase = self._observe(key).phase
            if phase is Phase.RUNNING:
                self.cancel(key)
            elif phase is Phase.UNKNOWN:
                self.forget(key)
            if phase is Phase.RUNNING or (phase is Phase.LOST and key in alive):
                ended.append(key)
        return ended

    def wait(self, timeout_s: float) -> None:
        """Return when a runner has rung, or after the time."""
        self._bell.wait(timeout_s)
        self._reap()

    def close(self) -> None:
        """Stop listening; attempts go on."""
        self._reap()
        self._bell.close()


def step_command(work: Work, folder: Path) -> tuple[str, ...]:
    """Return what runs a step: this Python on its folder. Raises BadInput for an attempt that has neither command nor step."""
    if work.task is None:
        raise BadInput(f"The attempt '{work.key}' has neither a command nor a step.", "Give it 'argv' or 'task'.")
    return sys.executable, "-P", "-m", "headwater.step", str(folder)


def job_environment(work: Work, folder: Path) -> dict[str, str]:
    """Return a job's whole environment: what every program needs, its own folder, its share of the machine, and what its work names."""
    threads = str(max(1, int(work.resources.cpus)))
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(THREAD_VARIABLES, threads),
        **visible_devices([index for indices in work.devices.values() for index in indices]),
        **work.environment,
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        leftovers.VARIABLE: str(folder),
    }


def _lock_unstarted(folder: Path) -> int | None:
    """Return the held lock of an attempt that has not been started, or None if it has been.

    Waits while another thread or process lays it out, up to a minute: then it counts as started.
    """
    last_try_s = time.monotonic() + LAYING_OUT_S
    while time.monotonic() < last_try_s:
        if (folder / "runner.json").exists() or (folder / "exit.json").exists():
            return None
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # another caller failed to lay it out and removed it
        except OSError as error:
            raise attempt.cannot_write(error, folder) from error
        if _take(lock, folder):
            return lock
        os.close(lock)
        time.sleep(RETRY_S)
    return None


def _take(lock: int, folder: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.stat(folder / "lock")
    except (BlockingIOError, FileNotFoundError):
        return False
    started = (folder / "runner.json").exists() or (folder / "exit.json").exists()
    return there.st_ino == os.fstat(lock).st_ino and not started


def _seen(folder: Path) -> Observation:
    """Return what the files say. A runner holds the lock from before `runner.json` is there until `exit.json` is."""
    if _is_locked(folder):
        return attempt.RUNNING
    if (ended := attempt.observed(folder)) is not None:
        return ended
    return attempt.LOST if (folder / "runner.json").exists() else attempt.UNKNOWN


def _is_locked(folder: Path) -> bool:
    """Tell whether an attempt's lock is there and held."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _signal_runner(folder: Path) -> None:
    """Wake the runner so that it sees the `cancel` file at once, if it is still the process that it says it is."""
    try:
        told = json.loads((folder / "runner.json").read_text(encoding="utf-8"))
        process = os.pidfd_open(told["pid"])
    except (OSError, ValueError):
        return  # not there yet, or gone: it looks for the file itself before it starts
    try:
        stat = Path(f"/proc/{told['pid']}/stat").read_text(encoding="utf-8", errors="replace")
        if int(stat.rpartition(")")[2].split()[19]) == told["start"]:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            signal.pidfd_send_signal(process, signal.SIGCONT)
    except (OSError, IndexError):
        return
    finally:
        os.close(process)


def capacity_of(settings: Settings) -> Capacity:
    """Return what this machine may give to jobs: as set, else the CPUs of this process and 80 % of the memory."""
    return Capacity(
        cpus=settings.local_cpus or float(len(os.sched_getaffinity(0))),
        memory_gib=settings.local_memory_gib or SHARE_OF_MEMORY * memory_gib(),
        accelerators=dict(settings.local_accelerators),
    )


def memory_gib() -> float:
    """Return the memory that this process may use: the machine's, or its control group's limit where that is less."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # no such control group, or no limit
    return min(sizes) / GIB


class LocalOptions(SiteOptions):
    """What a site on this machine may give to jobs: a share of its CPUs and memory that nobody else is given."""

    cpus: float = Field(gt=0, le=4096)
    memory_gib: float = Field(gt=0, le=65536)
    accelerators: dict[str, int] = Field(default_factory=dict)


def _open_site(platform: Platform, name: str, options: LocalOptions) -> LocalEngine:
    whole = Capacity(cpus=options.cpus, memory_gib=options.memory_gib, accelerators=options.accelerators)
    return _opened(platform, name, platform.settings.data_folder / "sites" / name, whole)


def _opened(platform: Platform, name: str, root: Path, whole: Capacity) -> LocalEngine:
    settings = platform.settings
    hidden = sandbox.private(settings) if settings.isolation == "bubblewrap" else ()
    try:
        engine = LocalEngine(root=root, store=platform.store, capacity=whole, grace_s=settings.stop_grace_s, hidden=hidden)
    except OSError as error:
        raise Unavailable(f"The folder for jobs cannot be used: {error.strerror}.", "Check its rights.", where=str(root)) from error
    engine.name = name
    return engine


LOCAL = EngineFactory(
    name="local",
    open=lambda platform: _opened(platform, "local", platform.settings.data_folder / "jobs", capacity_of(platform.settings)),
    options=LocalOptions,
    site=_open_site,
)
