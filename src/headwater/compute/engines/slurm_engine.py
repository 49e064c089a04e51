"""The engine of a Slurm cluster: each attempt is a batch job, or an element of an array, whose script is the runner of one machine.

The attempt's folder lies on a file system that the nodes share, at the same path as here. The runner in the job lays
down `exit.json` as everywhere; Slurm's own state is asked for what a runner cannot tell: that its job never began, was
preempted, ran out of Slurm's time, or that its node is gone. The dispatcher decides about trying again, so Slurm is told
not to requeue. Short attempts of an array share its elements (see `slurm_turns.py`), so what runs an attempt is asked of `Places`.

Submitting once: the folder says what was intended before Slurm hears of it, and the job's name holds the attempt's key, or
its array's; a server that died in between finds the job by its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from headwater.compute import checkpoints
from headwater.compute.engines import attempt, slurm_arrays, slurm_turns, slurm_users
from headwater.compute.engines.doorbell import Doorbell
from headwater.compute.engines.local import GRACE_S, job_environment, step_command
from headwater.compute.engines.slurm_bills import Bills
from headwater.compute.engines.slurm_client import MOST_ELEMENTS, SlurmClient, SlurmJob, Submission
from headwater.compute.engines.slurm_endings import ACTIVE, ENDINGS, ending, hopeless
from headwater.compute.engines.slurm_places import Array, Places
from headwater.compute.engines.slurm_users import Users
from headwater.compute.engines.slurm_view import FORGOTTEN, View
from headwater.compute.work import Capacity, Observation, Phase, Work
from headwater.core.errors import Conflict, HeadwaterError, Unavailable
from headwater.core.store import Store

START = Path(__file__).with_name("slurm_start.py")
RUNNER_MIB = 64
"""Memory of the runner itself, asked for beside the job's own."""
SETTLE_S = 10.0
"""How long after Slurm's end of a job its `exit.json` may take to be seen here."""
PATIENCE_S = 60.0
RETRY_S = 1.0
STUCK_S = 60.0
NARROW = "JobArrayTaskLimit"
"""Slurm's reason for an element that waits only because enough others of its array run."""

log = structlog.get_logger("headwater.compute")


