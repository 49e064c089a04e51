"""Attempts of jobs: handing them to their engines, and recording how they end, each in one transaction of the leader."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from sqlalchemy import Connection, update

from headwater.compute import artifacts, checkpoints, jobs, reuse
from headwater.compute.collecting import Made, collect, sign
from headwater.compute.jobs import ENDS, ON_ENGINE, Job, State
from headwater.compute.leadership import Leadership
from headwater.compute.settlement import metering
from headwater.compute.work import Engine, Observation, Phase, Reason, Staging, Work, checkpoint_root, handed_to
from headwater.core import identity
from headwater.core.errors import Conflict, GateClosed, HeadwaterError, NotFound, Refused, Unavailable
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform

TELL_S = 1.0
STORE_AGAIN_S = 5.0

log = structlog.get_logger("headwater.compute")


class Attempts:
    """Starts and ends attempts for the dispatcher, on its worker threads. Safe for several threads."""

    def __init__(
        self, platform: Platform, lead: Leadership, engines: Callable[[], Mapping[str, Engine]], stopping: threading.Event
    ) -> None:
        """Take the lead's transactions, what returns the open engines, and what tells that the dispatcher is stopping."""
        self._platform = platform
        self._lead = lead
        self._engines = engines
        self._stopping = stopping

    def leave_behind(self, job: Job) -> None:
        """Queue a job anew whose site is lost, from what its checkpoints hold; its attempt there is swept when the site comes back."""
        if job.cancel_asked_by:
            self.change(job, State.CANCELLED, actor=job.cancel_asked_by, reason=f"cancelled while its site '{job.engine}' was lost")
            return
        kept_s = checkpoints.carried_over(self._platform, job)
        self.change(
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

    def launch(self, group: Sequence[Job]) -> None:
        """Hand jobs of one engine to it."""
        works: list[Work] = []
        failed: dict[str, HeadwaterError] = {}
        with self._platform.db.read() as connection:
            for job in group:
                try:
                    works.append(self._work(connection, job, resolve(connection, job)))
                except HeadwaterError as error:
                    failed[job.key] = error
        if self._lead.epoch is None:
            return  # the leader starts them
        failed |= handed_to(self._engines()[group[0].engine], works)
        for job in group:
            if (why := failed.get(job.key)) is not None:
                log.warning("job.not_started", job=job.id, error=str(why))
                self.change(job, State.FAILED, reason=f"could not be started: {why.what}", error=as_json(why))

    def _work(self, connection: Connection, job: Job, inputs: Mapping[str, str]) -> Work:
        kept = checkpoints.folder_for(self._platform, job, checkpoint_root(self._engines().get(job.engine)))
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
            staging=Staging(cache_bytes=int(self._platform.settings.stage_cache_gib * (1 << 30)), told=self._telling(job)),
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

    def end(self, job: Job, seen: Observation) -> None:
        """Record how an attempt ended; it is queued again where it made room, its process was lost or retries are left."""
        tried = job.attempt - job.preemptions
        if seen.phase is Phase.SUCCEEDED:
            if not self._succeed(job, seen):
                return
        elif job.preempted_for is not None and not job.cancel_asked_by and (seen.phase is Phase.LOST or seen.reason is Reason.CANCELLED):
            self._wait_again(job, seen)
        elif seen.reason is Reason.CANCELLED or job.cancel_asked_by:
            self.change(job, State.CANCELLED, actor=job.cancel_asked_by or SYSTEM, reason="cancelled while it ran", seen=seen)
        elif seen.phase is Phase.LOST and tried < self._platform.settings.job_attempts:
            self.change(job, State.QUEUED, reason=f"attempt {job.attempt} was lost with its process; it is tried again", seen=seen)
        elif seen.phase is Phase.FAILED and tried <= job.spec.resources.retries:
            self.change(job, State.QUEUED, reason=f"attempt {job.attempt} failed ({seen.reason}); it is tried again", seen=seen)
        else:
            self._fail(job, seen)
        with self._platform.db.read() as connection:
            after = jobs.get(connection, job.id)
        if after.key == job.key and after.state in ON_ENGINE:
            return  # it was no longer as it was read, and is looked at again
        if job.engine in self._engines():
            self._engines()[job.engine].forget(job.key)
        if after.state in ENDS:
            checkpoints.remove(self._platform, job)

    def _wait_again(self, job: Job, seen: Observation) -> None:
        """Queue a job that made room for another, with the work that its checkpoint holds."""
        now = self._platform.clock.now()
        kept_s = checkpoints.kept_s(self._platform, job, now)
        reason = f"attempt {job.attempt} was stopped for {job.preempted_for or 'another job'}; {kept_s:.0f} s of its work are kept"
        again = {"preempted_for": None, "preemptions": job.preemptions + 1, "attained_s": kept_s, "decision": None}
        self.change(job, State.QUEUED, reason=reason, seen=seen, **again)

    def _fail(self, job: Job, seen: Observation) -> None:
        told = reuse.read_json(self._engines()[job.engine].folder(job.key) / "error.json") if job.engine in self._engines() else {}
        reason = seen.reason or (Reason.NODE_LOST if seen.phase is Phase.LOST else Reason.FAILED)
        code = str(told.get("code") or f"compute.{reason}")
        message = str(told.get("message") or seen.message or f"It ended with status {seen.exit_code}.")
        to = State.REFUSED if code in (GateClosed.code, Refused.code) else State.FAILED
        error = {"code": code, "message": message, "reason": reason}
        self.change(job, to, reason=message[:300], error=error, seen=seen)

    def _succeed(self, job: Job, seen: Observation) -> bool:
        """Store what a job made and end it; False where the store cannot take it now: its outputs stay where they are until it can."""
        with self._platform.db.read() as connection:
            inputs = resolve(connection, job)
        try:
            made = collect(self._platform.store, job, self._engines()[job.engine].folder(job.key), inputs)
        except Unavailable as error:
            log.warning("job.not_stored", job=job.id, error=str(error))
            self._note(job, f"has ended well; its outputs wait to be stored: {error}")
            self._stopping.wait(STORE_AGAIN_S)
            return False
        except HeadwaterError as error:
            to = State.REFUSED if isinstance(error, Refused) else State.FAILED
            self.change(job, to, reason=error.what, error=as_json(error), seen=seen)
            return True
        with contextlib.suppress(Conflict):  # another writer ended it first
            self._lead.write(lambda connection: self._finish(connection, job, made, inputs, seen))
        return True

    def _finish(self, connection: Connection, job: Job, made: Made, inputs: Mapping[str, str], seen: Observation) -> None:
        now = self._platform.clock.now()
        artifacts.hold(connection, made.outputs.values(), job.organisation, at=now)
        issued = sign(connection, self._platform, job, made, inputs=inputs, now=now)
        result = {"outputs": dict(made.outputs), "metrics": dict(made.metrics), "facts": dict(made.facts), "statements": issued}
        self._move(connection, job, State.DONE, reason=why(job), result=result, seen=seen)

    def _move(
        self, connection: Connection, job: Job, to: State, *, actor: str = SYSTEM, seen: Observation | None = None, **values: Any
    ) -> None:
        """Move a job; `seen` is what its engine told of an attempt that ended with this, which is metered in the same transaction."""
        now = self._platform.clock.now()
        if seen is not None and to in ENDS:
            values["usage"] = asdict(seen.usage)
        jobs.move(connection, job, to, at=now, actor=actor, **values)
        if seen is not None:
            metering.meter(connection, self._platform, job, seen, to, actor=actor, at=now)

    def change(self, job: Job, to: State, **values: Any) -> bool:
        """Move a job in a transaction of its own, and tell whether it was still as it was read."""
        try:
            self._lead.write(lambda connection: self._move(connection, job, to, **values))
        except Conflict:
            return False
        return True


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


def why(job: Job) -> str:
    """Return why a job was started as it was, whatever has been said of its staging or storing since."""
    return str((job.decision or {}).get("why") or job.reason)


def as_json(error: HeadwaterError) -> dict[str, str]:
    return {"code": error.code, "message": str(error)}
