"""The engine of a Slurm cluster: each attempt is one batch job, whose script is the same runner as on one machine.

The attempt's folder lies on a file system that the nodes share, at the same path as here. The runner in the job lays
down `exit.json` as everywhere; Slurm's own state is asked for what a runner cannot tell: that its job never began, was
preempted, ran out of Slurm's time, or that its node is gone. The dispatcher decides about trying again, so Slurm is told
not to requeue.

Submitting once: the folder says what was intended before Slurm hears of it, and the job's name holds the attempt's key;
a server that died in between finds the job by its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from headwater.compute.engines import attempt
from headwater.compute.engines.doorbell import Doorbell
from headwater.compute.engines.local import GRACE_S, job_environment, step_command
from headwater.compute.engines.slurm_client import CommandClient, RestClient, SlurmClient, SlurmJob, SlurmNode, Submission
from headwater.compute.work import Capacity, EngineFactory, Observation, Phase, Reason, Work
from headwater.core.errors import Conflict, HeadwaterError, Unavailable
from headwater.core.platform import Platform
from headwater.core.settings import Settings
from headwater.core.store import Store

START = Path(__file__).with_name("slurm_start.py")
RUNNER_MIB = 64
"""Memory of the runner itself, asked for beside the job's own."""
LIST_S = 0.2
CAPACITY_S = 5.0
SETTLE_S = 10.0
"""How long after Slurm's end of a job its `exit.json` may take to be seen here."""
PATIENCE_S = 60.0
RETRY_S = 1.0

ACTIVE = frozenset({
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "REQUEUED",
})  # fmt: skip
ENDINGS: Mapping[str, tuple[Phase, Reason, str]] = {
    "TIMEOUT": (Phase.FAILED, Reason.OUT_OF_TIME, "Slurm ended the job at its time limit."),
    "DEADLINE": (Phase.FAILED, Reason.OUT_OF_TIME, "Slurm ended the job at its deadline."),
    "OUT_OF_MEMORY": (Phase.FAILED, Reason.OUT_OF_MEMORY, "Slurm ended the job for its memory."),
    "CANCELLED": (Phase.FAILED, Reason.CANCELLED, "The job was cancelled in Slurm."),
    "PREEMPTED": (Phase.LOST, Reason.PREEMPTED, "Slurm stopped the job for one with precedence."),
    "NODE_FAIL": (Phase.LOST, Reason.NODE_LOST, "Slurm lost the job's node."),
    "BOOT_FAIL": (Phase.LOST, Reason.NODE_LOST, "The job's node did not start."),
}
"""What Slurm's states mean where the runner left no `exit.json`, or says only that it was told to go."""

log = structlog.get_logger("headwater.compute")


