"""The engine of public clouds through a SkyPilot API server: each attempt is one cluster of one machine, rented for it alone.

The attempt's folder lies in a bucket that is mounted here and on the machine at the same path; the machine runs the same runner as
everywhere. SkyPilot leaves what it has rented running when a launch fails, so nothing here counts as ended before its cluster was told
to go, and clusters that are still there afterwards are told again.
"""

from __future__ import annotations

import fcntl
import json
import math
import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
import yaml
from pydantic import Field, ValidationError

from headwater.compute.engines import attempt, image, naming
from headwater.compute.engines.local import GRACE_S, step_command
from headwater.compute.engines.skypilot_client import UNDER_WAY, SkyClient, SkyFailure
from headwater.compute.work import Capacity, EngineFactory, Observation, Phase, Reason, SiteOptions, Work
from headwater.core.errors import BadInput, Conflict, HeadwaterError
from headwater.core.platform import Platform
from headwater.core.store import Store

NAME = "skypilot"
NOTE = "skypilot.json"
LOOK_S = 5.0
REST_S = 1.0
LEFT_S = 10.0
"""How often clusters are looked for whose attempt is over."""
SETTLE_S = 30.0
"""How long after the end of a machine's job its `exit.json` may take to come through the bucket."""
IDLE_MINUTES = 10
"""After which SkyPilot itself tears a cluster down that does nothing, also without this server."""
CANCELLED = Observation(phase=Phase.FAILED, reason=Reason.CANCELLED, message="The job was cancelled.")

log = structlog.get_logger("headwater.compute")


class SkyOptions(SiteOptions):
    """The table `[skypilot]` of the settings, and what a site of this engine states.

    `bucket` is the address (`s3://…`) of what is mounted here at `folder`; `cpus`, `memory_gib` and `accelerators` (by SkyPilot's names
    in small letters) are what may be rented at once; `infra` and `image` are SkyPilot's own, such as `aws/us-east-1` and `docker:…`.
    """

    url: str
    bucket: str
    folder: str
    cpus: float = Field(gt=0)
    memory_gib: float = Field(gt=0)
    accelerators: dict[str, int] = Field(default_factory=dict)
    infra: str = ""
    image: str = ""
    token_file: str = ""
    launch_s: float = Field(1800.0, gt=0)


