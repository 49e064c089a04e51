"""What becomes of each queued job now: the policy's plan, held against what is really free. Pure.

The plan comes from the scheduler's core and never gives out more than there is. Two things remain here: a job that could never run
where it is sent is refused, and a start whose room is still being given up by a job that stops waits until it is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from headwater.compute.admission import free_of, lacking, never
from headwater.compute.jobs import Job, State
from headwater.compute.scheduler.decide import Plan
from headwater.compute.scheduler.why import Reason
from headwater.compute.settlement import budgets
from headwater.compute.situation import INSIDE, Facts, Situation, plan, situation
from headwater.compute.work import Capacity


class Verdict(StrEnum):
    """What to do with a job."""

    START = "start"
    WAIT = "wait"
    STOP = "stop"
    """Stop it, so that another can start; it waits again, and goes on from its checkpoint."""
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of a job now, and why. `unblocks` is for one that waits; `other` the job that one is stopped for."""

    job: str
    verdict: Verdict
    code: str
    reason: str
    unblocks: str = ""
    other: str | None = None


BUDGET_SPENT = "budget_spent"
NO_ROOM = frozenset({"no_room", "fragmented", "no_host_room"})

Heard = Callable[[Situation, Plan], None]


def unheard(given: Situation, planned: Plan) -> None:
    """Hear a plan and do nothing."""


def decisions(facts: Facts, heard: Heard = unheard) -> tuple[Decision, ...]:
    """Return a decision for every queued job, and for every running one that is to stop; `heard` is told each plan as it is made."""
    made = [one for job in facts.queued if (one := _not_asked(job, facts.capacity) or _barred(job, facts.spent)) is not None]
    settled = {one.job for one in made}
    facts = replace(facts, queued=tuple(job for job in facts.queued if job.id not in settled))
    for engine in sorted({job.engine for job in facts.queued}):
        given = situation(facts, engine)
        planned = plan(given)
        heard(given, planned)
        fresh = _checked(facts, engine, planned)
        made += fresh
        started = {one.job for one in fresh if one.verdict is Verdict.START}
        here = tuple(replace(job, state=State.STARTING, started_at=facts.now) for job in facts.queued if job.id in started)
        facts = replace(facts, active=(*facts.active, *here), queued=tuple(job for job in facts.queued if job.id not in started))
    return tuple(made)


def _not_asked(job: Job, capacity: Mapping[str, Capacity]) -> Decision | None:
    """Return what needs no scheduler to decide: an engine that is empty for now, and a job that could never run on its own."""
    if job.engine in capacity and capacity[job.engine].cpus <= 0:
        reason = f"waits on engine '{job.engine}', which has no node up"
        return Decision(job=job.id, verdict=Verdict.WAIT, code="engine_down", reason=reason, unblocks="A node of it coming back.")
    why = never(job.spec.resources, job.engine, capacity)
    return Decision(job=job.id, verdict=Verdict.NEVER, code="never", reason=why) if why else None


def _barred(job: Job, spent: Mapping[str, str]) -> Decision | None:
    """Return that a job waits for money, where its organisation or one above has spent its budget. Steps inside the platform need none."""
    why = None if job.engine == INSIDE else budgets.barred(job.organisation, spent)
    if why is None:
        return None
    unblocks = "A larger budget, a voucher, or the next period."
    return Decision(job=job.id, verdict=Verdict.WAIT, code=BUDGET_SPENT, reason=f"waits: {why}", unblocks=unblocks)


def funded(facts: Facts) -> Facts:
    """Return the facts without the queued jobs that wait for money: they take no part in what can be expected of the others."""
    return replace(facts, queued=tuple(job for job in facts.queued if _barred(job, facts.spent) is None))


def _checked(facts: Facts, engine: str, planned: Plan) -> list[Decision]:
    """Return an engine's plan as decisions, in its order, each start held against what is free once those before it have theirs."""
    whole = facts.capacity[engine]
    free = free_of(whole, [job.spec.resources for job in facts.active if job.engine == engine])
    known = {job.id: job for job in (*facts.active, *facts.queued)}
    made = []
    for place, action in enumerate(planned.actions):
        job = known[action.job]
        if action.resize:
            continue  # no request made here is elastic
        if not action.start:
            other = next((later.job for later in planned.actions[place:] if later.start), None)
            made.append(Decision(job=job.id, verdict=Verdict.STOP, code=action.reason.code, reason=action.reason.why, other=other))
        elif job.state is State.QUEUED:
            made.append(_start(job, action.reason, whole, free))
            free = free_of(free, [job.spec.resources]) if made[-1].verdict is Verdict.START else free
    made += [Decision(job=one.job, verdict=Verdict.NEVER, code=one.code, reason=one.why) for one in planned.never]
    waiting = [reason for reason in planned.waiting if known[reason.job].state is State.QUEUED]
    return made + [_wait(known[reason.job], reason, free, first=place == 0) for place, reason in enumerate(waiting)]


def _start(job: Job, reason: Reason, whole: Capacity, free: Capacity) -> Decision:
    if lack := lacking(job.spec.resources, free):
        told = f"waits on engine '{job.engine}' for room that another job is giving up: it asks for {lack} free"
        return Decision(job=job.id, verdict=Verdict.WAIT, code="making_room", reason=told, unblocks="That job's end.")
    room = f"engine '{job.engine}' had {free.cpus:g} of {whole.cpus:g} CPUs and {free.memory_gib:.1f} GiB free"
    how = {"started": "first in its queue", "backfilled": "it delays none that is promised a start"}.get(reason.code, reason.why)
    told = f"{room}; {how}"
    return Decision(job=job.id, verdict=Verdict.START, code=reason.code, reason=told)


def _wait(job: Job, reason: Reason, free: Capacity, *, first: bool) -> Decision:
    """Return why a job waits. A pass that found nothing free looked at no job; then the first of them waits for room like any other."""
    lack, code = lacking(job.spec.resources, free), reason.code
    if code == "behind" and first and lack:
        code = "no_room"
    if code == "behind":
        told, unblocks = f"waits its turn on engine '{job.engine}', behind jobs that come before it", "The jobs ahead of it starting."
    elif code in NO_ROOM and lack:
        told, unblocks = f"waits on engine '{job.engine}': it asks for {lack} free", "Running jobs ending."
    else:
        told, unblocks = f"waits on engine '{job.engine}': {reason.why}", reason.unblocks
    return Decision(job=job.id, verdict=Verdict.WAIT, code=code, reason=told, unblocks=unblocks)
