"""The engine of a Ray cluster: each attempt is one job of Ray's Jobs API, whose entry point is the same runner as on one machine.

The attempt's folder lies on a file system that the nodes share, at the same path as here. The runner in the job lays down
`exit.json` as everywhere; Ray's own state is asked for what a runner cannot tell: that its job never began, was stopped, or that
its node is gone. The dispatcher decides about trying again. The id of the job holds the attempt's key, and Ray takes each once.

Accelerators are Ray's custom resources, named by chip. More of a chip than any node has are a gang (see `ray_gang.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import shlex
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import structlog
from pydantic import Field

from headwater.compute.engines import attempt
from headwater.compute.engines.doorbell import Doorbell
from headwater.compute.engines.local import GRACE_S, job_environment, step_command
from headwater.compute.engines.ray_client import GIB, RayClient, RayJob, RayNode, Submission
from headwater.compute.engines.ray_placing import Gang, capacity_of, gang_for, most_on_a_node
from headwater.compute.engines.ray_start import LOST
from headwater.compute.engines.silence import Silence
from headwater.compute.work import Capacity, EngineFactory, Observation, Phase, Reason, SiteOptions, Work
from headwater.core.errors import Conflict, HeadwaterError, Unavailable
from headwater.core.platform import Platform
from headwater.core.store import Store

START = Path(__file__).with_name("ray_start.py")
GANG = "headwater.compute.engines.ray_gang"
LIST_S = 0.3
CAPACITY_S = 5.0
SETTLE_S = 10.0
"""How long after Ray's end of a job its `exit.json` may take to be seen here: what a killed runner gets to end the job, and more."""
KEPT_S = 5.0
"""How long a forgotten job is left in Ray: one that is deleted sooner comes back, since Ray still watches it for a second."""
MOST_DELETED = 20
PATIENCE_S = 60.0
RETRY_S = 1.0

ACTIVE = frozenset({"PENDING", "RUNNING"})
NOT_ITS_FAULT = frozenset({
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT", "JOB_SUPERVISOR_ACTOR_START_FAILURE", "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE", "JOB_SUPERVISOR_ACTOR_DIED",
})  # fmt: skip
"""Ray's errors that end a job from outside: the attempt is lost."""
REASONS: Mapping[str, Reason] = {
    "node was preempted:": Reason.PREEMPTED,
    "OutOfMemoryError": Reason.OUT_OF_MEMORY,
    "running low on memory": Reason.OUT_OF_MEMORY,
}
"""Words by which Ray tells why it lost a job. It names preemption and memory among what may have been, too, in other words."""

log = structlog.get_logger("headwater.compute")


