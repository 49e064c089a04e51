"""The engine of a Kubernetes cluster: each attempt is one Job of one pod, which runs the same runner as on one machine.

The attempt's folder lies on a volume that pods mount, each its own part of it and at the same path as here. The runner in the pod
lays down `exit.json` as everywhere; Kubernetes is asked for what a runner cannot tell: that its pod never began, went over its
memory, was evicted by Kueue or the scheduler, or that its node is gone. The dispatcher decides about trying again, so a Job is
tried once, and one that would be started again is deleted.

Submitting once: a Job's name follows from the attempt's key, so a second one is refused by the API server itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from headwater.compute import checkpoints
from headwater.compute.engines import attempt, image, kubernetes_job, naming
from headwater.compute.engines.kubernetes_client import Kind, KubernetesClient, Object
from headwater.compute.engines.kubernetes_job import ATTEMPT_ANNOTATION, PLATFORM_LABEL, Place, job_state
from headwater.compute.engines.kubernetes_nodes import Cluster, cluster_of, offer_of, within_quota
from headwater.compute.engines.kubernetes_watch import Watched
from headwater.compute.engines.local import GRACE_S, step_command
from headwater.compute.engines.silence import Silence
from headwater.compute.work import Capacity, Observation, Phase, Reason, Work
from headwater.core.errors import BadInput, Conflict, HeadwaterError, Unavailable
from headwater.core.store import Store

NAME = "kubernetes"
NOTE = "kubernetes.json"
CAPACITY_S = 10.0
SETTLE_S = 10.0
"""How long after the end of a pod its `exit.json` may take to be seen here, and its deletion to be done."""
PATIENCE_S = 60.0
RETRY_S = 1.0
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
CANCELLED = Observation(phase=Phase.FAILED, reason=Reason.CANCELLED, message="The job was cancelled.")
OUT_OF_TIME = Observation(phase=Phase.FAILED, reason=Reason.OUT_OF_TIME, message="Kubernetes ended the job at its deadline.")

T = TypeVar("T")

log = structlog.get_logger("headwater.compute")


class KubernetesEngine:
    """Runs attempts as Jobs of one namespace. Safe for several threads, and after a crash of the server."""

    def __init__(self, *, root: Path, store: Store, client: KubernetesClient, place: Place, name: str = NAME, claim_root: Path) -> None:
        """Open the engine on a folder of the claim's volume, of which `claim_root` is the root, and begin to watch.

        Raises Unavailable where the API server does not answer, BadInput where the folder is not on that volume.
        """
        self.name = name
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise attempt.cannot_write(error, root) from error
        self._root = root.resolve()
        self._claim_root = claim_root.resolve()
        if not self._root.is_relative_to(self._claim_root):
            raise BadInput(f"The folder for jobs, {self._root}, is not on the claim's volume.", f"It is to be below {self._claim_root}.")
        self._store = store
        self._client = client
        self._place = place
        self._platform = naming.identity(self._root)
        self._label = f"{PLATFORM_LABEL}={self._platform}"
        self._rung = threading.Event()
        self._since_s: dict[tuple[str, str], float] = {}
        self._silence = Silence()
        self._cluster, self._capacity = self._counted()
        self._counted_s = time.monotonic()
        self._jobs = Watched(client, Kind.JOB, self._label, changed=self._rung.set)
        try:
            self._pods = Watched(client, Kind.POD, self._label, changed=self._rung.set)
        except HeadwaterError:
            self._jobs.close()
            raise
        self._rung.clear()

    def capacity(self) -> Capacity:
        """Return what the nodes, or Kueue's quota of them, give to jobs in all; as last known while the server does not answer."""
        if time.monotonic() - self._counted_s > CAPACITY_S:
            self._counted_s = time.monotonic()
            try:
                with self._silence.asking():
                    self._cluster, self._capacity = self._counted()
            except HeadwaterError as error:
                log.warning("kubernetes.unavailable", error=str(error))
        return self._capacity

    def _counted(self) -> tuple[Cluster, Capacity]:
        cluster = cluster_of(self._client.nodes())
        if not self._place.queue:
            return cluster, cluster.capacity
        return cluster, within_quota(cluster, self._client.cluster_queue(self._place.queue))

    def silent_s(self) -> float:
        """Return for how many seconds Kubernetes has answered nothing."""
        return self._silence.lasts_s()

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def submit(self, work: Work) -> None:
        """Create an attempt's Job, once: a second call for its key does nothing.

        Raises BadInput where there is nothing to run or Kubernetes refuses, Unavailable where the disk or the API server does.
        """
        folder = self.folder(work.key)
        argv = work.argv or step_command(work, folder)
        job = self._manifest(folder, work)
        attempt.make(folder)
        with _held(self._root):
            if _was_submitted(folder):
                return
            name = self._job_name(work.key)
            if (folder / "intent.json").exists() and _patiently(lambda: self._client.job(name)) is not None:
                attempt.write_json(folder / NOTE, {"name": name})
                return
            try:
                attempt.lay_out(folder, work, self._store)
                image.write_work(folder, work, argv)
                attempt.write_json(folder / "intent.json", {"name": name})
            except HeadwaterError:
                attempt.remove(folder)
                raise
            except OSError as error:
                attempt.remove(folder)
                raise attempt.cannot_write(error, folder) from error
            self._hand_in(folder, job)

    def _hand_in(self, folder: Path, job: Object) -> None:
        """Create what is laid out; a Job that the server took without our hearing of it ends by itself, at the word left in its folder."""
        try:
            _patiently(lambda: self._create(job))
        except Unavailable:
            attempt.ask_to_end(folder)
            raise
        except HeadwaterError:
            attempt.remove(folder)
            raise
        attempt.write_json(folder / NOTE, {"name": job["metadata"]["name"]})

    def _manifest(self, folder: Path, work: Work) -> dict[str, Any]:
        asked = [(offer_of(chip, self._cluster.offers), count) for chip, count in work.resources.accelerators.items() if count]
        kept = work.environment.get(checkpoints.VARIABLE)
        folders = [folder, *([Path(kept).resolve()] if kept else [])]
        if stray := [one for one in folders if not one.is_relative_to(self._claim_root)]:
            what = f"Pods cannot see the folder for checkpoints, {stray[0]}: it is not on the claim's volume."
            raise BadInput(what, "Set kubernetes_folder to a folder above the data folder, or declare no checkpoint_s.")
        return kubernetes_job.manifest(
            platform=self._platform,
            key=work.key,
            folders={one: str(one.relative_to(self._claim_root)) for one in folders},
            place=self._place,
            resources=work.resources,
            asked=asked,
        )

    def _create(self, job: Object) -> None:
        with contextlib.suppress(Conflict):  # it is there: an answer was lost, or this server's memory of it
            self._client.create_job(job)

    def _job_name(self, key: str) -> str:
        return naming.outside_name(self._platform, key)

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is. While the API server does not answer, those it has count as running."""
        pods: dict[str, Object] = {}
        for pod in sorted(self._pods.all(), key=lambda one: str(one["metadata"].get("creationTimestamp", ""))):
            labels = pod["metadata"].get("labels") or {}
            pods[next((labels[name] for name in JOB_LABELS if name in labels), "")] = pod
        return {key: self._observe(key, pods.get(self._job_name(key))) for key in keys}

    def _observe(self, key: str, pod: Object | None) -> Observation:
        folder = self.folder(key)
        told = attempt.observed(folder)
        if told is not None and told.phase is not Phase.LOST:
            return told
        if not (folder / NOTE).exists() and (told is not None or not (folder / "runner.json").exists()):
            return told or attempt.UNKNOWN
        try:
            job = self._jobs.get(self._job_name(key)) if told is None else None
            return self._judged(folder, job or self._client.job(self._job_name(key)), pod, told)
        except HeadwaterError as error:
            log.warning("kubernetes.unavailable", error=str(error))
            return attempt.RUNNING

    def _judged(self, folder: Path, job: Object | None, pod: Object | None, told: Observation | None) -> Observation:
        """Return where an attempt is by its Job; `told` is what its runner said that was told to go."""
        asked_to_end, began = (folder / "cancel").exists(), (folder / "runner.json").exists()
        if job is None:
            if told is None and not (asked_to_end and not began) and not self._is_long(folder, "ended", SETTLE_S):
                return attempt.RUNNING
            return self._end(folder, CANCELLED if asked_to_end else told or attempt.LOST)
        state, name = job_state(job), str(job["metadata"]["name"])
        if state.suspended and began:
            return self._evicted(folder, name, told)
        if told is not None or state.over:
            explained = told is None or state.over or state.leaving or state.deadline_passed or kubernetes_job.is_disrupted(pod)
            if not explained and not self._is_long(folder, "told to go", SETTLE_S):
                return attempt.RUNNING  # who told the runner to go has not been heard of yet
            return self._ended(folder, job, pod, told)
        if pod is not None and (end := self._stuck(folder, pod)) is not None:
            return self._give_up(folder, name, CANCELLED if asked_to_end else end)
        if asked_to_end and not state.leaving:
            self._press(folder, name)
        return attempt.RUNNING

    def _evicted(self, folder: Path, name: str, told: Observation | None) -> Observation:
        """Return where an attempt is that began, and whose Job holds no room any more: it goes, or has gone."""
        job = self._client.job(name)  # what the watch has told may be older than the runner's first file
        if job is None or not job_state(job).suspended or (told is None and not self._is_long(folder, "ended", SETTLE_S)):
            return attempt.RUNNING
        why = kubernetes_job.eviction(self._client.workload(str(job["metadata"]["uid"])))
        return self._give_up(folder, name, _with(Observation(phase=Phase.LOST, reason=Reason.PREEMPTED, message=why), told))

    def _ended(self, folder: Path, job: Object, pod: Object | None, told: Observation | None) -> Observation:
        """Return what became of an attempt whose pod has ended or was told to go."""
        if told is None and not self._is_long(folder, "ended", SETTLE_S):
            return attempt.RUNNING
        seen = kubernetes_job.ending(pod)
        if (folder / "cancel").exists():
            seen = CANCELLED
        elif job_state(job).deadline_passed:
            seen = OUT_OF_TIME
        elif told is not None and seen.phase is not Phase.LOST:
            seen = told
        elif pod is not None and not (folder / "runner.json").exists():
            printed = self._client.pod_log(str(pod["metadata"]["name"]))
            seen = replace(seen, message=f"{seen.message} {printed}".strip())
        return self._give_up(folder, str(job["metadata"]["name"]), _with(seen, told))

    def _stuck(self, folder: Path, pod: Object) -> Observation | None:
        """Return the end of an attempt whose pod does not come up, or does not go though its time to go is over; None for any other."""
        if "deletionTimestamp" in pod["metadata"]:
            grace_s = float(pod["metadata"].get("deletionGracePeriodSeconds") or kubernetes_job.STOP_S)
            overdue = self._is_long(folder, "leaving", grace_s + SETTLE_S)
            lost = replace(attempt.LOST, message="The pod's node does not answer: the pod was told to go and does not.")
            return lost if overdue else None
        hindered = kubernetes_job.hindrance(pod)
        if hindered is None:
            self._since_s.pop((folder.name, "hindered"), None)
            return None
        why, may_pass = hindered
        if not self._is_long(folder, "hindered", 0.0 if kubernetes_job.cannot_ever_start(pod) else self._place.launch_s):
            return None
        phase, reason = (Phase.LOST, Reason.NODE_LOST) if may_pass else (Phase.FAILED, Reason.FAILED)
        return Observation(phase=phase, reason=reason, message=f"The pod did not start within {self._place.launch_s:g} s: {why}.")

    def _is_long(self, folder: Path, what: str, most_s: float) -> bool:
        """Tell whether something has been so for a time, counted from when it was first asked: the cluster's clock may differ from ours."""
        return time.monotonic() - self._since_s.setdefault((folder.name, what), time.monotonic()) >= most_s

    def _give_up(self, folder: Path, name: str, seen: Observation) -> Observation:
        """Delete a Job, so that it neither holds room nor is started again, and only then call its attempt ended. Raises Unavailable."""
        self._client.delete_job(name)
        return self._end(folder, seen)

    def _end(self, folder: Path, seen: Observation) -> Observation:
        with contextlib.suppress(OSError):  # the disk refuses: the next poll comes to the same end
            attempt.write_exit(folder, seen)
            (folder / NOTE).unlink(missing_ok=True)
        return seen

    def _press(self, folder: Path, name: str) -> None:
        """Delete the Job of an attempt that was asked to end and has not begun, or does not end by itself."""
        if not (folder / "runner.json").exists() or self._is_long(folder, "cancelled", 2 * GRACE_S):
            self._client.delete_job(name)

    def cancel(self, key: str) -> None:
        """Ask the attempt to end: its runner sees the file; the Job of one that has not begun is deleted."""
        folder = self.folder(key)
        if not attempt.ask_to_end(folder) or not (folder / NOTE).exists():
            return
        try:
            self._press(folder, self._job_name(key))
        except HeadwaterError as error:  # each poll presses again
            log.warning("kubernetes.unavailable", error=str(error))

    def forget(self, key: str) -> None:
        """Delete an ended attempt's Job, and its files but its log and the record that it was made. Raises Conflict while it runs."""
        folder = self.folder(key)
        seen = self.poll([key])[key]
        if seen.phase is Phase.RUNNING:
            raise Conflict(f"The attempt '{key}' is still running.", "Cancel it first.")
        if seen.phase is Phase.UNKNOWN:
            attempt.remove(folder)
            return
        try:
            self._client.delete_job(self._job_name(key))
        except HeadwaterError as error:  # it holds nothing any more, and a sweep removes it
            log.warning("kubernetes.unavailable", error=str(error))
        for what in ("ended", "told to go", "leaving", "hindered", "cancelled"):
            self._since_s.pop((key, what), None)
        attempt.clear(folder, keep=attempt.KEPT)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """Delete every Job of this platform that is not known, and return the keys of those that had not ended."""
        ended = []
        try:
            for job in self._client.listed(Kind.JOB, self._label)[0]:
                key = str((job["metadata"].get("annotations") or {}).get(ATTEMPT_ANNOTATION, ""))
                if key in known:
                    continue
                if attempt.NAME.fullmatch(key) and not job_state(job).over:
                    attempt.ask_to_end(self.folder(key))
                    ended.append(key)
                self._client.delete_job(str(job["metadata"]["name"]))
        except HeadwaterError as error:
            log.warning("kubernetes.unavailable", error=str(error))
        return sorted(ended)

    def wait(self, timeout_s: float) -> None:
        """Return when the cluster has told of a change, or after the time."""
        self._rung.wait(max(0.0, timeout_s))
        self._rung.clear()

    def close(self) -> None:
        """Let go of the cluster; Jobs go on."""
        for watched in (self._jobs, self._pods):
            watched.close()
        self._client.close()


@contextlib.contextmanager
def _held(root: Path) -> Iterator[None]:
    """Hold the right to submit, among all threads and servers on this folder."""
    with (root / ".submitting").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _was_submitted(folder: Path) -> bool:
    return any((folder / name).exists() for name in (NOTE, "runner.json", "exit.json"))


def _patiently(call: Callable[[], T]) -> T:
    """Return what a call to the API server gives, tried again for a while where it does not answer. Raises Unavailable."""
    last_try_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > last_try_s:
                raise
            time.sleep(RETRY_S)


def _with(seen: Observation, told: Observation | None) -> Observation:
    """Return an observation with what the runner measured, where it did."""
    return seen if told is None else replace(seen, exit_code=told.exit_code, usage=told.usage)
