"""The dispatcher: brings what engines report into the database, and the scheduler's decisions to engines.

One loop, one leader per data folder. Each turn it observes the attempts under way, ends those that
ended, answers cancel requests, reuses finished work, has the policy decide on the queue, and starts and
stops what it says. What must not hold the loop up (laying out inputs, storing outputs) runs in a few worker threads.

It can be killed at any moment: a job is recorded as `starting` under a new attempt key before its
engine hears of it, engines start a key at most once, and an end is recorded in one transaction. On
the next start every recorded attempt is asked after again, and attempts nobody knows are ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import IO, Any

import structlog
from sqlalchemy import Connection, update

from headwater.compute import artifacts, checkpoints, deciding, jobs, pool, reuse
from headwater.compute.admission import allot
from headwater.compute.collecting import Made, collect, sign
from headwater.compute.deciding import Decision, Heard, Verdict
from headwater.compute.figures import Times
from headwater.compute.jobs import ENDS, ON_ENGINE, Job, State
from headwater.compute.judging import Judge
from headwater.compute.work import Capacity, Engine, EngineFactory, Observation, Phase, Reason, TakesMany, Work, handed_to
from headwater.core import identity
from headwater.core.errors import Conflict, GateClosed, HeadwaterError, NotFound, Refused
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.registry import Family

ENGINES: Family[EngineFactory] = Family("engines", EngineFactory)

LONGEST_REST_S = 0.5
WORKERS = 4

INSIDE = "inside the platform, because it changes the platform's own records"

log = structlog.get_logger("headwater.compute")


class Dispatcher:
    """Runs jobs on the engines of one platform. `start` it once; `stop` it; jobs under way go on."""

    def __init__(self, platform: Platform, engines: Mapping[str, Engine] | None = None, *, heard: Heard = deciding.unheard) -> None:
        """Make a dispatcher over some engines, or over one of every engine that is installed; `heard` is told each plan.

        Raises NotFound or BadPolicy where the policy of the settings cannot be read.
        """
        self.platform = platform
        self.judge = Judge(platform.settings, heard=heard)
        self.engines = dict(engines) if engines is not None else _opened(platform)
        self.decided, self.started = Times(), 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._noted: dict[str, Capacity] = {}
        self._busy: set[str] = set()
        self._cancelled: set[str] = set()
        self._busy_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="dispatch")
        self._threads: list[threading.Thread] = []
        self._lock_file: IO[str] | None = None
        self._end_claim: Callable[[], None] | None = None

    def start(self) -> None:
        """Take the lead on this data folder and begin. Raises Conflict where another process leads."""
        try:
            self._lead()
        except Conflict:
            self._close_engines()
            raise
        self._capacity()
        with self.platform.db.read() as connection:
            known = {job.key for job in jobs.in_states(connection, ON_ENGINE)}
            checkpoints.sweep(self.platform, connection)
        for engine in self.engines.values():
            if ended := engine.sweep(known):
                log.warning("attempts.swept", engine=engine.name, keys=list(ended))
        self._threads = [threading.Thread(target=self._loop, name="dispatcher", daemon=True)]
        self._threads += [threading.Thread(target=self._listen, args=(one,), name="doorbell", daemon=True) for one in self.engines.values()]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop deciding and let go of the engines; what runs goes on and is found again at the next start."""
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._close_engines()
        if self._end_claim is not None:
            self._end_claim()
        if self._lock_file is not None:
            self._lock_file.close()

    def _close_engines(self) -> None:
        for engine in self.engines.values():
            engine.close()

    def wake(self) -> None:
        """Look at the queue now: something was submitted or cancelled."""
        self._wake.set()

    def turn(self) -> bool:
        """Do one round of the loop and tell whether anything is queued or under way."""
        with self.platform.db.read() as connection:
            active = jobs.in_states(connection, ON_ENGINE)
            queued = jobs.in_states(connection, {State.QUEUED}, limit=self.judge.window)
        self._observe(active)
        fresh = tuple(job for job in queued if not self._reused(job))
        if len(fresh) < len(queued):
            self._wake.set()  # what waited for the reused ones may be queued now
        if fresh:
            capacity, began = self._capacity(), time.perf_counter()
            with self.platform.db.read() as connection:
                made = self.judge.decide(connection, queued=fresh, active=active, capacity=capacity, now=self.platform.clock.now())
            self._carry_out({job.id: job for job in (*fresh, *active)}, made, active)
            self.decided.note(time.perf_counter() - began)
        return bool(active or queued)

    def _capacity(self) -> dict[str, Capacity]:
        """Return what the engines have in all, and record it where it has changed, for those who ask why."""
        seen, now = {name: engine.capacity() for name, engine in self.engines.items()}, self.platform.clock.now()
        if seen != self._noted:
            self.platform.db.write(lambda connection: pool.note(connection, seen, at=now))
            self._noted = seen
        return seen

    def _lead(self) -> None:
        path = self.platform.settings.data_folder / "dispatcher.lock"
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            other = file.read().strip() or "unknown"
            file.close()
            raise Conflict(f"Another process (pid {other}) runs this data folder.", "Use that server, or another --data folder.") from error
        self._end_claim = self.platform.db.claim_leadership()
        if self._end_claim is None:
            file.close()
            raise Conflict("Another server dispatches the jobs of this database.", "Use that one, or a database of your own.")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._lock_file = file

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Exception:  # the loop outlives a failing turn: it is logged and tried again
                log.exception("dispatcher.turn_failed")
                self._stopping.wait(LONGEST_REST_S)
            self._wake.wait(LONGEST_REST_S)
            self._wake.clear()

    def _listen(self, engine: Engine) -> None:
        while not self._stopping.is_set():
            engine.wait(LONGEST_REST_S)
            self._wake.set()

    def _in_background(self, job: Job, work: Callable[[Job], None]) -> None:
        """Run `work` on a worker thread, once at a time for each job."""
        self._all_in_background([job], lambda free: work(free[0]))

    def _all_in_background(self, group: Sequence[Job], work: Callable[[Sequence[Job]], None]) -> None:
        """Run `work` on a worker thread with those jobs that no other thread works on."""
        with self._busy_lock:
            free = [job for job in group if job.id not in self._busy]
            self._busy |= {job.id for job in free}
        if not free:
            return

        def guarded() -> None:
            try:
                work(free)
            except Exception:  # a worker's fault must not take the job's record with it: the next turn tries again
                log.exception("dispatcher.work_failed", jobs=[job.id for job in free])
                self._stopping.wait(LONGEST_REST_S)
            finally:
                with self._busy_lock:
                    self._busy -= {job.id for job in free}
                self._wake.set()

        with contextlib.suppress(RuntimeError):  # the pool is closing: the job is found again at the next start
            self._pool.submit(guarded)

    def _observe(self, active: Sequence[Job]) -> None:
        by_engine: dict[str, list[Job]] = defaultdict(list)
        for job in active:
            if job.id not in self._busy:
                by_engine[job.engine].append(job)
        for name, group in by_engine.items():
            seen = self.engines[name].poll([job.key for job in group]) if name in self.engines else {}
            for job in group:
                self._react(job, seen.get(job.key, Observation(phase=Phase.UNKNOWN)))

    def _react(self, job: Job, seen: Observation) -> None:
        if seen.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.LOST):
            self._in_background(job, lambda job: self._end(job, seen))
        elif seen.phase is Phase.UNKNOWN and job.state is State.RUNNING:
            self._in_background(job, lambda job: self._end(job, Observation(phase=Phase.LOST, reason=Reason.NODE_LOST)))
        elif (job.cancel_asked_by or job.preempted_for) and job.key not in self._cancelled:
            self._cancelled.add(job.key)
            self._in_background(job, lambda job: self.engines[job.engine].cancel(job.key))
        elif seen.phase is Phase.UNKNOWN:
            self._all_in_background([job], self._launch)
        elif job.state is State.STARTING:
            self._change(job, State.RUNNING, reason=job.reason)

    def _reused(self, job: Job) -> bool:
        """End a queued job by an equal one that finished before and still holds; tell whether the job left the queue."""
        if not job.spec.reuse or job.spec.step is None:
            return False
        try:
            with self.platform.db.read() as connection:
                key = reuse.key(job, resolve(connection, job))
                earlier = reuse.find(connection, self.platform, job, key)
        except NotFound as error:
            return self._change(job, State.FAILED, reason=error.what, error=_as_json(error))
        if earlier is None:
            return False
        reason = f"equal to job {earlier.id}, finished {earlier.ended_at:%Y-%m-%d %H:%M} UTC"
        result = dict(earlier.result or {})
        return self._change(job, State.REUSED, reason=reason, reuse_key=key, reused_from=earlier.id, result=result, place=earlier.place)

    def _carry_out(self, known: Mapping[str, Job], decisions: Sequence[Decision], active: Sequence[Job]) -> None:
        """Record all decisions of a turn in one transaction, then start and stop what they say."""
        news = [one for one in decisions if one.verdict is not Verdict.WAIT or (known[one.job].decision or {}).get("code") != one.code]
        if not news:
            return

        def record(connection: Connection) -> None:
            held = [job.devices or {} for job in active]
            for one in news:
                with contextlib.suppress(Conflict), connection.begin_nested():  # cancelled or ended meanwhile
                    held.append(self._record(connection, known[one.job], one, held))

        self.platform.db.write(record)
        started = [one.job for one in news if one.verdict is Verdict.START]
        self.started += len(started)
        if started:
            with self.platform.db.read() as connection:
                fresh = [jobs.get(connection, job) for job in started]
            self._launch_in_background([job for job in fresh if job.state is State.STARTING])
        if len(started) >= self.judge.window or any(one.verdict is Verdict.STOP for one in news):
            self._wake.set()  # more may be queued than was looked at; and engines are told to stop what now makes room

    def _record(
        self, connection: Connection, job: Job, decision: Decision, held: Sequence[Mapping[str, Sequence[int]]]
    ) -> Mapping[str, Sequence[int]]:
        """Record a decision and return the devices that it gives out; `held` is what others have of them."""
        now = self.platform.clock.now()
        if decision.verdict is Verdict.STOP:
            jobs.ask_room(connection, job, for_job=decision.other or "", why=decision.reason, at=now, actor=SYSTEM)
            return {}
        told = {"code": decision.code, "why": decision.reason, "unblocks": decision.unblocks, "policy": self.judge.policy.name}
        if decision.verdict is Verdict.WAIT:
            connection.execute(update(jobs.jobs).where(jobs.jobs.c.id == job.id).values(reason=decision.reason[:1000], decision=told))
            return {}
        if decision.verdict is Verdict.NEVER:
            error = {"code": "compute.never_fits", "message": decision.reason}
            self._move(connection, job, State.FAILED, reason=decision.reason, error=error, decision=told)
            return {}
        devices = allot(job.spec.resources.accelerators, self.engines[job.engine].capacity(), held)
        self._move(
            connection,
            job,
            State.STARTING,
            reason=decision.reason,
            place=INSIDE if job.engine == "platform" else decision.reason[:400],
            attempt=job.attempt + 1,
            started_at=now,
            devices=devices,
            decision=told,
            reuse_key=reuse.key(job, resolve(connection, job)),
        )
        return devices

    def _launch_in_background(self, started: Sequence[Job]) -> None:
        """Hand jobs to their engines: one by one, or together to an engine that takes many."""
        for name in sorted({job.engine for job in started}):
            group = [job for job in started if job.engine == name]
            parts = [group] if isinstance(self.engines[name], TakesMany) else [[job] for job in group]
            for part in parts:
                self._all_in_background(part, self._launch)

    def _launch(self, group: Sequence[Job]) -> None:
        """Hand jobs of one engine to it."""
        works: list[Work] = []
        failed: dict[str, HeadwaterError] = {}
        for job in group:
            try:
                with self.platform.db.read() as connection:
                    works.append(self._work(connection, job, resolve(connection, job)))
            except HeadwaterError as error:
                failed[job.key] = error
        failed |= handed_to(self.engines[group[0].engine], works)
        for job in group:
            if (why := failed.get(job.key)) is not None:
                log.warning("job.not_started", job=job.id, error=str(why))
                self._change(job, State.FAILED, reason=f"could not be started: {why.what}", error=_as_json(why))

    def _work(self, connection: Connection, job: Job, inputs: Mapping[str, str]) -> Work:
        kept = checkpoints.folder_for(self.platform, job)
        task = {
            "step": job.spec.step,
            "params": dict(job.spec.params),
            "inputs": dict(inputs),
            "project": job.spec.project,
            "job": job.id,
            "actor": job.submitted_by,
            "organisation": job.organisation,
            "seed": job.spec.seed,
            "settings": {"cpus": job.spec.resources.cpus, **({"checkpoint": str(kept)} if kept else {})},
        }
        return Work(
            key=job.key,
            argv=job.spec.argv,
            task=task if job.spec.step else None,
            inputs=dict(inputs),
            resources=job.spec.resources,
            environment={checkpoints.VARIABLE: str(kept)} if kept else {},
            devices=job.devices or {},
            person=identity.name_of(connection, job.submitted_by),
            organisation=job.organisation,
        )

    def _end(self, job: Job, seen: Observation) -> None:
        """Record how an attempt ended; it is queued again where it made room, its process was lost or retries are left."""
        usage, tried = asdict(seen.usage), job.attempt - job.preemptions
        if seen.phase is Phase.SUCCEEDED:
            self._succeed(job, seen)
        elif job.preempted_for is not None and not job.cancel_asked_by and (seen.phase is Phase.LOST or seen.reason is Reason.CANCELLED):
            self._wait_again(job)
        elif seen.reason is Reason.CANCELLED or job.cancel_asked_by:
            self._change(job, State.CANCELLED, actor=job.cancel_asked_by or SYSTEM, reason="cancelled while it ran", usage=usage)
        elif seen.phase is Phase.LOST and tried < self.platform.settings.job_attempts:
            self._change(job, State.QUEUED, reason=f"attempt {job.attempt} was lost with its process; it is tried again")
        elif seen.phase is Phase.FAILED and tried <= job.spec.resources.retries:
            self._change(job, State.QUEUED, reason=f"attempt {job.attempt} failed ({seen.reason}); it is tried again")
        else:
            self._fail(job, seen)
        self.engines[job.engine].forget(job.key)
        with self.platform.db.read() as connection:
            over = jobs.get(connection, job.id).state in ENDS
        if over:
            checkpoints.remove(self.platform, job)

    def _wait_again(self, job: Job) -> None:
        """Queue a job that made room for another, with the work that its checkpoint holds."""
        now = self.platform.clock.now()
        kept_s = checkpoints.kept_s(self.platform, job, now)
        reason = f"attempt {job.attempt} was stopped for {job.preempted_for or 'another job'}; {kept_s:.0f} s of its work are kept"
        self._change(
            job, State.QUEUED, reason=reason, preempted_for=None, preemptions=job.preemptions + 1, attained_s=kept_s, decision=None
        )

    def _fail(self, job: Job, seen: Observation) -> None:
        told = reuse.read_json(self.engines[job.engine].folder(job.key) / "error.json")
        reason = seen.reason or (Reason.NODE_LOST if seen.phase is Phase.LOST else Reason.FAILED)
        code = str(told.get("code") or f"compute.{reason}")
        message = str(told.get("message") or seen.message or f"It ended with status {seen.exit_code}.")
        to = State.REFUSED if code in (GateClosed.code, Refused.code) else State.FAILED
        error = {"code": code, "message": message, "reason": reason}
        self._change(job, to, reason=message[:300], error=error, usage=asdict(seen.usage))

    def _succeed(self, job: Job, seen: Observation) -> None:
        with self.platform.db.read() as connection:
            inputs = resolve(connection, job)
        try:
            made = collect(self.platform.store, job, self.engines[job.engine].folder(job.key), inputs)
        except HeadwaterError as error:
            to = State.REFUSED if isinstance(error, Refused) else State.FAILED
            self._change(job, to, reason=error.what, error=_as_json(error), usage=asdict(seen.usage))
            return
        with contextlib.suppress(Conflict):  # another writer ended it first
            self.platform.db.write(lambda connection: self._finish(connection, job, made, inputs, seen))

    def _finish(self, connection: Connection, job: Job, made: Made, inputs: Mapping[str, str], seen: Observation) -> None:
        now = self.platform.clock.now()
        artifacts.hold(connection, made.outputs.values(), job.organisation, at=now)
        issued = sign(connection, self.platform, job, made, inputs=inputs, now=now)
        result = {"outputs": dict(made.outputs), "metrics": dict(made.metrics), "facts": dict(made.facts), "statements": issued}
        self._move(connection, job, State.DONE, reason=job.reason, result=result, usage=asdict(seen.usage))

    def _move(self, connection: Connection, job: Job, to: State, *, actor: str = SYSTEM, reason: str = "", **values: Any) -> None:
        jobs.move(connection, job, to, at=self.platform.clock.now(), actor=actor, reason=reason, **values)

    def _change(self, job: Job, to: State, *, actor: str = SYSTEM, reason: str = "", **values: Any) -> bool:
        """Move a job in a transaction of its own, and tell whether it was still as it was read."""
        try:
            self.platform.db.write(lambda connection: self._move(connection, job, to, actor=actor, reason=reason, **values))
        except Conflict:
            return False
        return True


def _opened(platform: Platform) -> dict[str, Engine]:
    """Return every engine that is installed and that the settings ask for, open."""
    factories = [ENGINES.get(name) for name in ENGINES.names()]
    return {factory.name: factory(platform) for factory in factories if factory.wanted(platform.settings)}


def resolve(connection: Connection, job: Job) -> dict[str, str]:
    """Return the artifact behind each of a job's inputs. Raises NotFound where the job before it did not make it."""
    found = {}
    for name, given in job.spec.inputs.items():
        artifact = given.artifact
        if given.job is not None:
            artifact = jobs.get(connection, given.job).outputs.get(given.output or "")
        if artifact is None:
            raise NotFound(f"The input '{name}' of '{job.name}' was not made.", "Look at the job that makes it.")
        found[name] = artifact
    return found


def _as_json(error: HeadwaterError) -> dict[str, str]:
    return {"code": error.code, "message": str(error)}