class RayEngine:
    """Runs attempts as jobs of a Ray cluster. Safe for several threads, and after a crash of the server."""

    def __init__(self, *, root: Path, store: Store, client: RayClient, name: str = "ray") -> None:
        """Open the engine on a folder that the nodes share, and ask what there is. Raises Unavailable where Ray does not answer."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = name
        self._root = root.resolve()
        self._store = store
        self._client = client
        self._prefix = f"hw-{hashlib.sha256(str(self._root).encode()).hexdigest()[:8]}-"
        self._silence = Silence()
        self._nodes = self._client.nodes()
        self._nodes_s = time.monotonic()
        self._bell = Doorbell(self._root)
        self._seen: dict[str, RayJob] = {}
        self._seen_s = -math.inf
        self._ended_s: dict[str, float] = {}
        self._forgotten: dict[str, float] = {}

    def capacity(self) -> Capacity:
        """Return what the nodes that are up have in all, as last known while Ray does not answer."""
        return capacity_of(self._up())

    def _up(self) -> Sequence[RayNode]:
        if time.monotonic() - self._nodes_s > CAPACITY_S:
            self._nodes_s = time.monotonic()
            try:
                with self._silence.asking():
                    self._nodes = self._client.nodes()
            except HeadwaterError as error:
                log.warning("ray.unavailable", error=str(error))
        return self._nodes

    def silent_s(self) -> float:
        """Return for how many seconds Ray has answered nothing."""
        return self._silence.lasts_s()

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def submit(self, work: Work) -> None:
        """Hand an attempt to Ray, once: a second call for its key does nothing.

        Raises BadInput where there is nothing to run or no node can ever hold it, Unavailable where the disk or Ray refuses.
        """
        folder = self.folder(work.key)
        argv = work.argv or step_command(work, folder)
        attempt.make(folder)
        with _held(folder):
            if _was_submitted(folder) or self._found_again(folder):
                return
            try:
                gang = gang_for(work.resources, self._up())
                attempt.lay_out(folder, work, self._store)
                self._write_work(folder, work, argv, gang)
            except HeadwaterError:
                attempt.remove(folder)
                raise
            except OSError as error:
                attempt.remove(folder)
                raise attempt.cannot_write(error, folder) from error
            self._hand_in(folder, self._submission(folder, work, gang))

    def _write_work(self, folder: Path, work: Work, argv: Sequence[str], gang: Gang | None) -> None:
        asked = _accelerators(work)
        told = {
            "argv": list(argv),
            "environment": job_environment(replace(work, devices={}), folder),
            "accelerators": asked if gang is None else {},
            "most": {chip: most_on_a_node(self._nodes, chip) for chip in asked},
            "gang": None if gang is None else asdict(gang) | {"name": self._prefix + work.key},
            "wall_s": work.resources.wall_s,
            "cpu_s": work.resources.cpu_s,
            "memory_gib": work.resources.memory_gib,
            "grace_s": GRACE_S,
            "bell": str(self._bell.path),
        }
        attempt.write_json(folder / "work.json", told)

    def _submission(self, folder: Path, work: Work, gang: Gang | None) -> Submission:
        """Return the job that runs an attempt: on one node, or the driver of its gang, for which Ray sets nothing aside."""
        name = self._prefix + work.key
        if gang is not None:
            return Submission(id=name, entrypoint="exec " + shlex.join([sys.executable, "-I", "-m", GANG, str(folder)]))
        return Submission(
            id=name,
            entrypoint="exec " + shlex.join([sys.executable, "-I", "-S", str(START), str(folder)]),
            cpus=work.resources.cpus,
            memory_bytes=math.ceil(work.resources.memory_gib * GIB),
            resources=_accelerators(work),
        )

    def _hand_in(self, folder: Path, asked: Submission) -> None:
        """Submit what is laid out. Ray takes an id once, so that trying again after no answer starts nothing twice."""
        last_try_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._client.submit(asked)
                attempt.write_json(folder / "ray.json", {"id": asked.id})
                self._seen_s = -math.inf
                return
            except Unavailable:
                if time.monotonic() > last_try_s:
                    raise
                time.sleep(RETRY_S)
            except HeadwaterError:
                attempt.remove(folder)
                raise

    def _found_again(self, folder: Path) -> bool:
        """Take up a job that Ray was given before this server could note it; tell whether there is one."""
        name = self._prefix + folder.name
        if not (folder / "work.json").exists() or self._client.job(name) is None:
            return False
        attempt.write_json(folder / "ray.json", {"id": name})
        return True

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is. While Ray does not answer, those it has count as running."""
        return {key: self._observe(key) for key in keys}

    def _observe(self, key: str) -> Observation:
        folder = self.folder(key)
        ended = attempt.observed(folder)
        if ended is not None and ended.phase is not Phase.LOST:
            return ended
        if not (folder / "ray.json").exists():
            return self._unnoted(folder) if (folder / "runner.json").exists() else ended or attempt.UNKNOWN
        job = self._job(key)
        if job is None:
            return ended or attempt.RUNNING
        if job.state in ACTIVE:
            self._ended_s.pop(key, None)
            self._press(folder, job)
            return attempt.RUNNING
        return self._ended(key, job, ended)

    def _unnoted(self, folder: Path) -> Observation:
        """Return where an attempt is that has begun and was not noted as handed in: a server may have died before it could."""
        try:
            return attempt.RUNNING if self._found_again(folder) else attempt.LOST
        except Unavailable as error:
            log.warning("ray.unavailable", engine=self.name, error=str(error))
            return attempt.RUNNING

    def _ended(self, key: str, job: RayJob, told: Observation | None) -> Observation:
        """Return what became of a job that Ray says has ended, or has forgotten."""
        began = (self.folder(key) / "runner.json").exists()
        waited_s = time.monotonic() - self._ended_s.setdefault(key, time.monotonic())
        if told is None and waited_s < SETTLE_S and (began or job.state in ("SUCCEEDED", "FORGOTTEN")):
            return attempt.RUNNING
        seen = ending_of(job)
        return seen if told is None else replace(seen, exit_code=told.exit_code, usage=told.usage)

    def _press(self, folder: Path, job: RayJob) -> None:
        """Have Ray stop a job that was asked to end and does not end by itself."""
        with contextlib.suppress(FileNotFoundError):
            if time.time() - (folder / "cancel").stat().st_mtime > 2 * GRACE_S:
                self._stop(job.id)

    def _job(self, key: str) -> RayJob | None:
        """Return a job as Ray tells it, FORGOTTEN in state where it does not know it; None while Ray does not answer."""
        if time.monotonic() - self._seen_s > LIST_S:
            try:
                with self._silence.asking():
                    self._seen = {job.id: job for job in self._client.jobs()}
                self._seen_s = time.monotonic()
                self._delete_forgotten()
            except HeadwaterError as error:
                log.warning("ray.unavailable", error=str(error))
                return None
        return self._seen.get(self._prefix + key, RayJob(id=self._prefix + key, state="FORGOTTEN"))

    def cancel(self, key: str) -> None:
        """Ask the attempt to end: its runner sees the file. One whose runner has not begun is over now, and never begins."""
        folder = self.folder(key)
        if attempt.ask_to_end(folder) and (folder / "ray.json").exists() and _ended_unbegun(folder):
            self._stop(self._prefix + key)

    def _stop(self, job: str) -> None:
        try:
            self._client.stop(job)
        except HeadwaterError as error:
            log.warning("ray.unavailable", error=str(error))

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
        self._forgotten[self._prefix + key] = time.monotonic()

    def _delete_forgotten(self) -> None:
        """Have Ray forget a few of the jobs that are over here too, so that its list stays short."""
        now_s = time.monotonic()
        self._forgotten = {
            name: now_s if job.state in ACTIVE else since_s
            for name, since_s in self._forgotten.items()
            if (job := self._seen.get(name)) is not None
        }
        for name in [name for name, since_s in self._forgotten.items() if now_s - since_s > KEPT_S][:MOST_DELETED]:
            self._client.delete(name)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """End every job of this platform that Ray has and that is not known, and return the keys of those."""
        try:
            jobs = self._client.jobs()
        except HeadwaterError as error:
            log.warning("ray.unavailable", error=str(error))
            return []
        ended = []
        for job in jobs:
            key = job.id.removeprefix(self._prefix)
            if job.id == key or key in known:
                continue
            self._forgotten[job.id] = time.monotonic()
            if job.state in ACTIVE:
                self.cancel(key)
                self._stop(job.id)
                ended.append(key)
        return sorted(ended)

    def wait(self, timeout_s: float) -> None:
        """Return when a runner on this machine has rung, or after the time."""
        self._bell.wait(timeout_s)

    def close(self) -> None:
        """Let go of Ray; jobs go on."""
        self._bell.close()
        self._client.close()