class SkyEngine:
    """Runs attempts on rented machines. Safe for several threads, and after a crash of the server."""

    def __init__(self, *, store: Store, options: SkyOptions, name: str = NAME) -> None:
        """Open the engine, and ask whether the server is there. Raises Unavailable where it does not answer or the folder is not there."""
        self.name = name
        self._mount = Path(options.folder).resolve()
        self._root = self._mount / f"{name}-jobs"
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise attempt.cannot_write(error, self._root) from error
        self._store = store
        self._options = options
        self._platform = naming.identity(self._root)
        token = Path(options.token_file) if options.token_file else None
        self._client = SkyClient(options.url, user=self._platform, token_file=token)
        try:
            self._client.check()
        except HeadwaterError:
            self._client.close()
            raise
        self._listed: tuple[float, Mapping[str, str]] = (-math.inf, {})
        self._away_s = -math.inf
        self._looked: dict[str, tuple[float, Observation]] = {}
        self._since_s: dict[tuple[str, str], float] = {}
        self._left_s = time.monotonic()

    def capacity(self) -> Capacity:
        """Return what may be rented at once, as set."""
        told = self._options
        return Capacity(cpus=told.cpus, memory_gib=told.memory_gib, accelerators=dict(told.accelerators))

    def folder(self, key: str) -> Path:
        """Return an attempt's folder. Raises BadInput for a key that is no plain name."""
        return self._root / attempt.check_name(key, "key of an attempt")

    def submit(self, work: Work) -> None:
        """Ask for a machine for an attempt, once: a second call for its key does nothing.

        Raises BadInput where there is nothing to run or SkyPilot refuses, Unavailable where the disk or the server does.
        """
        folder = self.folder(work.key)
        argv = work.argv or step_command(work, folder)
        attempt.make(folder)
        with (self._root / ".submitting").open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if any((folder / name).exists() for name in (NOTE, "runner.json", "exit.json")):
                return
            cluster = self._cluster(work.key)
            earlier = self._client.launches(cluster) if (folder / "intent.json").exists() else ()
            try:
                if not earlier:
                    self._lay_out(folder, work, argv)
                request = earlier[-1] if earlier else self._client.launch(cluster, self._task(folder, work, cluster))
                attempt.write_json(folder / NOTE, {"request": request})
            except HeadwaterError:
                if not earlier:
                    attempt.remove(folder)
                raise
            except OSError as error:
                raise attempt.cannot_write(error, folder) from error

    def _lay_out(self, folder: Path, work: Work, argv: tuple[str, ...]) -> None:
        attempt.lay_out(folder, work, self._store)
        image.write_work(folder, work, argv)
        attempt.write_json(folder / "intent.json", {"cluster": self._cluster(work.key)})

    def _task(self, folder: Path, work: Work, cluster: str) -> str:
        """Return the task as SkyPilot's YAML: one machine, the bucket, the runner, and an end of its own when it does nothing."""
        asked, told = work.resources, self._options
        resources = {
            "cpus": f"{max(1, math.ceil(asked.cpus))}+",
            "memory": f"{max(1, math.ceil(asked.memory_gib))}+",
            "autostop": {"idle_minutes": IDLE_MINUTES, "down": True},
        }
        resources |= {name: value for name, value in (("infra", told.infra), ("image_id", told.image)) if value}
        if chips := [f"{chip}:{count}" for chip, count in asked.accelerators.items() if count]:
            resources["accelerators"] = chips[0]
        task = {
            "name": cluster,
            "resources": resources,
            "file_mounts": {str(self._mount): {"source": told.bucket, "mode": "MOUNT_CACHED"}},
            "run": f"exec {shlex.join([*image.START, str(folder)])}\n",
        }
        return yaml.safe_dump(task, sort_keys=False)

    def _cluster(self, key: str) -> str:
        return naming.outside_name(self._platform, key)

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return where each attempt is. While the server does not answer, those it has count as running."""
        seen = {key: self._observe(key) for key in keys}
        if time.monotonic() - self._left_s > LEFT_S:
            self._left_s = time.monotonic()
            self._end_left_over()
        return seen

    def _observe(self, key: str) -> Observation:
        folder = self.folder(key)
        told = attempt.observed(folder)
        if not (folder / NOTE).exists():
            return told or self._unnoted(key)
        looked_s, last = self._looked.get(key, (-math.inf, attempt.RUNNING))
        if told is None and time.monotonic() - looked_s < LOOK_S:
            return last
        if time.monotonic() - self._away_s < LOOK_S:
            return attempt.RUNNING
        try:
            seen = self._given_up(key, told) if told is not None else self._asked_after(key)
        except HeadwaterError as error:
            log.warning("skypilot.unavailable", error=str(error))
            self._away_s, seen = time.monotonic(), attempt.RUNNING
        self._looked[key] = time.monotonic(), seen
        return seen

    def _unnoted(self, key: str) -> Observation:
        """Return where an attempt is of whose launch nothing was noted: it may have begun before a server that died could do so."""
        folder = self.folder(key)
        if not (folder / "runner.json").exists():
            return attempt.UNKNOWN
        try:
            earlier = self._client.launches(self._cluster(key)) if (folder / "intent.json").exists() else ()
        except HeadwaterError as error:
            log.warning("skypilot.unavailable", error=str(error))
            return attempt.RUNNING
        if not earlier:
            return attempt.LOST
        attempt.write_json(folder / NOTE, {"request": earlier[-1]})
        return attempt.RUNNING

    def _asked_after(self, key: str) -> Observation:
        """Return where an attempt is by its launch, its machine and the machine's job."""
        folder, request = self.folder(key), str(json.loads((self.folder(key) / NOTE).read_text("utf-8"))["request"])
        status = self._client.request_status(request)
        if (folder / "cancel").exists() and self._is_pressed(folder):
            return self._given_up(key, CANCELLED, request if status in UNDER_WAY else "")
        if status in UNDER_WAY:
            if not self._is_long(key, "launching", self._options.launch_s):
                return attempt.RUNNING
            why = f"The machine was not there within {self._options.launch_s:g} s."
            return self._given_up(key, Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, message=why), request)
        if status != "SUCCEEDED":
            return self._given_up(key, _not_launched(self._client.failure(request)))
        return self._launched(key)

    def _launched(self, key: str) -> Observation:
        cluster = self._cluster(key)
        if time.monotonic() - self._listed[0] > LOOK_S:
            self._listed = time.monotonic(), self._client.clusters()
        if self._listed[1].get(cluster) != "UP":
            lost = replace(attempt.LOST, message="The rented machine is gone: the cloud took it back, or it failed.")
            return self._given_up(key, lost) if self._is_long(key, "gone", SETTLE_S) else attempt.RUNNING
        self._since_s.pop((key, "gone"), None)
        job = self._client.job_status(cluster)
        if not job or job in ("INIT", "PENDING", "SETTING_UP", "RUNNING"):
            return attempt.RUNNING
        if not self._is_long(key, "ended", SETTLE_S):
            return attempt.RUNNING
        message = f"The machine's job ended as {job} and left no exit record: see 'sky logs {cluster}'."
        return self._given_up(key, Observation(phase=Phase.FAILED, reason=Reason.FAILED, message=message))

    def _is_pressed(self, folder: Path) -> bool:
        """Tell whether an attempt that was asked to end has not begun, or does not end by itself."""
        return not (folder / "runner.json").exists() or self._is_long(folder.name, "cancelled", 2 * GRACE_S)

    def _is_long(self, key: str, what: str, most_s: float) -> bool:
        return time.monotonic() - self._since_s.setdefault((key, what), time.monotonic()) >= most_s

    def _given_up(self, key: str, seen: Observation, request: str = "") -> Observation:
        """End the launch that is under way, tell the cluster to go, and only then call the attempt ended. Raises Unavailable."""
        folder = self.folder(key)
        if request:
            self._client.give_up(request)
        self._client.down(self._cluster(key))
        if not (folder / "exit.json").exists():
            attempt.write_exit(folder, seen)
        (folder / NOTE).unlink(missing_ok=True)
        return seen

    def _end_left_over(self) -> None:
        """Tell those of this platform's clusters to go whose attempt is over: a teardown failed, or a launch went on after it."""
        try:
            under_way = {self._cluster(key) for key in attempt.keys(self._root) if _is_under_way(self.folder(key))}
            for cluster in self._client.clusters():
                if cluster.startswith(f"hw-{self._platform}-") and cluster not in under_way:
                    log.warning("skypilot.left_over", cluster=cluster)
                    self._client.down(cluster)
        except HeadwaterError as error:
            log.warning("skypilot.unavailable", error=str(error))

    def cancel(self, key: str) -> None:
        """Ask the attempt to end: its runner sees the file; the machine of one that has not begun is given back at the next poll."""
        attempt.ask_to_end(self.folder(key))
        self._looked.pop(key, None)

    def forget(self, key: str) -> None:
        """Remove an ended attempt's files but its log and the record that it was made. Raises Conflict while it runs."""
        folder, seen = self.folder(key), self._observe(key)
        if seen.phase is Phase.RUNNING:
            raise Conflict(f"The attempt '{key}' is still running.", "Cancel it first.")
        for kept in [one for one in self._since_s if one[0] == key]:
            del self._since_s[kept]
        self._looked.pop(key, None)
        if seen.phase is Phase.UNKNOWN:
            attempt.remove(folder)
        else:
            attempt.clear(folder, keep=attempt.KEPT)

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """End every attempt under way that is not known, and every cluster that has none, and return the keys of the former."""
        ended = []
        for key in sorted(attempt.keys(self._root) - set(known)):
            if _is_under_way(self.folder(key)):
                attempt.ask_to_end(self.folder(key))
                try:
                    self._given_up(key, CANCELLED)
                except HeadwaterError as error:
                    log.warning("skypilot.unavailable", error=str(error))
                ended.append(key)
        self._end_left_over()
        return ended

    def wait(self, timeout_s: float) -> None:
        """Return after the time, or sooner where it is longer than machines are looked at: nobody rings from a cloud."""
        time.sleep(max(0.0, min(timeout_s, REST_S)))

    def close(self) -> None:
        """Let go of the server; machines go on."""
        self._client.close()


def _not_launched(why: SkyFailure) -> Observation:
    """Return the end of an attempt whose launch failed: that no cloud has such a machine free now may pass."""
    phase, reason = (Phase.LOST, Reason.NODE_LOST) if why.type == "ResourcesUnavailableError" else (Phase.FAILED, Reason.FAILED)
    return Observation(phase=phase, reason=reason, message=f"The launch failed: {why.type}: {why.message}")


def _is_under_way(folder: Path) -> bool:
    """Tell whether a machine may have been asked for, and no end is on record."""
    return (folder / "intent.json").exists() and not (folder / "exit.json").exists()


def _site(platform: Platform, name: str, options: SkyOptions) -> SkyEngine:
    return SkyEngine(store=platform.store, options=options, name=name)


def _open(platform: Platform) -> SkyEngine:
    try:
        options = SkyOptions.model_validate(platform.settings.skypilot)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise BadInput(f"The table [skypilot] does not hold: {problems}.", f"It has: {', '.join(SkyOptions.model_fields)}.") from error
    return _site(platform, NAME, options)


SKYPILOT = EngineFactory(name=NAME, open=_open, wanted=lambda settings: bool(settings.skypilot), options=SkyOptions, site=_site)
