"""Asking engines beside the dispatcher's loop, each on threads of its own: one that is slow to answer holds up only its own jobs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from headwater.compute.jobs import Job
from headwater.compute.work import Capacity, Engine, Observation, Phase
from headwater.core.errors import Unavailable

REST_S = 0.5
"""Between looks at an engine that has no jobs."""
WORKERS = 4
"""Threads for each engine, beside the one that observes."""
UNHEARD_OF = Observation(phase=Phase.UNKNOWN)

log = structlog.get_logger("headwater.compute")


class Rounds:
    """Goes round one engine when told to: ends attempts that nobody knows, takes in what it has, and observes its jobs.

    One round is under way at most, and what it saw is reacted to before it is over: jobs that are read while none is under way are as
    the last one left them. Safe for several threads.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        sweep: Callable[[Engine], None],
        react: Callable[[Job, Observation], None],
        over: Callable[[], None],
    ) -> None:
        """Take over an engine that has just been opened; `over` is told when a round ends that somebody waits for."""
        self.engine = engine
        self.capacity: Capacity = engine.capacity()
        """What the engine has in all, as of the last round."""
        self._sweep, self._react, self._over = sweep, react, over
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"rounds-{engine.name}")
        self._changed = threading.Condition()
        self._under_way = self._missed = False
        self._sweeps_asked = self._sweeps_done = 0
        self._ended_s = time.monotonic()

    @property
    def is_free(self) -> bool:
        """Whether no round is under way."""
        return not self._under_way

    @property
    def is_swept(self) -> bool:
        """Whether all attempts that nobody knew were ended since this was last asked for; until then nothing new may start there."""
        return self._sweeps_done == self._sweeps_asked

    def sweep(self) -> None:
        """Have the attempts ended that nobody knows, as soon as a round that is under way is over."""
        with self._changed:
            self._sweeps_asked += 1
            if not self._under_way:
                self._begin(())

    def wait_swept(self, timeout_s: float) -> bool:
        """Return when the sweep that was asked for is done, or after the time, and whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_swept, max(0.0, timeout_s))

    def observe(self, jobs: Sequence[Job]) -> None:
        """Begin a round over jobs that were read while none was under way; without any, now and then."""
        with self._changed:
            if self._under_way:
                self._missed = True
            elif jobs or not self.is_swept or time.monotonic() > self._ended_s + REST_S:
                self._begin(jobs)

    def miss(self) -> None:
        """Have `over` told when the round that was under way is over, because it may have looked too early."""
        with self._changed:
            if self._under_way:
                self._missed = True
                return
        self._over()

    def close(self) -> None:
        """Let go of the engine when the round that is under way is over."""
        self._submit(self.engine.close)
        self._pool.shutdown(wait=False)

    def wait_closed(self) -> None:
        """Return when the engine is closed, which was asked for."""
        self._pool.shutdown(wait=True)

    def _begin(self, jobs: Sequence[Job]) -> None:
        self._under_way = self._submit(lambda: self._round(jobs))

    def _submit(self, work: Callable[[], None]) -> bool:
        with contextlib.suppress(RuntimeError):  # it is closed
            self._pool.submit(work)
            return True
        return False

    def _round(self, jobs: Sequence[Job]) -> None:
        asked = self._sweeps_asked
        sweeps = asked > self._sweeps_done
        try:
            if sweeps:
                self._sweep(self.engine)
            self.capacity = self.engine.capacity()
            self._sweeps_done = asked
            self._look(jobs)
        except Unavailable as error:  # such as a database that is away: the next round tries again
            log.warning("engine.not_observed", engine=self.engine.name, error=str(error))
        except Exception:  # an engine's fault must not end the rounds: it is logged and tried again
            log.exception("engine.not_observed", engine=self.engine.name)
        with self._changed:
            self._under_way, self._ended_s = False, time.monotonic()
            missed, self._missed = self._missed, False
            if self._sweeps_asked > asked:
                self._begin(())
            self._changed.notify_all()
        if missed or sweeps:
            self._over()

    def _look(self, jobs: Sequence[Job]) -> None:
        if jobs:
            seen = self.engine.poll([job.key for job in jobs])
            for job in jobs:
                self._react(job, seen.get(job.key, UNHEARD_OF))


class Workers:
    """A few threads for each engine, by its name, made when they are first needed. Safe for several threads."""

    def __init__(self, stopping: threading.Event, over: Callable[[], None]) -> None:
        """Begin without any; `over` is told when a job is no longer worked on."""
        self._stopping, self._over = stopping, over
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def has(self, job: Job) -> bool:
        """Tell whether a job is worked on."""
        return job.id in self._busy

    def run(self, engine: str, work: Callable[[], None]) -> None:
        """Run `work` on a thread of an engine; nothing once these are closed: its jobs are found again at the next start."""
        with self._lock:
            if self._closed:
                return
            if engine not in self._pools:
                self._pools[engine] = ThreadPoolExecutor(WORKERS, thread_name_prefix=f"dispatch-{engine}")
            self._pools[engine].submit(work)

    def take(self, jobs: Sequence[Job], work: Callable[[Sequence[Job]], None], *, of: str = "") -> None:
        """Run `work` with those of an engine's jobs that are not worked on yet, on a thread of that engine, or `of` another name."""
        with self._lock:
            free = [job for job in jobs if job.id not in self._busy]
            self._busy |= {job.id for job in free}
        if free:
            self.run(of or free[0].engine, lambda: self._guarded(free, work))

    def _guarded(self, jobs: Sequence[Job], work: Callable[[Sequence[Job]], None]) -> None:
        try:
            work(jobs)
        except Unavailable as error:  # such as a database that is away: the next turn tries again
            log.warning("dispatcher.work_failed", jobs=[job.id for job in jobs], error=str(error))
            self._stopping.wait(REST_S)
        except Exception:  # a worker's fault must not take the job's record with it: the next turn tries again
            log.exception("dispatcher.work_failed", jobs=[job.id for job in jobs])
            self._stopping.wait(REST_S)
        finally:
            with self._lock:
                self._busy -= {job.id for job in jobs}
            self._over()

    def close(self) -> None:
        """Let what has begun come to its end, and nothing else begin."""
        with self._lock:
            self._closed = True
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