class SlurmEngine:
    """Runs attempts as batch jobs of a Slurm. Safe for several threads, and after a crash of the server."""

    def __init__(
        self,
        *,
        root: Path,
        store: Store,
        client: SlurmClient,
        name: str = "slurm",
        partition: str = "",
        account: str = "",
        users: Users | None = None,
        accounting: bool = False,
        python: str = "",
        stuck_s: float = STUCK_S,
    ) -> None:
        """Open the engine on a folder that the nodes share, and ask what there is. Raises Unavailable where Slurm does not answer.

        With `users` each job is its person's own in Slurm; with `accounting` what it used is Slurm's figure. `python` is the
        interpreter of the nodes where it is not this one's path. A job that waits for what never comes is ended after `stuck_s`.
        """
        self.name = name
        self._users = users or Users({})
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()
        self._store = store
        self._client = client
        self._partition = partition
        self._account = account
        self._prefix = f"hw-{hashlib.sha256(str(self._root).encode()).hexdigest()[:8]}-"
        self._bell = Doorbell(self._root)
        if self._users:
            self._root.chmod(0o711)
            self._bell.path.chmod(0o622)
        self._bills = Bills(client) if accounting else None
        self._share_s = 0.0 if accounting else slurm_turns.SHARE_S
        self._python = python or sys.executable
        self._stuck_s = stuck_s
        self._stuck_since_s: dict[str, float] = {}
        self._silent_since_s: dict[str, float] = {}
        self._places = Places(self._root)
        self._ended_s: dict[str, float] = {}
        self._view = View(client, partition=partition, engine=name)

    def capacity(self) -> Capacity:
        """Return what the nodes that are up have in all, as last known while the controller does not answer."""
        return self._view.capacity()

    def silent_s(self) -> float:
        """Return for how many seconds Slurm has answered nothing."""
        return self._view.silence.lasts_s()

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def checkpoint_root(self) -> Path:
        """Return the folder, on the file system of the nodes, that holds a folder for each job's checkpoints."""
        root = self._root / checkpoints.ELSEWHERE
        attempt.make(root)
        if self._users:
            root.chmod(0o711)
        return root

    def submit(self, work: Work) -> None:
        """Hand an attempt to Slurm, once: a second call for its key does nothing.

        Raises BadInput where there is nothing to run or Slurm refuses, Unavailable where the disk or the controller does.
        """
        for error in self.submit_all([work]).values():
            raise error

    def submit_all(self, works: Sequence[Work]) -> Mapping[str, HeadwaterError]:
        """Hand attempts to Slurm, each once, those that ask for the same as one array; return by key why one could not be.

        Raises BadInput for a key that is no plain name.
        """
        folders = {work.key: self.folder(work.key) for work in works}
        failed: dict[str, HeadwaterError] = {}
        alike: dict[Submission, list[str]] = defaultdict(list)
        flush = len(works) == 1  # of many, what the disk loses with this machine is found lost, and tried again
        with self._submitting():
            for work in works:
                try:
                    if (asked := self._laid_out(folders[work.key], work, flush=flush)) is not None:
                        alike[asked].append(work.key)
                except HeadwaterError as error:
                    failed[work.key] = error
            for asked, keys in alike.items():
                for first in range(0, len(keys), MOST_ELEMENTS):
                    part = keys[first : first + MOST_ELEMENTS]
                    try:
                        self._hand_in(asked, part)
                    except HeadwaterError as error:
                        failed |= dict.fromkeys(part, error)
        return failed

    @contextlib.contextmanager
    def _submitting(self) -> Iterator[None]:
        """Hold the right to submit, among all threads and servers on this folder."""
        with (self._root / ".submitting").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _laid_out(self, folder: Path, work: Work, *, flush: bool) -> Submission | None:
        """Lay an attempt out and return what to ask for, None where it was submitted before."""
        argv = work.argv or (self._python, *step_command(work, folder)[1:])
        asked = self._asked(work)
        attempt.make(folder)
        if slurm_arrays.was_submitted(folder) or self._found_again(folder):
            return None
        try:
            attempt.lay_out(folder, work, self._store, flush=flush)
            attempt.write_json(folder / "work.json", self._told(folder, work, argv, dict(asked.gres)), flush=flush)
            if asked.user:
                slurm_users.give(folder, asked.user)
                if kept := work.environment.get(checkpoints.VARIABLE):
                    slurm_users.hand_over(Path(kept), asked.user)
        except HeadwaterError:
            attempt.remove(folder)
            raise
        except OSError as error:
            attempt.remove(folder)
            raise attempt.cannot_write(error, folder) from error
        return asked

    def _told(self, folder: Path, work: Work, argv: Sequence[str], gres: Mapping[str, int]) -> dict[str, object]:
        return {
            "argv": list(argv),
            "environment": job_environment(work, folder),
            "gres": gres,
            "wall_s": work.resources.wall_s,
            "cpu_s": work.resources.cpu_s,
            "memory_gib": work.resources.memory_gib,
            "grace_s": GRACE_S,
            "bell": str(self._bell.path),
        }

    def _asked(self, work: Work) -> Submission:
        """Return what an attempt asks of Slurm; a chip is the type in Slurm's `name:type`. Equal for attempts that can be one array."""
        names = self._view.gres_names()
        return Submission(
            cpus=max(1, math.ceil(work.resources.cpus)),
            memory_mib=math.ceil(work.resources.memory_gib * 1024) + RUNNER_MIB,
            minutes=math.ceil((work.resources.wall_s + GRACE_S) / 60) + 1,
            gres=tuple(sorted((names.get(chip, chip), count) for chip, count in work.resources.accelerators.items() if count)),
            partition=self._partition,
            account=self._account,
            user=self._users.account(work),
        )

    def _hand_in(self, asked: Submission, keys: Sequence[str]) -> None:
        """Submit what is laid out; where it is not known whether Slurm took it, ask for it by name before trying again."""
        folders = [self._root / key for key in keys]
        try:
            if len(keys) == 1:
                name, folder, elements = self._prefix + keys[0], folders[0], 0
            else:
                name, folder = slurm_arrays.make(self._root, self._prefix, keys)
                elements = len(keys)
                if asked.user:
                    slurm_users.give(folder, asked.user)
            for index, own in enumerate(folders):
                place = {"name": name, "index": index if elements else None}
                attempt.write_json(own / slurm_arrays.INTENT, place, flush=not elements)
        except OSError as error:
            raise attempt.cannot_write(error, folders[0]) from error
        at_once = slurm_turns.FIRST if elements > slurm_turns.FIRST and self._share_s else 0
        script = self._script(folder, is_array=elements > 0)
        named = replace(asked, name=name, script=script, folder=folder, log=folder / "slurm.log", elements=elements, at_once=at_once)
        last_try_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                if not self._found_again(folders[0]):
                    slurm_arrays.note_number(folder, number := self._client.submit(named))
                    self._places.submitted(name, number, keys if elements else ())
                self._view.look_again()
                return
            except Unavailable:
                if time.monotonic() > last_try_s:
                    raise
                time.sleep(RETRY_S)
            except HeadwaterError:
                for own in folders:
                    attempt.remove(own)
                raise

    def _script(self, folder: Path, *, is_array: bool) -> str:
        """Return what Slurm runs. An element whose attempt another has taken ends at once; with accounting each has its own alone."""
        taken = f"[ -h '{folder}/{slurm_turns.TAKEN}'\"$SLURM_ARRAY_TASK_ID\" ] && exit 0\n" if is_array else ""
        return f"#!/bin/sh\n{taken}exec '{self._python}' -I -S '{START}' '{folder}' {self._share_s}\n"

    def _found_again(self, folder: Path) -> bool:
        """Take up a job that Slurm was given before this server could note its number; tell whether there is one."""
        place = slurm_arrays.place_of(folder)
        if place is None:
            return False
        found = next((job for job in self._client.jobs() if job.name == place.name), None)
        if found is None:
            return False
        slurm_arrays.note_number(place.folder(folder), found.id.partition("_")[0])
        return True

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is. While the controller does not answer, those it has count as running."""
        seen = {key: self._observe(key) for key in keys}
        for key in [key for key, one in seen.items() if one.phase is not Phase.RUNNING]:
            self._places.settle(key)
        for array in self._places.settled():
            if self._give_back(array.name, array.number):
                self._places.done(array)
        for array in self._places.slow():
            self._widen(array)
        return seen if self._bills is None else self._bills.settle(seen, {key: self._job_id(key) for key in seen})

    def _give_back(self, name: str, number: str) -> bool:
        """Have Slurm cancel the elements of an array that wait while others have begun their attempts, and tell whether it heard."""
        for elements in slurm_arrays.idle(self._root, name, number):
            job = self._view.job(elements.replace("[", "").partition("-")[0], name)
            if job is None or not self._cancel(replace(job, id=elements)):
                return False
        return True

    def _widen(self, array: Array) -> None:
        """Have Slurm run as many elements of an array as it can: the first showed that its attempts are not short."""
        job = self._view.job(f"{array.number}_{array.count - 1}", array.name)
        if job is None or job.reason != NARROW:
            return
        log.info("slurm.widened", array=array.number)
        try:
            self._client.widen(array.number, user=job.user if self._users else "")
        except HeadwaterError as error:
            log.warning("slurm.unavailable", engine=self.name, error=str(error))

    def _observe(self, key: str) -> Observation:
        folder = self.folder(key)
        ended = attempt.observed(folder)
        if ended is not None and ended.phase is not Phase.LOST:
            return ended
        known = self._places.job_of(key)
        if known is None:
            return self._unnoted(folder) if (folder / "runner.json").exists() else ended or attempt.UNKNOWN
        job = self._view.job(*known)
        if job is None:
            return ended or attempt.RUNNING
        if job.state in ACTIVE and ended is not None and job.preempted:
            self._cancel(job)  # Slurm would start it again, and its runner would give way: trying again is the dispatcher's
        elif job.state in ACTIVE:
            return self._waits_in_vain(key, job) or self._press(folder, job)
        return self._ended(key, job, ended)

    def _unnoted(self, folder: Path) -> Observation:
        """Return where an attempt is that has begun, of whose job no number was noted: a server may have died before it could."""
        try:
            return attempt.RUNNING if self._found_again(folder) else attempt.LOST
        except Unavailable as error:
            log.warning("slurm.unavailable", engine=self.name, error=str(error))
            return attempt.RUNNING

    def _waits_in_vain(self, key: str, job: SlurmJob) -> Observation | None:
        """End a job that Slurm will never start, and return that; None for any other.

        One that Slurm calls running and whose runner does not begin is cancelled, and lost once Slurm has done so: its node took it and
        died before it launched it, and Slurm may not notice for as long as the job may run.
        """
        seen, now_s = hopeless(job), time.monotonic()
        if job.state != "RUNNING" or (self.folder(key) / "runner.json").exists():
            self._silent_since_s.pop(key, None)
        elif now_s - self._silent_since_s.setdefault(key, now_s) > 2 * self._stuck_s and self._places.take(key, job.id):
            self._cancel(job)
        if seen is None:
            self._stuck_since_s.pop(key, None)
            return None
        since_s = self._stuck_since_s.setdefault(key, time.monotonic())
        if seen.phase is not Phase.LOST and time.monotonic() - since_s < self._stuck_s:
            return None
        return seen if self._places.take(key, job.id) and self._cancel(job) else None

    def _ended(self, key: str, job: SlurmJob, told: Observation | None) -> Observation:
        """Return what became of a job that Slurm says has ended, or has forgotten: then its accounting is asked."""
        if job.state == FORGOTTEN and self._bills is not None:
            job = replace(job, state=self._bills.state(job.id) or job.state)
        folder = self.folder(key)
        began, asked = (folder / "runner.json").exists(), (folder / "cancel").exists()
        if job.state in (FORGOTTEN, "COMPLETED") and asked and not began:
            # Slurm keeps no record of an element that was cancelled while it waited; one that was started all the same has run nothing.
            job = replace(job, state="CANCELLED")
        waited_s = time.monotonic() - self._ended_s.setdefault(key, time.monotonic())
        if told is None and ((waited_s < SETTLE_S and job.state not in ENDINGS) or not self._places.take(key, job.id)):
            return attempt.RUNNING
        seen = ending(job, began=began, asked=asked, log=slurm_arrays.slurm_log(folder))
        return seen if told is None else replace(seen, exit_code=told.exit_code, usage=told.usage)

    def _press(self, folder: Path, job: SlurmJob) -> Observation:
        """Have Slurm cancel a job that was asked to end and has not begun, or does not end by itself; it is running till then."""
        with contextlib.suppress(FileNotFoundError):
            overdue = time.time() - (folder / "cancel").stat().st_mtime > 2 * GRACE_S
            if (overdue or job.state == "PENDING") and self._places.take(folder.name, job.id if overdue else ""):
                self._cancel(job)
        return attempt.RUNNING

    def _job_id(self, key: str) -> str | None:
        """Return Slurm's id of an attempt, None where it has none yet."""
        known = self._places.job_of(key)
        return None if known is None else known[0]

    def cancel(self, key: str) -> None:
        """Ask the attempt to end: its runner sees the file; one that has not begun is cancelled in Slurm."""
        folder = self.folder(key)
        if not attempt.ask_to_end(folder):
            return
        self._view.look_again()
        known = self._places.job_of(key)
        if known is not None and (job := self._view.job(*known)) is not None and job.state in ACTIVE:
            self._press(folder, job)

    def _cancel(self, job: SlurmJob) -> bool:
        """Have Slurm cancel a job, and tell whether it heard."""
        try:
            self._client.cancel(job.id, user=job.user if self._users else "")
        except HeadwaterError as error:
            log.warning("slurm.unavailable", engine=self.name, error=str(error))
            return False
        return True

    def forget(self, key: str) -> None:
        """Remove an ended attempt's files but its log and the record that it was made. Raises Conflict while it runs."""
        folder = self.folder(key)
        seen = self.poll([key])[key]
        if seen.phase is Phase.RUNNING:
            raise Conflict(f"The attempt '{key}' is still running.", "Cancel it first.")
        if self._bills is not None and (number := self._job_id(key)) is not None:
            self._bills.forget(number)
        self._ended_s.pop(key, None)
        self._places.forget(key)
        self._stuck_since_s.pop(key, None)
        self._silent_since_s.pop(key, None)
        if seen.phase is Phase.UNKNOWN:
            attempt.remove(folder)
            return
        if seen != attempt.observed(folder):
            attempt.write_exit(folder, seen)
        attempt.clear(folder, keep=attempt.KEPT)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """Cancel every job of this platform that runs in Slurm and is not known, and return their keys."""
        try:
            jobs = [job for job in self._client.jobs() if job.name.startswith(self._prefix)]
        except HeadwaterError as error:
            log.warning("slurm.unavailable", engine=self.name, error=str(error))
            return []
        active = [job for job in jobs if job.state in ACTIVE]
        arrays = {job.name: job.id.partition("_")[0] for job in active if "_" in job.id}
        held = {name: slurm_arrays.holdings(self._root, name, number) for name, number in arrays.items()}
        ended = set()
        for job in active:
            own = job.name.removeprefix(self._prefix)
            keys = self._not_ended(slurm_arrays.had_by(job.id, held[job.name])) if "_" in job.id else {own}
            for key in keys - set(known):
                self.cancel(key)
                if self._places.take(key):  # one that has begun in an array ends by its runner: the element may be another's by now
                    self._cancel(job)
                ended.add(key)
            if job.state == "PENDING" and held.get(job.name, {}).get(job.id) and not keys:
                self._cancel(job)  # Slurm was made to run it again, and there is nothing left to run
        for name, number in arrays.items():
            self._give_back(name, number)
        slurm_arrays.clear(self._root, {job.name for job in active})
        return sorted(ended)

    def _not_ended(self, keys: Collection[str]) -> set[str]:
        return {key for key in keys if not (self._root / key / "exit.json").exists()}

    def wait(self, timeout_s: float) -> None:
        """Return when a runner on this machine has rung, or after the time."""
        self._bell.wait(timeout_s)

    def close(self) -> None:
        """Let go of the controller; jobs go on."""
        self._bell.close()
        self._client.close()
