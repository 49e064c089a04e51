"""The engine for platform steps: they run in threads of the server, because they change what only it may change.

Its folders are `<data>/platform-jobs/<key>/`, with the same files as other engines'. A thread cannot be
ended from outside, and a platform step makes its changes in one transaction; so a step that has begun
is never cut off: limits do not apply to it, and cancelling it changes nothing. One that was under way
when the server died is lost, and safe to attempt again because platform steps are idempotent by job.
"""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from headwater.compute.engines import attempt
from headwater.compute.engines.local import memory_gib
from headwater.compute.work import Capacity, EngineFactory, Observation, Phase, Reason, Usage, Work
from headwater.core.errors import BadInput, Conflict, HeadwaterError
from headwater.core.platform import Platform
from headwater.core.steps import STEPS, write_result
from headwater.step import load

THREADS = 4
CLAIM = "runner.json"


class InsideEngine:
    """Runs platform steps in a few threads. Safe for several threads."""

    name = "platform"

    def __init__(self, platform: Platform, *, root: Path, threads: int = THREADS) -> None:
        """Open the engine on a folder, with at most `threads` steps at once."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._platform = platform
        self._root = root.resolve()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="platform-step")
        self._guard = threading.Lock()
        self._under_way: dict[str, Future[None] | None] = {}
        self._ended = threading.Event()

    def capacity(self) -> Capacity:
        """Return one CPU for each thread, and the machine's memory."""
        return Capacity(cpus=float(self._threads), memory_gib=memory_gib())

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def submit(self, work: Work) -> None:
        """Start an attempt, once: a second call for its key does nothing. Raises BadInput for anything but a platform step."""
        folder = self.folder(work.key)
        _check_place(work)
        with self._guard:
            if work.key in self._under_way or _begun(folder):
                return
            self._under_way[work.key] = None
        try:
            attempt.make(folder)
            attempt.lay_out(folder, work, self._platform.store)
        except HeadwaterError:
            self._leave(work.key)
            attempt.remove(folder)
            raise
        with self._guard:
            self._under_way[work.key] = self._pool.submit(self._run, work.key, folder)

    def _run(self, key: str, folder: Path) -> None:
        try:
            if (folder / "cancel").exists():
                attempt.write_exit(folder, _cancelled())
                return
            (folder / CLAIM).write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
            (folder / "log.txt").touch()
            attempt.write_exit(folder, _measured(lambda: self._attempt(folder)))
        except OSError as error:
            # Without an exit.json the attempt counts as lost; the disk that refused it may take this line.
            raise attempt.cannot_write(error, folder) from error
        finally:
            self._leave(key)

    def _attempt(self, folder: Path) -> Observation:
        try:
            task = load(folder)
            task.platform = self._platform
            STEPS.get(task.step).run(task)
            write_result(task)
        except HeadwaterError as error:
            attempt.write_json(folder / "error.json", {"code": error.code, "message": str(error)})
            _log(folder, f"{error.code}: {error}\n")
            return _failed(str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a step's own fault must not end the thread unrecorded
            _log(folder, traceback.format_exc())
            return _failed("".join(traceback.format_exception_only(error)).strip())
        return Observation(phase=Phase.SUCCEEDED, exit_code=0)

    def _leave(self, key: str) -> None:
        with self._guard:
            self._under_way.pop(key, None)
        self._ended.set()

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is."""
        return {key: self._observe(key) for key in keys}

    def _observe(self, key: str) -> Observation:
        folder = self.folder(key)
        with self._guard:
            if key in self._under_way:
                return attempt.RUNNING
        ended = attempt.observed(folder)
        return ended or (attempt.LOST if (folder / CLAIM).exists() else attempt.UNKNOWN)

    def cancel(self, key: str) -> None:
        """Keep an attempt from starting. One that has begun ends as it will."""
        folder = self.folder(key)
        if not folder.is_dir() or _begun(folder):
            return
        (folder / "cancel").touch()
        with self._guard:
            waiting = self._under_way.get(key)
        if waiting is not None and waiting.cancel():
            attempt.write_exit(folder, _cancelled())
            self._leave(key)

    def forget(self, key: str) -> None:
        """Remove an ended attempt's files but its log and the record that it was made. Raises Conflict while it runs."""
        folder = self.folder(key)
        phase = self._observe(key).phase
        if phase is Phase.RUNNING:
            raise Conflict(f"The attempt '{key}' is still running.", "Wait for it to end.")
        if folder.is_dir():
            if phase is Phase.UNKNOWN:
                attempt.remove(folder)
            else:
                attempt.clear(folder, keep=attempt.KEPT)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """Keep every unknown attempt that waits from starting, and return the keys of all unknown ones under way."""
        with self._guard:
            under_way = sorted(self._under_way.keys() - set(known))
        for key in under_way:
            self.cancel(key)
        for key in attempt.keys(self._root) - set(known):
            if self._observe(key).phase is Phase.UNKNOWN:
                self.forget(key)
        return under_way

    def wait(self, timeout_s: float) -> None:
        """Return when an attempt has ended since the last call, or after the time."""
        if self._ended.wait(max(0.0, timeout_s)):
            self._ended.clear()

    def close(self) -> None:
        """Let the steps that have begun end; those that wait may be submitted again."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _check_place(work: Work) -> None:
    if work.task is None:
        raise BadInput(f"The attempt '{work.key}' is no step: commands do not run inside the platform.", "Run it on another engine.")
    if STEPS.get(work.task["step"]).place != "platform":
        raise BadInput(f"The step {work.task['step']} does not run inside the platform.", "Run it on another engine.")


def _begun(folder: Path) -> bool:
    return (folder / CLAIM).exists() or (folder / "exit.json").exists()


def _cancelled() -> Observation:
    return Observation(phase=Phase.FAILED, reason=Reason.CANCELLED, message="The job was cancelled before it began.")


def _failed(message: str) -> Observation:
    reason = Reason.DISK_FULL if any(text in message for text in attempt.NO_SPACE) else Reason.FAILED
    return Observation(phase=Phase.FAILED, reason=reason, exit_code=1, message=message)


def _log(folder: Path, text: str) -> None:
    with (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.write(text)


def _measured(run: Callable[[], Observation]) -> Observation:
    """Return what a run says, with its wall and CPU time; memory is the server's and cannot be told apart."""
    wall_s, cpu_s = time.monotonic(), time.thread_time()
    ended = run()
    usage = Usage(wall_s=time.monotonic() - wall_s, cpu_s=time.thread_time() - cpu_s)
    return Observation(phase=ended.phase, reason=ended.reason, exit_code=ended.exit_code, message=ended.message, usage=usage)


INSIDE = EngineFactory(name="platform", open=lambda platform: InsideEngine(platform, root=platform.settings.data_folder / "platform-jobs"))
