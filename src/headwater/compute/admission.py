"""Decide which queued jobs start now. Pure: what is queued and what is free in, decisions with reasons out.

First come, first served per engine: the first job that does not fit holds back those behind it, so
that a large job is never starved by small ones. A job that could never fit is refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headwater.compute.work import Capacity
from headwater.core.steps import Resources


class Verdict(StrEnum):
    """What to do with a queued job."""

    START = "start"
    WAIT = "wait"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A queued job, as far as admission is concerned."""

    job: str
    engine: str
    resources: Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of a queued job now, and why."""

    job: str
    verdict: Verdict
    reason: str


def free_of(capacity: Capacity, taken: Sequence[Resources]) -> Capacity:
    """Return what is left of a capacity once running jobs have theirs."""
    return Capacity(
        cpus=capacity.cpus - sum(one.cpus for one in taken),
        memory_gib=capacity.memory_gib - sum(one.memory_gib for one in taken),
        accelerators={chip: count - sum(one.accelerators.get(chip, 0) for one in taken) for chip, count in capacity.accelerators.items()},
    )


def admit(queue: Sequence[Asking], capacity: Mapping[str, Capacity], running: Mapping[str, Sequence[Resources]]) -> tuple[Decision, ...]:
    """Return a decision for each queued job, in queue order, never giving out more than an engine has."""
    free = {engine: free_of(whole, running.get(engine, ())) for engine, whole in capacity.items()}
    held_back: set[str] = set()
    decisions = []
    for asking in queue:
        decision = _decide(asking, capacity.get(asking.engine), free.get(asking.engine), waits=asking.engine in held_back)
        if decision.verdict is Verdict.START:
            free[asking.engine] = free_of(free[asking.engine], [asking.resources])
        elif decision.verdict is Verdict.WAIT:
            held_back.add(asking.engine)
        decisions.append(decision)
    return tuple(decisions)


def _decide(asking: Asking, whole: Capacity | None, free: Capacity | None, *, waits: bool) -> Decision:
    if whole is None or free is None:
        return Decision(job=asking.job, verdict=Verdict.NEVER, reason=f"there is no engine '{asking.engine}' here")
    if lack := _lacking(asking.resources, whole):
        reason = f"engine '{asking.engine}' could never run it: it asks for {lack} in all; lower its 'resources'"
        return Decision(job=asking.job, verdict=Verdict.NEVER, reason=reason)
    if waits:
        return Decision(
            job=asking.job, verdict=Verdict.WAIT, reason=f"waits its turn on engine '{asking.engine}', behind jobs handed in before it"
        )
    if lack := _lacking(asking.resources, free):
        reason = f"waits on engine '{asking.engine}': it asks for {lack} free; it starts when running jobs end"
        return Decision(job=asking.job, verdict=Verdict.WAIT, reason=reason)
    return Decision(
        job=asking.job,
        verdict=Verdict.START,
        reason=f"engine '{asking.engine}' had {free.cpus:g} of {whole.cpus:g} CPUs and {free.memory_gib:.1f} GiB free; first in its queue",
    )


def _lacking(asked: Resources, there: Capacity) -> str:
    """Return the first thing that is asked for and not there, with the figures; empty where all is there."""
    if asked.cpus > there.cpus + 1e-9:
        return f"{asked.cpus:g} CPUs where {max(there.cpus, 0):g} are"
    if asked.memory_gib > there.memory_gib + 1e-9:
        return f"{asked.memory_gib:g} GiB of memory where {max(there.memory_gib, 0):.1f} are"
    for chip, count in asked.accelerators.items():
        if count > there.accelerators.get(chip, 0):
            return f"{count} {chip} where {there.accelerators.get(chip, 0)} are"
    return ""


def allot(asked: Mapping[str, int], capacity: Capacity, running: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Return the lowest free device indices of each chip that a job asks for; `running` is what others hold.

    Admission has made sure that there are enough.
    """
    held = {chip: {index for one in running for index in one.get(chip, ())} for chip in asked}
    return {
        chip: [index for index in range(capacity.accelerators.get(chip, 0)) if index not in held[chip]][:count]
        for chip, count in asked.items()
    }
