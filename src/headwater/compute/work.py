"""What an engine is given, what it tells, and the protocol that every engine implements.

An engine starts processes somewhere and says what became of them. It decides nothing: admission,
placement, retries and records are the dispatcher's. Everything is keyed by `Work.key`, which names
one attempt of one job, so that submitting twice, or after a crash on either side, starts it once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from headwater.core.errors import HeadwaterError
from headwater.core.steps import Resources

if TYPE_CHECKING:
    from headwater.core.platform import Platform
    from headwater.core.settings import Settings


class Phase(StrEnum):
    """Where one attempt is, as its engine sees it."""

    UNKNOWN = "unknown"
    """The engine has never heard of this key: it may be submitted (again)."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    """It had started, and what ran it is gone: it may be attempted again under a new key."""


class Reason(StrEnum):
    """Why an attempt did not succeed."""

    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_TIME = "out_of_time"
    OUT_OF_CPU_TIME = "out_of_cpu_time"
    DISK_FULL = "disk_full"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an attempt used, as measured by its engine: seconds of wall and CPU time, peak resident GiB, joules. None is not measured."""

    wall_s: float | None = None
    cpu_s: float | None = None
    peak_memory_gib: float | None = None
    energy_j: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What an engine knows of one attempt."""

    phase: Phase
    reason: Reason | None = None
    exit_code: int | None = None
    message: str = ""
    """The step's own error, or the last lines of its log."""
    usage: Usage = Usage()


def _untold(share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """How an attempt's inputs are brought to its engine's folder (see `staging.py`)."""

    cache_bytes: int = 16 << 30
    """What the cache there may hold between attempts."""
    told: Callable[[float], None] = _untold
    """Is told the share of the inputs' bytes that is there, again and again while they are copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One attempt of one job: a step (`task`) or a command (`argv`), and what it needs.

    `task` is the content of `task.json` (see `headwater.step`); `inputs` are artifacts to lay out in
    `inputs/<name>` of the attempt's folder before it starts; `argv` runs in that folder.
    """

    key: str
    argv: tuple[str, ...] = ()
    task: Mapping[str, Any] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = Resources()
    environment: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Indices of the accelerators that are this attempt's own, by chip."""
    staging: Staging = Staging()
    person: str = ""
    """Name of who handed the job in, for engines that start it as them."""
    organisation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What an engine may give to jobs in all."""

    cpus: float
    memory_gib: float
    accelerators: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Engine(Protocol):
    """Where jobs run. One instance per platform; methods may be called from several threads."""

    name: str

    def capacity(self) -> Capacity:
        """Return what this engine may give to jobs in all, whatever runs now."""
        ...

    def submit(self, work: Work) -> None:
        """Start an attempt. Idempotent by key. Raises HeadwaterError where it cannot be started at all."""
        ...

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        """Return an observation for each key."""
        ...

    def cancel(self, key: str) -> None:
        """End an attempt and all its processes: first asked to stop, then made to. Ending it twice changes nothing."""
        ...

    def folder(self, key: str) -> Path:
        """Return the folder with the attempt's outputs, `result.json`, `progress.jsonl` and `log.txt`, on this machine."""
        ...

    def forget(self, key: str) -> None:
        """Remove what is left of an ended attempt, except its log."""
        ...

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        """End every attempt that is not among the known keys, and return their keys."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when something may have ended, or after `timeout_s`."""
        ...

    def close(self) -> None:
        """Let go of what this instance holds; attempts under way go on."""
        ...


@runtime_checkable
class Remote(Protocol):
    """An engine that may stop answering while its jobs go on."""

    def silent_s(self) -> float:
        """Return for how many seconds every question to the site has failed; 0.0 where the last one was answered. It asks nothing."""
        ...


@runtime_checkable
class TakesMany(Protocol):
    """An engine that can be given many attempts at once for less than one by one."""

    def submit_all(self, works: Sequence[Work]) -> Mapping[str, HeadwaterError]:
        """Start attempts, each as `submit` does, and return the errors of those that cannot be started, by key."""
        ...


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """An engine whose jobs reach a folder for checkpoints only where the engine keeps it."""

    def checkpoint_root(self) -> Path:
        """Return the folder, made if need be and named `checkpoints.ELSEWHERE`, in which each job has one. Raises Unavailable."""
        ...


def checkpoint_root(engine: Engine | None) -> Path | None:
    """Return where an engine keeps its jobs' checkpoints; None where the data folder will do. Raises Unavailable."""
    if isinstance(engine, KeepsCheckpoints):
        return engine.checkpoint_root()
    return None


def handed_to(engine: Engine, works: Sequence[Work]) -> dict[str, HeadwaterError]:
    """Hand attempts to an engine, and return the errors of those that could not be started, by key."""
    if isinstance(engine, TakesMany) and len(works) > 1:
        return dict(engine.submit_all(works))
    failed: dict[str, HeadwaterError] = {}
    for work in works:
        try:
            engine.submit(work)
        except HeadwaterError as error:
            failed[work.key] = error
    return failed


class SiteOptions(BaseModel):
    """Base of what a registered site may state about its engine: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFactory:
    """The member that an engine plug-in offers: it opens the engine for a platform."""

    name: str
    open: Callable[[Platform], Engine]
    wanted: Callable[[Settings], bool] = lambda _: True
    """Tells from the settings whether a platform uses this engine."""
    options: type[SiteOptions] = SiteOptions
    """What a site that is registered with this engine may state, such as its address."""
    site: Callable[[Platform, str, Any], Engine] | None = None
    """Opens the engine of a registered site: its name, which the engine takes as its own, and its `options`.

    None: there is but one of this engine, and no sites of it can be registered. Raises Unavailable where the site does not answer.
    """

    def __call__(self, platform: Platform) -> Engine:
        return self.open(platform)