class SlurmEngine:
    """Runs attempts as batch jobs of a Slurm. Safe for several threads, and after a crash of the server."""

    name = "slurm"

    def __init__(self, *, root: Path, store: Store, client: SlurmClient, partition: str = "", account: str = "") -> None:
        """Open the engine on a folder that the nodes share, and ask what there is. Raises Unavailable where Slurm does not answer."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()
        self._store = store
        self._client = client
        self._partition = partition
        self._account = account
        self._prefix = f"hw-{hashlib.sha256(str(self._root).encode()).hexdigest()[:8]}-"
        self._bell = Doorbell(self._root)
        self._seen: dict[int, SlurmJob] = {}
        self._seen_s = -math.inf
        self._ended_s: dict[str, float] = {}
        self._nodes = self._client.nodes()
        self._nodes_s = time.monotonic()

    def capacity(self) -> Capacity:
        """Return what the nodes that are up have in all, as last known while the controller does not answer."""
        if time.monotonic() - self._nodes_s > CAPACITY_S:
            self._nodes_s = time.monotonic()
            try:
                self._nodes = self._client.nodes()
            except HeadwaterError as error:
                log.warning("slurm.unavailable", error=str(error))
        return capacity_of(self._nodes, self._partition)

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def submit(self, work: Work) -> None:
        """Hand an attempt to Slurm, once: a second call for its key does nothing.

        Raises BadInput where there is nothing to run or Slurm refuses, Unavailable where the disk or the controller does.
        """
        folder = self.folder(work.key)
        argv = work.argv or step_command(work, folder)
        attempt.make(folder)
        with _held(folder):
            if _was_submitted(folder) or self._found_again(folder):
                return
            try:
                attempt.lay_out(folder, work, self._store)
                self._write_work(folder, work, argv)
            except HeadwaterError:
                attempt.remove(folder)
                raise
            except OSError as error:
                attempt.remove(folder)
                raise attempt.cannot_write(error, folder) from error
            self._hand_in(folder, work)

    def _write_work(self, folder: Path, work: Work, argv: Sequence[str]) -> None:
        told = {
            "argv": list(argv),
            "environment": job_environment(work, folder),
            "gres": self._asked(work),
            "wall_s": work.resources.wall_s,
            "cpu_s": work.resources.cpu_s,
            "memory_gib": work.resources.memory_gib,
            "grace_s": GRACE_S,
            "bell": str(self._bell.path),
        }
        attempt.write_json(folder / "work.json", told)
        attempt.write_json(folder / "intent.json", {"name": self._prefix + work.key})

    def _asked(self, work: Work) -> dict[str, int]:
        """Return the accelerators asked for under Slurm's names: a chip is the type in `name:type`."""
        names = {name.rpartition(":")[2]: name for node in self._nodes for name in node.gres}
        return {names.get(chip, chip): count for chip, count in work.resources.accelerators.items() if count}

    def _hand_in(self, folder: Path, work: Work) -> None:
        """Submit what is laid out; where it is not known whether Slurm took it, ask for it by name before trying again."""
        asked = Submission(
            name=self._prefix + work.key,
            script=f"#!/bin/sh\nexec '{sys.executable}' -I -S '{START}' '{folder}'\n",
            folder=folder,
            log=folder / "slurm.log",
            cpus=max(1, math.ceil(work.resources.cpus)),
            memory_mib=math.ceil(work.resources.memory_gib * 1024) + RUNNER_MIB,
            minutes=math.ceil((work.resources.wall_s + GRACE_S) / 60) + 1,
            gres=self._asked(work),
            partition=self._partition,
            account=self._account,
        )
        last_try_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                if not self._found_again(folder):
                    attempt.write_json(folder / "slurm.json", {"id": self._client.submit(asked)})
                return
            except Unavailable:
                if time.monotonic() > last_try_s:
                    raise
                time.sleep(RETRY_S)
            except HeadwaterError:
                attempt.remove(folder)
                raise

    def _found_again(self, folder: Path) -> bool:
        """Take up a job that Slurm was given before this server could note its number; tell whether there is one."""
        if not (folder / "intent.json").exists():
            return False
        found = next((job for job in self._client.jobs() if job.name == self._prefix + folder.name), None)
        if found is None:
            return False
        attempt.write_json(folder / "slurm.json", {"id": found.id})
        return True

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is. While the controller does not answer, those it has count as running."""
        return {key: self._observe(key) for key in keys}

    def _observe(self, key: str) -> Observation:
        folder = self.folder(key)
        ended = attempt.observed(folder)
        if ended is not None and ended.phase is not Phase.LOST:
            return ended
        number = _number(folder)
        if number is None:
            return attempt.LOST if (folder / "runner.json").exists() else ended or attempt.UNKNOWN
        job = self._job(number, key)
        if job is None:
            return ended or attempt.RUNNING
        if job.state in ACTIVE and ended is not None and job.preempted:
            self._cancel(job.id)  # Slurm would start it again, and its runner would give way: trying again is the dispatcher's
        elif job.state in ACTIVE:
            self._press(folder, job)
            return attempt.RUNNING
        return self._ended(key, job, ended)

    def _ended(self, key: str, job: SlurmJob, told: Observation | None) -> Observation:
        """Return what became of a job that Slurm says has ended, or has forgotten."""
        waited_s = time.monotonic() - self._ended_s.setdefault(key, time.monotonic())
        if told is None and waited_s < SETTLE_S and job.state not in ENDINGS:
            return attempt.RUNNING
        unknown = Phase.LOST, Reason.NODE_LOST, f"Slurm's state is {job.state}: {_slurm_log(self.folder(key))}"
        state = "PREEMPTED" if job.preempted else job.state  # a runner that was told to go ends well: Slurm calls that completed
        phase, reason, message = ENDINGS.get(state, unknown)
        seen = Observation(phase=phase, reason=reason, message=message)
        return seen if told is None else replace(seen, exit_code=told.exit_code, usage=told.usage)

    def _press(self, folder: Path, job: SlurmJob) -> None:
        """Have Slurm cancel a job that was asked to end and has not begun, or does not end by itself."""
        try:
            asked_s = (folder / "cancel").stat().st_mtime
        except FileNotFoundError:
            return
        if job.state == "PENDING" or time.time() - asked_s > 2 * GRACE_S:
            self._cancel(job.id)

    def _job(self, number: int, key: str) -> SlurmJob | None:
        """Return an attempt's job as Slurm tells it, FORGOTTEN where it does not know it; None while the controller does not answer.

        A controller that was killed before it had saved its state forgets its last jobs, and gives their numbers to others.
        """
        if time.monotonic() - self._seen_s > LIST_S:
            try:
                self._seen = {job.id: job for job in self._client.jobs()}
                self._seen_s = time.monotonic()
            except HeadwaterError as error:
                log.warning("slurm.unavailable", error=str(error))
                return None
        found = self._seen.get(number)
        return found if found is not None and found.name == self._prefix + key else SlurmJob(id=number, name="", state="FORGOTTEN")

    def cancel(self, key: str) -> None:
        """Ask the attempt to end: its runner sees the file; one that has not begun is cancelled in Slurm."""
        folder = self.folder(key)
        if not attempt.ask_to_end(folder):
            return
        number = _number(folder)
        self._seen_s = -math.inf
        if number is not None and (job := self._job(number, key)) is not None and job.state in ACTIVE:
            self._press(folder, job)

    def _cancel(self, number: int) -> None:
        try:
            self._client.cancel(number)
        except HeadwaterError as error:
            log.warning("slurm.unavailable", error=str(error))

    def forget(self, key: str) -> None:
        """Remove an ended attempt's files but its log and the record that it was made. Raises Conflict while it runs."""
        folder = self.folder(key)
        seen = self._observe(key)
        if seen.phase is Phase.RUNNING:
            raise Conflict(f"The attempt '{key}' is still running.", "Cancel it first.")
        self._ended_s.pop(key, None)
        if seen.phase is Phase.UNKNOWN:
            attempt.remove(folder)
            return
        if not (folder / "exit.json").exists():
            attempt.write_exit(folder, seen)
        attempt.clear(folder, keep=attempt.KEPT)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """Cancel every job of this platform that runs in Slurm and is not known, and return their keys."""
        try:
            jobs = self._client.jobs()
        except HeadwaterError as error:
            log.warning("slurm.unavailable", error=str(error))
            return []
        ended = []
        for job in jobs:
            key = job.name.removeprefix(self._prefix)
            if job.name != key and job.state in ACTIVE and key not in known:
                self.cancel(key)
                self._cancel(job.id)
                ended.append(key)
        return sorted(ended)

    def wait(self, timeout_s: float) -> None:
        """Return when a runner on this machine has rung, or after the time."""
        self._bell.wait(timeout_s)

    def close(self) -> None:
        """Let go of the controller; jobs go on."""
        self._bell.close()
        self._client.close()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the right to submit an attempt, among all threads and servers on this folder."""
    with (folder.parent / ".submitting").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _was_submitted(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("slurm.json", "runner.json", "exit.json"))


def _number(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "slurm.json").read_text("utf-8"))["id"])
    except (OSError, ValueError, KeyError):
        return None


def _slurm_log(folder: Path) -> str:
    try:
        return (folder / "slurm.log").read_text("utf-8", errors="replace").strip()[-500:] or "it printed nothing"
    except OSError:
        return "it left no log"


def capacity_of(nodes: Sequence[SlurmNode], partition: str) -> Capacity:
    """Return the sum over the nodes that are up, of one partition where it is named; accelerators by the type in Slurm's `name:type`."""
    usable = [node for node in nodes if node.up and (not partition or partition in node.partitions)]
    accelerators: dict[str, int] = {}
    for node in usable:
        for name, count in node.gres.items():
            chip = name.rpartition(":")[2]
            accelerators[chip] = accelerators.get(chip, 0) + count
    return Capacity(cpus=sum(n.cpus for n in usable), memory_gib=sum(n.memory_gib for n in usable), accelerators=accelerators)


def client_of(settings: Settings) -> SlurmClient:
    """Return a client as the settings say: slurmrestd where it has an address, else Slurm's commands. Raises Unavailable."""
    if settings.slurm_url:
        token = Path(settings.slurm_token_file) if settings.slurm_token_file else None
        return RestClient(settings.slurm_url, user=settings.slurm_user, token_file=token)
    return CommandClient(login=settings.slurm_login)


def _open(platform: Platform) -> SlurmEngine:
    settings = platform.settings
    return SlurmEngine(
        root=Path(settings.slurm_folder) if settings.slurm_folder else settings.data_folder / "slurm-jobs",
        store=platform.store,
        client=client_of(settings),
        partition=settings.slurm_partition,
        account=settings.slurm_account,
    )


SLURM = EngineFactory(name="slurm", open=_open, wanted=lambda settings: settings.slurm)
