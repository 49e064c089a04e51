"""What the engine asks of a Slurm, whichever way it is reached: `slurm_rest.py` by slurmrestd, `slurm_commands.py` by its commands.

Nothing is known of attempts and artifacts here: submit a script, list jobs and nodes, cancel, look into the accounting. Exercised
with Slurm 22.05 (v0.0.38); later versions wrap numbers and states, which is read too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headwater.compute.work import Usage
from headwater.core.errors import BadInput, HeadwaterError, Unavailable

TIMEOUT_S = 20.0
MIB_PER_GIB = 1024
DOWN = frozenset({"DOWN", "DRAIN", "DRAINING", "DRAINED", "FAIL", "INVAL", "NOT_RESPONDING", "UNKNOWN", "FUTURE", "POWERED_DOWN"})
MOST_ELEMENTS = 1000
"""Of one array: Slurm's MaxArraySize is 1001 where nobody has changed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A batch job to submit: its script and what it asks of one node."""

    name: str = ""
    script: str = ""
    folder: Path = Path()
    log: Path = Path()
    cpus: int
    memory_mib: int
    minutes: int
    elements: int = 0
    """Of an array, with indices from 0; 0 is a job that is no array."""
    at_once: int = 0
    """How many elements may run at a time; 0 is no limit."""
    gres: tuple[tuple[str, int], ...] = ()
    """Counts by Slurm's `name:type`, in its order."""
    partition: str = ""
    account: str = ""
    user: str = ""
    """Unix account that submits it; empty means this client's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmJob:
    """One job, or one element of an array, as the controller sees it: `state` in Slurm's own capitals.

    One that Slurm starts a second time, which it is told not to do, was preempted too.
    """

    id: str
    """Such as `12`, or `12_3` for an element. `12_*` stands for elements that wait and that Slurm does not name one by one."""
    name: str
    state: str
    preempted: bool = False
    """Whether it was stopped for another."""
    user: str = ""
    reason: str = ""
    """Why it waits, in Slurm's words."""
    placed: bool = False
    """Whether Slurm had given it a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmNode:
    """One node: what it has in all, and whether jobs may start there."""

    name: str
    cpus: int
    memory_gib: float
    gres: Mapping[str, int]
    partitions: tuple[str, ...]
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounted:
    """What Slurm's accounting holds of a job that has ended, or that has not: then `ended` is False."""

    state: str
    ended: bool
    usage: Usage


class SlurmClient(Protocol):
    """What the engine needs of a Slurm. Each call raises Unavailable where the controller does not answer."""

    def submit(self, asked: Submission) -> str:
        """Submit a job or an array and return its number. Raises BadInput where Slurm refuses what is asked."""
        ...

    def jobs(self) -> Sequence[SlurmJob]:
        """Return every job that the controller knows, also those that ended some minutes ago."""
        ...

    def cancel(self, job: str, *, user: str = "") -> None:
        """Cancel a job, an element or a range such as `12_[4-9]`, as its user where one is named. What has ended stays as it is."""
        ...

    def widen(self, array: str, *, user: str = "") -> None:
        """Let any number of an array's elements run at a time, as its user where one is named. One that has ended stays as it is."""
        ...

    def nodes(self) -> Sequence[SlurmNode]:
        """Return every node."""
        ...

    def accounted(self, jobs: Collection[str]) -> Mapping[str, Accounted]:
        """Return what the accounting holds of some jobs; it leaves out those that it does not hold yet."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


UNREACHABLE = re.compile(
    r"unable to contact|connection refused|communication|timed out|not respond|backup controller|ssh:"
    r"|required node not available"  # a controller that has just started does not know its nodes yet
    r"|unspecified error|authentication",  # what slurmrestd 22.05 says of a token that does not hold
    re.IGNORECASE,
)


def refusal(told: str, where: str) -> HeadwaterError:
    """Return the error for Slurm's words: Unavailable where its controller is not there, else BadInput."""
    if UNREACHABLE.search(told):
        return Unavailable(f"Slurm does not answer: {told}.", "Check that slurmctld runs and that the token holds.", where=where)
    return BadInput(f"Slurm refuses: {told}.", "Change what the job asks for, or Slurm's limits.", where=where)


def indices(asked: Submission) -> str:
    """Return the indices of an array to submit, as Slurm reads them."""
    return f"0-{asked.elements - 1}" + (f"%{asked.at_once}" if asked.at_once else "")


def gres_counts(text: str) -> dict[str, int]:
    """Return counts by `name:type` from Slurm's text, such as `npu:ascend910b:8(S:0-1),gpu:h20:4`."""
    found: dict[str, int] = {}
    for one in filter(None, re.sub(r"\([^)]*\)", "", text or "").split(",")):
        name, _, count = one.rpartition(":")
        if name and count.isdigit():
            found[name] = found.get(name, 0) + int(count)
    return found


def elements(text: str) -> list[str]:
    """Return the indices in Slurm's text of the elements that wait, such as `4-249,251%3`; `*` where it has cut the text short."""
    found: list[str] = []
    for part in re.sub(r"%\d*$", "", text).split(","):
        told = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        found += [str(index) for index in range(int(told[1]), int(told[2] or told[1]) + 1)] if told else ["*"]
    return found


def number(value: Any) -> int:
    """Return a number as any version tells it: bare, or wrapped with whether it is set; 0 where it is not."""
    return int(value.get("number", 0) if isinstance(value, Mapping) else value or 0)


def states(value: Any) -> tuple[str, ...]:
    """Return Slurm's words for a state, in capitals."""
    words: Collection[str] = [value] if isinstance(value, str) else list(value or ())
    return tuple(word.upper() for one in words for word in re.split(r"[+*~#$@ ]", one) if word)


def jobs_of(told: Iterable[Mapping[str, Any]]) -> list[SlurmJob]:
    """Return the jobs of Slurm's JSON, each element of an array by itself."""
    return [job for one in told for job in _jobs(one)]


def _jobs(told: Mapping[str, Any]) -> list[SlurmJob]:
    array, element, waiting = number(told.get("array_job_id")), told.get("array_task_id"), str(told.get("array_task_string") or "")
    is_element = element.get("set", True) if isinstance(element, Mapping) else element is not None
    if not array:
        ids = [str(told["job_id"])]
    elif is_element and not waiting:
        ids = [f"{array}_{number(element)}"]
    else:
        ids = [f"{array}_{index}" for index in elements(waiting)]
    return [
        SlurmJob(
            id=one,
            name=str(told.get("name") or ""),
            state=next(iter(states(told["job_state"])), "UNKNOWN"),
            preempted=number(told.get("preempt_time")) > 0 or number(told.get("restart_cnt")) > 0,
            user=str(told.get("user_name") or ""),
            reason=str(told.get("state_description") or told.get("state_reason") or ""),
            placed=bool(told.get("nodes") or told.get("batch_host")),
        )
        for one in ids
    ]


def node_of(told: Mapping[str, Any]) -> SlurmNode:
    """Return a node of Slurm's JSON."""
    known = {*states(told.get("state")), *states(told.get("state_flags"))}
    return SlurmNode(
        name=str(told["name"]),
        cpus=number(told["cpus"]),
        memory_gib=number(told["real_memory"]) / MIB_PER_GIB,
        gres=gres_counts(str(told.get("gres") or "")),
        partitions=tuple(told.get("partitions") or ()),
        up=not known & DOWN,
    )
