"""What becomes of each queued job now: the policy's plan, held against what is really free. Pure.

The plan comes from the scheduler's core and never gives out more than there is. Two things remain here: a job that could never run
where it is sent is refused, and a start whose room is still being given up by a job that stops waits until it is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from headwater.compute import pool
from headwater.compute.admission import lacking, less, never
from headwater.compute.jobs import ANYWHERE, Job, State
from headwater.compute.scheduler.decide import Plan
from headwater.compute.scheduler.why import Reason
from headwater.compute.settlement import budgets
from headwater.compute.situation import INSIDE, NO_TAGS, Facts, Situation, groups, plan, situation
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
    """What is to become of a job now, and why. `unblocks` is for one that waits; `other` the job that one is stopped for.

    One that waits and of which nobody is to be told has an empty `reason`.
    """

    job: str
    verdict: Verdict
    code: str
    reason: str
    unblocks: str = ""
    other: str | None = None
    site: str = ""
    """The engine that one starts on."""


BUDGET_SPENT = "budget_spent"
NO_ROOM = frozenset({"no_room", "fragmented", "no_host_room"})
ROUTINE = frozenset({"behind", "over_quota", *NO_ROOM})
"""Codes of those that wait for their turn, room or quota, which is not written down for each job of a deep queue."""
CLOSED = frozenset({"engine_down", "site_closed", BUDGET_SPENT})
"""Codes of those that wait for a site as a whole, or for money, so that the policy is not asked about them."""

Heard = Callable[[Situation, Plan], None]


def unheard(given: Situation, planned: Plan) -> None:
    """Hear a plan and do nothing."""


def decisions(facts: Facts, heard: Heard = unheard) -> tuple[Decision, ...]:
    """Return a decision for every queued job, and for every running one that is to stop; `heard` is told each plan as it is made."""
    made = [one for job in facts.queued if (one := _not_asked(job, facts) or _barred(job, facts.spent)) is not None]
    settled = {one.job for one in made}
    facts = replace(facts, queued=tuple(job for job in facts.queued if job.id not in settled))
    together = groups(facts)
    for group in together:
        given = situation(facts, group)
        planned = plan(given, facts.wordless)
        heard(given, planned)
        fresh = _checked(facts, planned)
        made += fresh
        if group is together[-1]:
            break
        begun = {one.job: one.site for one in fresh if one.verdict is Verdict.START}
        facts = facts.started(
            [replace(job, state=State.STARTING, started_at=facts.now, engine=begun[job.id]) for job in facts.queued if job.id in begun]
        )
    return tuple(made)


def _not_asked(job: Job, facts: Facts) -> Decision | None:
    """Return what needs no scheduler to decide: sites that are closed or empty for now, and a job that could never run on its own."""
    if job.engine == ANYWHERE:
        return _nowhere(job, facts)
    if job.engine in facts.closed:
        reason = f"waits on site '{job.engine}', which {facts.closed[job.engine]}"
        return Decision(job=job.id, verdict=Verdict.WAIT, code="site_closed", reason=reason, unblocks="That site opening again.")
    if job.engine in facts.capacity and facts.capacity[job.engine].cpus <= 0:
        reason = f"waits on engine '{job.engine}', which has no node up"
        return Decision(job=job.id, verdict=Verdict.WAIT, code="engine_down", reason=reason, unblocks="A node of it coming back.")
    why = never(job.spec.resources, job.engine, facts.capacity)
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


def _nowhere(job: Job, facts: Facts) -> Decision | None:
    """Return what becomes of a job that may go to any site where none that is open could run it, even empty."""
    sites = {name: whole for name, whole in facts.capacity.items() if name != INSIDE}
    why = {name: never(job.spec.resources, name, sites) or _untagged(job, name, facts) for name in sites}
    down = {name: facts.closed.get(name, "has no node up") for name, whole in sites.items() if name in facts.closed or whole.cpus <= 0}
    if any(not told and name not in down for name, told in why.items()):
        return None
    if down:
        listed = "; ".join(f"'{name}' {told}" for name, told in sorted(down.items()))
        told = f"waits: no site that is open could run it, and of the others {listed}"
        return Decision(job=job.id, verdict=Verdict.WAIT, code="site_closed", reason=told, unblocks="One of those sites opening again.")
    told = "no site could ever run it: " + ("; ".join(why.values()) or "there is none")
    return Decision(job=job.id, verdict=Verdict.NEVER, code="never", reason=told)


def _untagged(job: Job, site: str, facts: Facts) -> str:
    lacking_tags = sorted(set(job.spec.resources.residency) - facts.residency.get(site, NO_TAGS))
    return f"site '{site}' does not carry {', '.join(lacking_tags)}" if lacking_tags else ""


def _checked(facts: Facts, planned: Plan) -> list[Decision]:
    """Return a group's plan as decisions, in its order, each start held against what is free once those before it have theirs."""
    room = Room(facts)
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
            made.append(_start(job, action.site.partition("/")[0], action.reason, room))
    made += [Decision(job=one.job, verdict=Verdict.NEVER, code=one.code, reason=one.why) for one in planned.never]
    waiting = [reason for reason in planned.waiting if known[reason.job].state is State.QUEUED]
    return made + [
        _unspoken(reason) if reason.code in facts.wordless else _wait(known[reason.job], reason, room, first=place == 0)
        for place, reason in enumerate(waiting)
    ]


