"""The dispatcher: brings what engines report into the database, and the scheduler's decisions to engines.

One loop, on the one server that leads (`leadership.py`); on the others it stands by. Each turn it has the attempts under way
observed, reuses finished work, has the policy decide on the queue, and starts and stops what it says. What must not hold the loop
up runs on threads of each engine (`rounds.py`): observing its attempts and ending those that ended, laying out inputs, storing
outputs.

It can be killed at any moment: a job is recorded as `starting` under a new attempt key before its
engine hears of it, engines start a key at most once, and an end is recorded in one transaction. On
the next start every recorded attempt is asked after again, and attempts nobody knows are ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import structlog
from sqlalchemy import Connection

from headwater.compute import checkpoints, deciding, jobs, reuse
from headwater.compute.admission import allot
from headwater.compute.attempts import Attempts, as_json, resolve, why
from headwater.compute.deciding import Decision, Heard, Verdict
from headwater.compute.engines.home import home_of
from headwater.compute.figures import Times
from headwater.compute.floor import Floor
from headwater.compute.jobs import ANYWHERE, ON_ENGINE, Job, Move, State
from headwater.compute.judging import Judge
from headwater.compute.leadership import Leadership
from headwater.compute.live import Live
from headwater.compute.rounds import UNHEARD_OF, Rounds, Workers
from headwater.compute.sites import ENGINES
from headwater.compute.situation import Facts
from headwater.compute.work import Capacity, Engine, Observation, Phase, Reason, TakesMany
from headwater.core.errors import Conflict, NotFound, Unavailable
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform

LONGEST_REST_S = 0.5
STRAYS_S = 5.0
TAKE_UP_S = 1.0
"""How long engines may take to look for attempts that nobody knows before the first turn of an epoch begins without them."""
MOVING = "(moving)"
"""The workers that take jobs away from engines that do not answer; no engine has such a name."""
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
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._workers = Workers(self._stopping, self.wake)
        self.floor = Floor(platform, opened, self._going_round, self._workers.run, self._lead.write)
        self._attempts = Attempts(platform, self._lead, self.floor.open_engines, self._stopping)
        self.decided, self.started = Times(), 0
        self._cancelled: set[str] = set()
        self._heard: set[str] = set()
        self._compared: set[tuple[str, str | None]] = set()
        self.live = Live()
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
        """Begin an epoch: end attempts that no job knows, and record what there is."""
        with self.platform.db.read() as connection:
            checkpoints.sweep(self.platform, connection)
        for rounds in self.floor.rounds().values():
            self._welcome(rounds.engine)
            rounds.sweep()
        until_s = time.monotonic() + TAKE_UP_S
        for rounds in self.floor.rounds().values():
            rounds.wait_swept(until_s - time.monotonic())
        self.floor.look({}, anew=True)
        self._took_up = epoch

    def _stand_by(self) -> None:
        """End now and then what this server once started, and the leader, who cannot see it, has given up."""
        if time.monotonic() - self._strays_s < STRAYS_S:
            return
        self._strays_s = time.monotonic()
        with self.platform.db.read() as connection:
            elsewhere = self._lead.elsewhere(connection)
        for name, rounds in self.floor.rounds().items():
            if name in elsewhere:
                rounds.sweep()

    def _going_round(self, engine: Engine) -> Rounds:
        return Rounds(engine, sweep=self._sweep, react=self._react, over=self.wake)

    def _sweep(self, engine: Engine) -> None:
        """End the attempts of an engine that no job is under way with."""
        with self.platform.db.read() as connection:
            known = {job.key for job in jobs.in_states(connection, ON_ENGINE)}
        if ended := engine.sweep(known):
            log.warning("attempts.swept", engine=engine.name, keys=list(ended))

    def _welcome(self, engine: Engine) -> None:
        """Listen to an engine from now on."""
        self._homes[engine.name] = home_of(engine)
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
        self._workers.close()
        self.floor.close()
        self._lead.stop()

    def wake(self) -> None:
        """Look at the queue now: something was submitted or cancelled."""
        self._wake.set()

    def turn(self) -> bool:
        """Do one turn of the loop and tell whether anything is queued or under way."""
        free = {name for name, rounds in self.floor.rounds().items() if rounds.is_free}  # what they changed is read below
        with self.platform.db.read() as connection:
            self.live.look(connection)
            queued = self.judge.window(connection, self.live, now=self.platform.clock.now())
        active = tuple(self.live.active.values())
        capacity = self.floor.look(self.live.by_engine(), {job.engine for job in queued})
        self._attend(active)
        self._observe(active, free)
        if fresh := self._not_reused(queued):
            self._admit(fresh, capacity)
        return bool(active or queued)

    def _admit(self, queued: Sequence[Job], capacity: Mapping[str, Capacity]) -> None:
        """Have the policy decide on queued jobs, and do what it says."""
        began = time.perf_counter()
        facts = self.judge.decided_by(queued, self.live, capacity, self.floor, now=self.platform.clock.now())
        made = self.judge.decide(facts)
        self.decided.note(time.perf_counter() - began)
        self._carry_out(facts, made)

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

    def _attend(self, active: Sequence[Job]) -> None:
        """See to what became of sites: take up those that came back, move jobs away from lost ones, stop those that are to leave."""
        while self.floor.came_back:
            engine = self.engines.get(self.floor.came_back.pop())
            if engine is not None:
                self._welcome(engine)
        for job in active:
            if job.asked == ANYWHERE and self.floor.is_lost(job.engine):
                self._workers.take([job], lambda free: self._attempts.leave_behind(free[0]), of=MOVING)
        leaving = [job for job in active if self.floor.evicts(job.engine) and job.preempted_for is None and not job.cancel_asked_by]
        if leaving:
            self._lead.write(lambda connection: self._ask_to_leave(connection, leaving))

    def _ask_to_leave(self, connection: Connection, leaving: Sequence[Job]) -> None:
        now = self.platform.clock.now()
        for job in leaving:
            why = self.floor.stands[job.engine].why
            with contextlib.suppress(Conflict):
                jobs.ask_room(connection, job, for_job=f"the drain of {job.engine}", why=f"its site {why}", at=now, actor=SYSTEM)

    def _in_background(self, job: Job, work: Callable[[Job], None]) -> None:
        """Run `work` on a worker thread, once at a time for each job."""
        self._workers.take([job], lambda free: work(free[0]))

    def _observe(self, active: Sequence[Job], free: Collection[str]) -> None:
        """Have the engines observe their jobs, those that were free before these were read."""
        by_engine: dict[str, list[Job]] = defaultdict(list)
        for job in active:
            if self._workers.has(job):
                continue
            if job.engine in self._homes and job.home not in (None, self._homes[job.engine]):
                self._react(job, ELSEWHERE)
            else:
                by_engine[job.engine].append(job)
        for name, rounds in self.floor.rounds().items():
            group = by_engine.pop(name, [])
            if name in free:
                rounds.observe(group)
            elif group:
                rounds.miss()
        for name, group in by_engine.items():
            if not self.floor.knows(name):  # of one that does not answer, the jobs go on
                for job in group:
                    self._react(job, UNHEARD_OF)

    def _react(self, job: Job, seen: Observation) -> None:
        """Do what follows from where an attempt is. For the thread that observed it."""
        if seen.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.LOST):
            self._cancelled.discard(job.key)
            self._in_background(job, lambda job: self._attempts.end(job, seen))
        elif seen.phase is Phase.UNKNOWN and job.state is State.RUNNING:
            self._in_background(job, lambda job: self._attempts.end(job, Observation(phase=Phase.LOST, reason=Reason.NODE_LOST)))
        elif (job.cancel_asked_by or job.preempted_for) and job.key not in self._cancelled:
            self._in_background(job, self._cancel)
        elif seen.phase is Phase.UNKNOWN:
            self._workers.take([job], self._attempts.launch)
        elif job.state is State.STARTING:
            self._attempts.change(job, State.RUNNING, reason=why(job))

    def _cancel(self, job: Job) -> None:
        """Have an attempt's engine end it, once the engine has taken that in; until then it is told again."""
        self.engines[job.engine].cancel(job.key)
        self._cancelled.add(job.key)

    def _reused(self, job: Job) -> bool:
        """End a queued job by an equal one that finished before and still holds; tell whether the job left the queue."""
        if not job.spec.reuse or job.spec.step is None:
            return False
        try:
            with self.platform.db.read() as connection:
                key = reuse.key(job, resolve(connection, job))
                earlier = reuse.find(connection, self.platform, job, key)
        except NotFound as error:
            return self._attempts.change(job, State.FAILED, reason=error.what, error=as_json(error))
        if earlier is None:
            return False
        reason = f"equal to job {earlier.id}, finished {earlier.ended_at:%Y-%m-%d %H:%M} UTC"
        result = dict(earlier.result or {})
        return self._attempts.change(
            job, State.REUSED, reason=reason, reuse_key=key, reused_from=earlier.id, result=result, place=earlier.place
        )

    def _carry_out(self, facts: Facts, decisions: Sequence[Decision]) -> None:
        """Record all decisions of a turn in one transaction, then start and stop what they say."""
        known = {job.id: job for job in (*facts.queued, *facts.active)}
        news = [
            one
            for one in decisions
            if one.verdict is not Verdict.WAIT or (one.reason and (known[one.job].decision or {}).get("code") != one.code)
        ]
        if not news:
            return

        def record(connection: Connection) -> tuple[list[Move], list[dict[str, Any]]]:
            now, held, policy = self.platform.clock.now(), devices_held(facts.active), facts.policy.name
            moves, noted = [], []
            for one in news:
                job = known[one.job]
                if one.verdict is Verdict.STOP:
                    with contextlib.suppress(Conflict):  # ended meanwhile
                        jobs.ask_room(connection, job, for_job=one.other or "", why=one.reason, at=now, actor=SYSTEM)
                elif one.verdict is Verdict.WAIT:
                    noted.append({"id": job.id, "reason": one.reason[:1000], "decision": _told(one, policy)})
                elif one.verdict is Verdict.NEVER:
                    error = {"code": "compute.never_fits", "message": one.reason}
                    values = {"error": error, "decision": _told(one, policy)}
                    moves.append(Move(job=job, to=State.FAILED, actor=SYSTEM, reason=one.reason, values=values))
                else:
                    devices = allot(job.spec.resources.accelerators, facts.capacity[one.site], held[one.site])
                    held[one.site].append(devices)
                    moves.append(self._start(connection, job, one, devices, policy))
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

    def _start(self, connection: Connection, job: Job, decision: Decision, devices: Mapping[str, Sequence[int]], policy: str) -> Move:
        """Return the change of a job that starts, with the devices that it gets."""
        values = {
            "engine": decision.site,
            "place": INSIDE if decision.site == "platform" else decision.reason[:400],
            "attempt": job.attempt + 1,
            "started_at": self.platform.clock.now(),
            "devices": dict(devices),
            "home": self._homes.get(decision.site),
            "decision": _told(decision, policy),
            "reuse_key": reuse.key(job, resolve(connection, job)) if job.step is not None else None,
        }
        return Move(job=job, to=State.STARTING, actor=SYSTEM, reason=decision.reason, values=values)

    def _launch_in_background(self, started: Sequence[Job]) -> None:
        """Hand jobs to their engines: one by one, or together to an engine that takes many."""
        engines = self.engines
        for name in sorted({job.engine for job in started} & engines.keys()):
            group = [job for job in started if job.engine == name]
            for part in [group] if isinstance(engines[name], TakesMany) else [[job] for job in group]:
                self._workers.take(part, self._attempts.launch)


def _told(decision: Decision, policy: str) -> dict[str, str]:
    """Return what is kept of a decision with its job."""
    return {"code": decision.code, "why": decision.reason, "unblocks": decision.unblocks, "policy": policy}


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