def ending_of(job: RayJob) -> Observation:
    """Return what Ray's end of a job means where the runner left no `exit.json`, or says only that it was told to go."""
    said = job.message.strip()[-500:] or "it said nothing"
    if job.state == "STOPPED":
        return Observation(phase=Phase.FAILED, reason=Reason.CANCELLED, message="The job was stopped in Ray.")
    if job.state != "FAILED":
        return Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, message=f"Ray's state is {job.state}: {said}")
    if job.error in NOT_ITS_FAULT or job.exit_code == LOST:
        reason = next((reason for words, reason in REASONS.items() if words in job.message), Reason.NODE_LOST)
        return Observation(phase=Phase.LOST, reason=reason, message=f"Ray lost the job: {said}", exit_code=job.exit_code)
    return Observation(phase=Phase.FAILED, reason=Reason.FAILED, message=f"Ray could not run the job: {said}", exit_code=job.exit_code)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the right to submit an attempt, among all threads and servers on this folder."""
    with (folder.parent / ".submitting").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _was_submitted(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("ray.json", "runner.json", "exit.json"))


def _ended_unbegun(folder: Path) -> bool:
    """Write down that an attempt was cancelled if its runner has not begun: it gives way to that. Tell whether it was so."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if (folder / "runner.json").exists() or (folder / "exit.json").exists():
            return False
        attempt.write_exit(folder, Observation(phase=Phase.FAILED, reason=Reason.CANCELLED, message="The job was cancelled."))
    return True


def _accelerators(work: Work) -> dict[str, int]:
    return {chip: count for chip, count in work.resources.accelerators.items() if count > 0}


class RayOptions(SiteOptions):
    """What a site that is a Ray cluster states."""

    url: str = Field(pattern=r"^https?://[^/\s]+")
    """Address of its dashboard, where its Jobs API is."""
    token_file: str = ""
    """File with its token, read anew for each request."""
    folder: str = ""
    """Folder for jobs that its nodes see at the same path; empty means one in the data folder."""


def _site(platform: Platform, name: str, options: RayOptions) -> RayEngine:
    default = platform.settings.data_folder / f"{attempt.check_name(name, 'name of a site')}-jobs"
    client = RayClient(options.url, token_file=Path(options.token_file) if options.token_file else None)
    try:
        return RayEngine(name=name, root=Path(options.folder) if options.folder else default, store=platform.store, client=client)
    except HeadwaterError:
        client.close()
        raise


def _open(platform: Platform) -> RayEngine:
    settings = platform.settings
    options = RayOptions(url=settings.ray_url, token_file=settings.ray_token_file, folder=settings.ray_folder)
    return _site(platform, "ray", options)


RAY = EngineFactory(name="ray", open=_open, wanted=lambda settings: bool(settings.ray_url), options=RayOptions, site=_site)