class Room:
    """What is free on each engine, as starts are given their share of it."""

    def __init__(self, facts: Facts) -> None:
        """Count what active jobs hold."""
        self.whole = facts.capacity
        self.open = {name for name, whole in facts.capacity.items() if name not in (INSIDE, *facts.closed) and whole.cpus > 0}
        self._sums = facts.all_held()
        self._free: dict[str, Capacity] = {}

    def free(self, engine: str) -> Capacity:
        """Return what is free on an engine."""
        if engine not in self._free:
            self._free[engine] = less(self.whole[engine], self._sums.held(engine, stopping=True))
        return self._free[engine]

    def take(self, engine: str, job: Job) -> None:
        """Give a job its share."""
        self._free[engine] = less(self.free(engine), pool.total([job.spec.resources]))

    def lack(self, job: Job) -> str:
        """Return what a job asks for that is not free where it may go; nothing where all is, on one site at least."""
        if job.engine != ANYWHERE:
            return lacking(job.spec.resources, self.free(job.engine))
        found = {name: lacking(job.spec.resources, self.free(name)) for name in sorted(self.open)}
        return "" if "" in found.values() else "; ".join(f"{told} on '{name}'" for name, told in found.items())


def _start(job: Job, site: str, reason: Reason, room: Room) -> Decision:
    free, whole = room.free(site), room.whole[site]
    if lack := lacking(job.spec.resources, free):
        told = f"waits on engine '{site}' for room that another job is giving up: it asks for {lack} free"
        return Decision(job=job.id, verdict=Verdict.WAIT, code="making_room", reason=told, unblocks="That job's end.")
    there = f"engine '{site}' had {free.cpus:g} of {whole.cpus:g} CPUs and {free.memory_gib:.1f} GiB free"
    how = {"started": "first in its queue", "backfilled": "it delays none that is promised a start"}.get(reason.code, reason.why)
    room.take(site, job)
    return Decision(job=job.id, verdict=Verdict.START, code=reason.code, reason=f"{there}; {how}", site=site)


def _unspoken(reason: Reason) -> Decision:
    return Decision(job=reason.job, verdict=Verdict.WAIT, code=reason.code, reason="")


def _wait(job: Job, reason: Reason, room: Room, *, first: bool) -> Decision:
    """Return why a job waits. A pass that found nothing free looked at no job; then the first of them waits for room like any other."""
    lack, code = room.lack(job), reason.code
    where = "for any site" if job.engine == ANYWHERE else f"on engine '{job.engine}'"
    if code == "behind" and first and lack:
        code = "no_room"
    if code == "behind":
        told, unblocks = f"waits its turn {where}, behind jobs that come before it", "The jobs ahead of it starting."
    elif code in NO_ROOM and lack:
        told, unblocks = f"waits {where}: it asks for {lack} free", "Running jobs ending."
    else:
        told, unblocks = f"waits {where}: {reason.why}", reason.unblocks
    return Decision(job=job.id, verdict=Verdict.WAIT, code=code, reason=told, unblocks=unblocks)
