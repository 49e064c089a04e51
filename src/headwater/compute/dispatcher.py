"""The dispatcher: brings what engines report into the database, and the scheduler's decisions to engines.

One loop, on the one server that leads (`leadership.py`); on the others it stands by. Each turn it observes the attempts under
way, ends those that ended, answers cancel requests, reuses finished work, has the policy decide on the queue, and starts and
stops what it says. What must not hold the loop up (laying out inputs, storing outputs) runs in a few worker threads.

It can be killed at any moment: a job is recorded as `starting` under a new attempt key before its
engine hears of it, engines start a key at most once, and an end is recorded in one transaction. On
the next start every recorded attempt is asked after again, and attempts nobody knows are ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Literal

import structlog
from sqlalchemy import Connection, update

from headwater.compute import artifacts, checkpoints, deciding, jobs, reuse
from headwater.compute.admission import allot
from headwater.compute.collecting import Made, collect, sign
from headwater.compute.deciding import Decision, Heard, Verdict
from headwater.compute.engines.home import home_of
from headwater.compute.figures import Times
from headwater.compute.floor import Floor
from headwater.compute.jobs import ANYWHERE, ENDS, ON_ENGINE, Job, Move, State
from headwater.compute.judging import Judge
from headwater.compute.leadership import Leadership
from headwater.compute.live import Live
from headwater.compute.settlement import metering
from headwater.compute.sites import ENGINES
from headwater.compute.work import Capacity, Engine, Observation, Phase, Reason, Staging, TakesMany, Work, handed_to
from headwater.core import identity
from headwater.core.errors import Conflict, GateClosed, HeadwaterError, NotFound, Refused, Unavailable
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform

LONGEST_REST_S = 0.5
TELL_S = 1.0
STORE_AGAIN_S = 5.0
STRAYS_S = 5.0
WORKERS = 4
ELSEWHERE = Observation(
    phase=Phase.LOST, reason=Reason.NODE_LOST, message="It was put where only another server sees it, and that one leads no more."
)

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
        opened = dict(engines) if engines is not None else _opened(platform)
        self._homes = {name: home_of(engine) for name, engine in opened.items()}
        self._lead = Leadership(platform.db, self._homes)
        self.floor = Floor(platform, opened, self._aside, self._lead.write)
        self.decided, self.started = Times(), 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._busy: set[str] = set()
        self._cancelled: set[str] = set()
        self._heard: set[str] = set()
        self._compared: set[tuple[str, str | None]] = set()
        self.live = Live()
        self._busy_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="dispatch")
        self._threads: list[threading.Thread] = []
        self._took_up: int | None = None
        self._strays_s = 0.0

    @property
    def role(self) -> Literal["leader", "standby"]:
        """Whether this server decides, or stands by while another does."""
        return "leader" if self._lead.epoch is not None else "standby"

    def start(self) -> None:
        """Begin: to decide, where no other server does, else to stand by until it is this one's turn. Raises Unavailable."""
        self._lead.start()
        if self._lead.epoch is not None:
            self._take_up(self._lead.epoch)
        self._threads.append(threading.Thread(target=self._loop, name="dispatcher", daemon=True))
        self._threads[-1].start()

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines that are open, by name."""
        return self.floor.open_engines()

    def _take_up(self, epoch: int) -> None:
        """Begin an epoch: record what there is, and end attempts that no job knows."""
        self.floor.look({}, anew=True)
        with self.platform.db.read() as connection:
            checkpoints.sweep(self.platform, connection)
        for engine in self.engines.values():
            self._welcome(engine)
        self._took_up = epoch

    def _stand_by(self) -> None:
        """End now and then what this server once started, and the leader, who cannot see it, has given up."""
        if time.monotonic() - self._strays_s < STRAYS_S:
            return
        self._strays_s = time.monotonic()
        with self.platform.db.read() as connection:
            elsewhere = self._lead.elsewhere(connection)
        self._sweep(engine for name, engine in self.engines.items() if name in elsewhere)

    def _sweep(self, engines: Iterable[Engine]) -> None:
        """End the attempts of some engines that no job is under way with."""
        with self.platform.db.read() as connection:
            known = {job.key for job in jobs.in_states(connection, ON_ENGINE)}
        for engine in engines:
            if ended := engine.sweep(known):
                log.warning("attempts.swept", engine=engine.name, keys=list(ended))

    def _welcome(self, engine: Engine) -> None:
        """End the attempts on an engine that nobody knows, and listen to it from now on."""
        self._homes[engine.name] = home_of(engine)
        self._sweep([engine])
        if engine.name not in self._heard:
            self._heard.add(engine.name)
            self._threads.append(threading.Thread(target=self._listen, args=(engine,), name="doorbell", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Stop deciding and let go of the engines; what runs goes on and is found again at the next start."""
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.floor.close()
        self._lead.stop()

    def wake(self) -> None:
        """Look at the queue now: something was submitted or cancelled."""
        self._wake.set()

    def turn(self) -> bool:
        """Do one round of the loop and tell whether anything is queued or under way."""
        with self.platform.db.read() as connection:
            self.live.look(connection)
            queued = self.judge.window(connection, self.live, now=self.platform.clock.now())
        active = tuple(self.live.active.values())
        capacity = self.floor.look(self.live.by_engine(), {job.engine for job in queued})
        self._attend(active)
        self._observe(active)
        if fresh := self._not_reused(queued):
            self._admit(fresh, active, capacity)
        return bool(active or queued)

    def _admit(self, queued: Sequence[Job], active: Sequence[Job], capacity: Mapping[str, Capacity]) -> None:
        """Have the policy decide on queued jobs, and do what it says."""
        began = time.perf_counter()
        with self.platform.db.read() as connection:
            facts = self.judge.decided_by(
                connection, queued, active, capacity, self.floor, sums=self.live.sums, now=self.platform.clock.now()
            )
        made = self.judge.decide(facts)
        self.decided.note(time.perf_counter() - began)
        self._carry_out({job.id: job for job in (*queued, *active)}, made, active, capacity)

    def _not_reused(self, queued: Sequence[Job]) -> tuple[Job, ...]:
        """End what equal jobs have done before, and return the rest. One is compared again only when a job of its step has ended."""
        if ended := self.live.ended_steps:
            self._compared = set() if None in ended else {job for job in self._compared if job[1] not in ended}
            self.live.ended_steps = set()
        fresh = []
        for job in queued:
            known = job.id, job.step
            if job.step is None or known in self._compared or not self._reused(job):
                fresh.append(job)
                self._compared.add(known)
        if len(fresh) < len(queued):
            self._wake.set()  # what waited for the reused ones may be queued now
        return tuple(fresh)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                if (epoch := self._lead.epoch) is None:
                    self._stand_by()
                else:
                    if epoch != self._took_up:
                        self._take_up(epoch)
                    self.turn()
            except Unavailable as error:
                log.warning("dispatcher.turn_failed", error=str(error))
                self._stopping.wait(LONGEST_REST_S)
            except Exception:  # the loop outlives a failing turn: it is logged and tried again
                log.exception("dispatcher.turn_failed")
                self._stopping.wait(LONGEST_REST_S)
            self._wake.wait(LONGEST_REST_S)
            self._wake.clear()

    def _listen(self, engine: Engine) -> None:
        while not self._stopping.is_set() and self.engines.get(engine.name) is engine:
            if self._lead.epoch is None:  # the leader hears the same bell, and each ring is heard once
                self._stopping.wait(LONGEST_REST_S)
                continue
            engine.wait(LONGEST_REST_S)
            self._wake.set()
        self._heard.discard(engine.name)

    def _aside(self, work: Callable[[], None]) -> None:
        """Run what may take long on a worker thread."""
        with contextlib.suppress(RuntimeError):  # the pool is closing
            self._pool.submit(work)

    def _attend(self, active: Sequence[Job]) -> None:
        """See to what became of sites: take up those that came back, move jobs away from lost ones, stop those that are to leave."""
        while self.floor.came_back:
            engine = self.engines.get(self.floor.came_back.pop())
            if engine is not None:
                self._welcome(engine)
        for job in active:
            if job.asked == ANYWHERE and self.floor.is_lost(job.engine):
                self._in_background(job, self._leave_behind)
        leaving = [job for job in active if self.floor.evicts(job.engine) and job.preempted_for is None and not job.cancel_asked_by]
        if leaving:
            self._lead.write(lambda connection: self._ask_to_leave(connection, leaving))

    def _ask_to_leave(self, connection: Connection, leaving: Sequence[Job]) -> None:
        now = self.platform.clock.now()
        for job in leaving:
            why = self.floor.stands[job.engine].why
            with contextlib.suppress(Conflict):
                jobs.ask_room(connection, job, for_job=f"the drain of {job.engine}", why=f"its site {why}", at=now, actor=SYSTEM)

    def _leave_behind(self, job: Job) -> None:
        """Queue a job anew whose site is lost, from what its checkpoints hold; its attempt there is swept when the site comes back."""
        if job.cancel_asked_by:
            self._change(job, State.CANCELLED, actor=job.cancel_asked_by, reason=f"cancelled while its site '{job.engine}' was lost")
            return
        kept_s = checkpoints.carried_over(self.platform, job)
        self._change(
            job,
            State.QUEUED,
            reason=f"site '{job.engine}' was lost in attempt {job.attempt}; {kept_s:.0f} s of its work are kept",
            preempted_for=None,
            preemptions=job.preemptions + 1,
            moves=job.moves + 1,
            attained_s=kept_s,
            decision=None,
            seen=Observation(phase=Phase.LOST, reason=Reason.NODE_LOST),
        )

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
            except Unavailable as error:  # such as a database that is away: the next turn tries again
                log.warning("dispatcher.work_failed", jobs=[job.id for job in free], error=str(error))
                self._stopping.wait(LONGEST_REST_S)
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
            if job.id in self._busy:
                continue
            if job.engine in self._homes and job.home not in (None, self._homes[job.engine]):
                self._react(job, ELSEWHERE)
            else:
                by_engine[job.engine].append(job)
        engines = self.engines
        for name, group in by_engine.items():
            if name not in engines and self.floor.knows(name):
                continue  # its jobs go on; it is asked again once it answers
            seen = engines[name].poll([job.key for job in group]) if name in engines else {}
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
            self._change(job, State.RUNNING, reason=_why(job))

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

    def _carry_out(
        self, known: Mapping[str, Job], decisions: Sequence[Decision], active: Sequence[Job], capacity: Mapping[str, Capacity]
    ) -> None:
        """Record all decisions of a turn in one transaction, then start and stop what they say."""
        news = [one for one in decisions if one.verdict is not Verdict.WAIT or (known[one.job].decision or {}).get("code") != one.code]
        if not news:
            return

        def record(connection: Connection) -> tuple[list[Move], list[dict[str, Any]]]:
            now, held = self.platform.clock.now(), devices_held(active)
            moves, noted = [], []
            for one in news:
                job = known[one.job]
                if one.verdict is Verdict.STOP:
                    with contextlib.suppress(Conflict):  # ended meanwhile
                        jobs.ask_room(connection, job, for_job=one.other or "", why=one.reason, at=now, actor=SYSTEM)
                elif one.verdict is Verdict.WAIT:
                    noted.append({"id": job.id, "reason": one.reason[:1000], "decision": self._told(one)})
                elif one.verdict is Verdict.NEVER:
                    error = {"code": "compute.never_fits", "message": one.reason}
                    values = {"error": error, "decision": self._told(one)}
                    moves.append(Move(job=job, to=State.FAILED, actor=SYSTEM, reason=one.reason, values=values))
                else:
                    devices = allot(job.spec.resources.accelerators, capacity[one.site], held[one.site])
                    held[one.site].append(devices)
                    moves.append(self._start(connection, job, one, devices))
            moved = jobs.move_all(connection, moves, at=now)
            jobs.note_all(connection, noted)
            return [move for move in moves if move.job.id in moved and move.to is State.STARTING], noted

        starts, waiting = self._lead.write(record)
        self.live.note(waiting)
        started = self.live.started(starts)
        self.started += len(started)
        self.judge.began(len(started), of=len(decisions))
        self._launch_in_background(started)
        if (started and self.live.count) or any(one.verdict is Verdict.STOP for one in news):
            self._wake.set()  # more may be queued than was looked at; and engines are told to stop what now makes room

    def _told(self, decision: Decision) -> dict[str, str]:
        """Return what is kept of a decision with its job."""
        return {"code": decision.code, "why": decision.reason, "unblocks": decision.unblocks, "policy": self.judge.policy.name}

    def _start(self, connection: Connection, job: Job, decision: Decision, devices: Mapping[str, Sequence[int]]) -> Move:
        """Return the change of a job that starts, with the devices that it gets."""
        values = {
            "engine": decision.site,
            "place": INSIDE if decision.site == "platform" else decision.reason[:400],
            "attempt": job.attempt + 1,
            "started_at": self.platform.clock.now(),
            "devices": dict(devices),
            "home": self._homes.get(decision.site),
            "decision": self._told(decision),
            "reuse_key": reuse.key(job, resolve(connection, job)) if job.step is not None else None,
        }
        return Move(job=job, to=State.STARTING, actor=SYSTEM, reason=decision.reason, values=values)

    def _launch_in_background(self, started: Sequence[Job]) -> None:
        """Hand jobs to their engines: one by one, or together to an engine that takes many."""
        engines = self.engines
        for name in sorted({job.engine for job in started} & engines.keys()):
            group = [job for job in started if job.engine == name]
            for part in [group] if isinstance(engines[name], TakesMany) else [[job] for job in group]:
                self._all_in_background(part, self._launch)

    def _launch(self, group: Sequence[Job]) -> None:
        """Hand jobs of one engine to it."""
        works: list[Work] = []
        failed: dict[str, HeadwaterError] = {}
        with self.platform.db.read() as connection:
            for job in group:
                try:
                    works.append(self._work(connection, job, resolve(connection, job)))
                except HeadwaterError as error:
                    failed[job.key] = error
        if self._lead.epoch is None:
            return  # the leader starts them
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
            staging=Staging(cache_bytes=int(self.platform.settings.stage_cache_gib * (1 << 30)), told=self._telling(job)),
            person=identity.name_of(connection, job.submitted_by),
            organisation=job.organisation,
        )

    def _telling(self, job: Job) -> Callable[[float], None]:
        """Return what notes, now and then, how much of a job's inputs is where it will run."""
        told_s = time.monotonic()

        def tell(share: float) -> None:
            nonlocal told_s
            if time.monotonic() - told_s > TELL_S:
                told_s = time.monotonic()
                self._note(job, f"staging its inputs: {share:.0%} of their bytes are there")

        return tell

    def _note(self, job: Job, reason: str) -> None:
        """Say what a job waits for while it stays in its state."""
        here = (jobs.jobs.c.id == job.id, jobs.jobs.c.state == job.state, jobs.jobs.c.attempt == job.attempt)
        with contextlib.suppress(Unavailable):  # it will be said again
            self._lead.write(lambda connection: connection.execute(update(jobs.jobs).where(*here).values(reason=reason[:1000])))

    def _end(self, job: Job, seen: Observation) -> None:
        """Record how an attempt ended; it is queued again where it made room, its process was lost or retries are left."""
        tried = job.attempt - job.preemptions
        if seen.phase is Phase.SUCCEEDED:
            if not self._succeed(job, seen):
                return
        elif job.preempted_for is not None and not job.cancel_asked_by and (seen.phase is Phase.LOST or seen.reason is Reason.CANCELLED):
            self._wait_again(job, seen)
        elif seen.reason is Reason.CANCELLED or job.cancel_asked_by:
            self._change(job, State.CANCELLED, actor=job.cancel_asked_by or SYSTEM, reason="cancelled while it ran", seen=seen)
        elif seen.phase is Phase.LOST and tried < self.platform.settings.job_attempts:
            self._change(job, State.QUEUED, reason=f"attempt {job.attempt} was lost with its process; it is tried again", seen=seen)
        elif seen.phase is Phase.FAILED and tried <= job.spec.resources.retries:
            self._change(job, State.QUEUED, reason=f"attempt {job.attempt} failed ({seen.reason}); it is tried again", seen=seen)
        else:
            self._fail(job, seen)
        if job.engine in self.engines:
            self.engines[job.engine].forget(job.key)
        with self.platform.db.read() as connection:
            over = jobs.get(connection, job.id).state in ENDS
        if over:
            checkpoints.remove(self.platform, job)

    def _wait_again(self, job: Job, seen: Observation) -> None:
        """Queue a job that made room for another, with the work that its checkpoint holds."""
        now = self.platform.clock.now()
        kept_s = checkpoints.kept_s(self.platform, job, now)
        reason = f"attempt {job.attempt} was stopped for {job.preempted_for or 'another job'}; {kept_s:.0f} s of its work are kept"
        again = {"preempted_for": None, "preemptions": job.preemptions + 1, "attained_s": kept_s, "decision": None}
        self._change(job, State.QUEUED, reason=reason, seen=seen, **again)

    def _fail(self, job: Job, seen: Observation) -> None:
        told = reuse.read_json(self.engines[job.engine].folder(job.key) / "error.json") if job.engine in self.engines else {}
        reason = seen.reason or (Reason.NODE_LOST if seen.phase is Phase.LOST else Reason.FAILED)
        code = str(told.get("code") or f"compute.{reason}")
        message = str(told.get("message") or seen.message or f"It ended with status {seen.exit_code}.")
        to = State.REFUSED if code in (GateClosed.code, Refused.code) else State.FAILED
        error = {"code": code, "message": message, "reason": reason}
        self._change(job, to, reason=message[:300], error=error, seen=seen)

    def _succeed(self, job: Job, seen: Observation) -> bool:
        """Store what a job made and end it; False where the store cannot take it now: its outputs stay where they are until it can."""
        with self.platform.db.read() as connection:
            inputs = resolve(connection, job)
        try:
            made = collect(self.platform.store, job, self.engines[job.engine].folder(job.key), inputs)
        except Unavailable as error:
            log.warning("job.not_stored", job=job.id, error=str(error))
            self._note(job, f"has ended well; its outputs wait to be stored: {error}")
            self._stopping.wait(STORE_AGAIN_S)
            return False
        except HeadwaterError as error:
            to = State.REFUSED if isinstance(error, Refused) else State.FAILED
            self._change(job, to, reason=error.what, error=_as_json(error), seen=seen)
            return True
        with contextlib.suppress(Conflict):  # another writer ended it first
            self._lead.write(lambda connection: self._finish(connection, job, made, inputs, seen))
        return True

    def _finish(self, connection: Connection, job: Job, made: Made, inputs: Mapping[str, str], seen: Observation) -> None:
        now = self.platform.clock.now()
        artifacts.hold(connection, made.outputs.values(), job.organisation, at=now)
        issued = sign(connection, self.platform, job, made, inputs=inputs, now=now)
        result = {"outputs": dict(made.outputs), "metrics": dict(made.metrics), "facts": dict(made.facts), "statements": issued}
        self._move(connection, job, State.DONE, reason=_why(job), result=result, seen=seen)

    def _move(
        self, connection: Connection, job: Job, to: State, *, actor: str = SYSTEM, seen: Observation | None = None, **values: Any
    ) -> None:
        """Move a job; `seen` is what its engine told of an attempt that ended with this, which is metered in the same transaction."""
        now = self.platform.clock.now()
        if seen is not None and to in ENDS:
            values["usage"] = asdict(seen.usage)
        jobs.move(connection, job, to, at=now, actor=actor, **values)
        if seen is not None:
            metering.meter(connection, self.platform, job, seen, to, actor=actor, at=now)

    def _change(self, job: Job, to: State, **values: Any) -> bool:
        """Move a job in a transaction of its own, and tell whether it was still as it was read."""
        try:
            self._lead.write(lambda connection: self._move(connection, job, to, **values))
        except Conflict:
            return False
        return True


def devices_held(active: Sequence[Job]) -> dict[str, list[Mapping[str, Sequence[int]]]]:
    """Return the devices that jobs have, by engine."""
    held: dict[str, list[Mapping[str, Sequence[int]]]] = defaultdict(list)
    for job in active:
        if job.devices:
            held[job.engine].append(job.devices)
    return held


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


def _why(job: Job) -> str:
    """Return why a job was started as it was, whatever has been said of its staging or storing since."""
    return str((job.decision or {}).get("why") or job.reason)


def _as_json(error: HeadwaterError) -> dict[str, str]:
    return {"code": error.code, "message": str(error)}
