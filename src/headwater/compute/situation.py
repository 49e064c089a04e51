"""All that one decision is made from, and the decision: the same for the dispatcher, for `why`, and for a replay in the twin. Pure.

Engines are decided for in groups: each by itself, or all sites together as soon as a job waits that may go to any of them; the
others' running jobs count only in the quotas. Steps inside the platform are first come, first served, and outside quotas: they are
short, cannot be stopped, and end what others have begun.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from headwater.compute import pool, quotas
from headwater.compute.jobs import ANYWHERE, ON_ENGINE, Job
from headwater.compute.prediction import kind_of
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.decide import Plan, decide
from headwater.compute.scheduler.policy import Policy, load
from headwater.compute.scheduler.prediction import RunTime
from headwater.compute.scheduler.shapes import ANYTHING, Needs, QueueShape, Request, SiteShape
from headwater.compute.scheduler.why import NO_CODES
from headwater.compute.usage import lineage
from headwater.compute.work import Capacity

INSIDE = "platform"
NOTHING = Capacity(cpus=0.0, memory_gib=0.0)
NO_TAGS: frozenset[str] = frozenset()
MOST_TOLD = 64
"""Running jobs that a decision is told one by one, where their sums would do."""
NO_CHECKPOINT_S = 1e12
"""Between checkpoints of a job that makes none: longer than any run, so that a stop loses all its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The scheduler's inputs at one moment for a group of engines; times are seconds since 1970."""

    engines: frozenset[str]
    requests: tuple[Request, ...]
    sites: tuple[SiteShape, ...]
    queues: tuple[QueueShape, ...]
    policy: Policy
    now_s: float


class Sums:
    """What jobs hold, by row of the scheduler's sites and organisation: units, thousandths of CPUs, MiB.

    Jobs that are stopping to make room count for what is free, and not for the plan: what they leave is what is planned.
    """

    def __init__(self) -> None:
        """Count nothing yet."""
        self.planned: dict[tuple[str, str], list[int]] = {}
        self.stopping: dict[tuple[str, str], list[int]] = {}

    def add(self, job: Job, sign: int = 1) -> None:
        """Count a job on an engine, or with -1 take it off."""
        asked, kind = job.spec.resources, self.planned if job.preempted_for is None else self.stopping
        key = pool.row_of(job.engine, asked), job.organisation
        sums = kind.setdefault(key, [0, 0, 0])
        sums[0] += sign * pool.units_of(asked)
        sums[1] += sign * pool.cpu_milli(asked)
        sums[2] += sign * pool.memory_mib(asked)
        if not any(sums):
            del kind[key]

    def plus(self, more: Iterable[Job]) -> Sums:
        """Return these sums with more jobs."""
        made = Sums()
        made.planned = {key: list(sums) for key, sums in self.planned.items()}
        made.stopping = self.stopping
        for job in more:
            made.add(job)
        return made

    def held(self, engine: str, *, stopping: bool) -> Capacity:
        """Return what is held of an engine, with or without what stopping jobs hold."""
        cpu = memory = 0
        chips: dict[str, int] = {}
        for (row, _), (units, cpu_milli, memory_mib) in [*self.planned.items(), *(self.stopping.items() if stopping else ())]:
            name, _, chip = row.partition("/")
            if name == engine:
                cpu, memory = cpu + cpu_milli, memory + memory_mib
                if chip:
                    chips[chip] = chips.get(chip, 0) + units
        return Capacity(cpus=cpu / pool.MILLI, memory_gib=memory / pool.MIB_A_GIB, accelerators=chips)

    def by_organisation(self) -> dict[str, float]:
        """Return the normalised units that are held, by organisation: its own and all below it."""
        found: dict[str, float] = defaultdict(float)
        for (row, organisation), (units, _, _) in [*self.planned.items(), *self.stopping.items()]:
            if row != INSIDE:
                for path in lineage(organisation):
                    found[path] += units if "/" in row else units / pool.MILLI
        return dict(found)


def sums_of(active: Iterable[Job]) -> Sums:
    """Return what jobs on engines hold."""
    made = Sums()
    for job in active:
        made.add(job)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the platform when decisions are made."""

    now: datetime
    queued: Sequence[Job]
    active: Sequence[Job]
    """On engines. Those that are stopping to make room hold nothing in the plan: what they leave is what is planned."""
    capacity: Mapping[str, Capacity]
    quotas: Sequence[Quota]
    policy: Policy
    expected: Mapping[str, RunTime] = field(default_factory=dict)
    """Predicted run times by job, where the policy or the question asks for them."""
    used: Mapping[str, float] = field(default_factory=dict)
    """Decayed use by organisation, where the policy shares by it."""
    closed: Mapping[str, str] = field(default_factory=dict)
    """Why an engine starts nothing now, by engine."""
    residency: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The tags that sites carry."""
    spent: Mapping[str, str] = field(default_factory=dict)
    """What those wait for whose organisation has spent its budget, by organisation."""
    sums: Sums | None = None
    """What active jobs hold in all, where that is counted as they come and go."""
    wordless: frozenset[str] = NO_CODES
    """Codes of jobs that wait whose reasons nobody reads: they are given without words."""

    def all_held(self) -> Sums:
        """Return what active jobs hold in all."""
        return self.sums if self.sums is not None else sums_of(self.active)

    def started(self, more: Sequence[Job]) -> Facts:
        """Return these facts with more jobs on engines, which wait no longer."""
        ids = {job.id for job in more}
        sums = None if self.sums is None else self.sums.plus(more)
        return replace(self, active=(*self.active, *more), queued=tuple(job for job in self.queued if job.id not in ids), sums=sums)


def groups(facts: Facts) -> tuple[frozenset[str], ...]:
    """Return the engines for which jobs wait, in the groups that are decided for together."""
    asked = {job.engine for job in facts.queued}
    if ANYWHERE not in asked:
        return tuple(frozenset({name}) for name in sorted(asked))
    together = frozenset({ANYWHERE, *facts.capacity, *asked}) - {INSIDE}
    return (together, frozenset({INSIDE})) if INSIDE in asked else (together,)


def group_of(facts: Facts, engine: str) -> frozenset[str]:
    """Return the group that an engine for which a job waits is decided for in."""
    return next((group for group in groups(facts) if engine in group), frozenset({engine}))


def situation(facts: Facts, group: frozenset[str]) -> Situation:
    """Return the scheduler's inputs for a group of engines."""
    policy = load("fifo") if INSIDE in group else facts.policy
    waiting = [job for job in facts.queued if job.engine in group]
    running = [job for job in facts.active if job.engine in facts.capacity and job.preempted_for is None]
    sums = facts.all_held()
    there = {
        name: pool.at_least(NOTHING if name in facts.closed else whole, sums.held(name, stopping=False))
        for name, whole in facts.capacity.items()
    }
    lanes = {name: 0 if name in group else 1 for name in (ANYWHERE, *facts.capacity)}
    if len(running) > MOST_TOLD and sums_are_enough(policy):
        return _summed(facts, group, policy, waiting, there, lanes)
    told = sorted([*running, *waiting], key=lambda job: (job.submitted_at, job.graph, job.position))
    return Situation(
        engines=group,
        requests=tuple(_request(job, facts, policy, lanes[job.engine]) for job in told),
        sites=_rows(facts, there, lanes),
        queues=quotas.queues(facts.quotas, [job.organisation for job in told], facts.used),
        policy=policy,
        now_s=facts.now.timestamp(),
    )


def sums_are_enough(policy: Policy) -> bool:
    """Tell whether a policy asks of running jobs only how much they hold: it stops none, and looks at no run times."""
    plain = policy.order.by in ("fifo", "priority", "fair_share") and policy.backfill.kind in ("none", "skip")
    return plain and policy.preemption.when == "never" and policy.estimates.source == "nothing"


def _summed(
    facts: Facts,
    group: frozenset[str],
    policy: Policy,
    waiting: Sequence[Job],
    there: Mapping[str, Capacity],
    lanes: Mapping[str, int],
) -> Situation:
    """Return the same inputs with running jobs summed up: one for each row and each organisation that has jobs waiting or is above one.

    What other organisations hold counts for the nearest above them that is listed: it takes part in its quota, and of those that do
    not wait nothing is decided. So a decision's cost hangs on what waits, not on all that runs.
    """
    paths = {path for job in waiting for path in lineage(job.organisation)}
    sums: dict[tuple[str, str | None], list[int]] = {}
    for (row, organisation), held in facts.all_held().planned.items():
        if row.partition("/")[0] in facts.capacity:
            queue = None if row == INSIDE else next((path for path in reversed(lineage(organisation)) if path in paths), None)
            before = sums.get((row, queue), (0, 0, 0))
            sums[row, queue] = [one + other for one, other in zip(before, held, strict=True)]
    now_s = facts.now.timestamp()
    summed = [
        Request(
            name=f"held on {row} by {queue}",
            submit_s=now_s,
            units=units,
            lane=lanes[row.partition("/")[0]],
            queue=queue,
            home=row,
            cpu_milli=cpu,
            memory_mib=memory,
            site=row,
            started_s=now_s,
        )
        for (row, queue), (units, cpu, memory) in sums.items()
    ]
    told = sorted(waiting, key=lambda job: (job.submitted_at, job.graph, job.position))
    return Situation(
        engines=group,
        requests=(*summed, *(_request(job, facts, policy, lanes[job.engine]) for job in told)),
        sites=_rows(facts, there, lanes),
        queues=quotas.queues([one for one in facts.quotas if one.organisation in paths], paths, facts.used),
        policy=policy,
        now_s=now_s,
    )


def _rows(facts: Facts, there: Mapping[str, Capacity], lanes: Mapping[str, int]) -> tuple[SiteShape, ...]:
    tags = facts.residency
    return tuple(row for name, whole in sorted(there.items()) for row in pool.rows(name, whole, lanes[name], tags.get(name, NO_TAGS)))


def plan(given: Situation, wordless: frozenset[str] = NO_CODES) -> Plan:
    """Return what the policy decides in a situation; reasons of the codes in `wordless` are given without words."""
    with interpreted():
        return decide(given.requests, given.sites, given.policy, given.now_s, given.queues, wordless=wordless)


def _request(job: Job, facts: Facts, policy: Policy, lane: int) -> Request:
    asked, row = job.spec.resources, None if job.engine == ANYWHERE else pool.row_of(job.engine, job.spec.resources)
    started = job.started_at if job.state in ON_ENGINE else None
    ran_s = max((facts.now - started).total_seconds(), 0.0) if started is not None else 0.0
    return Request(
        name=job.id,
        submit_s=job.submitted_at.timestamp(),
        units=pool.units_of(asked),
        estimate_s=estimate_s(job, facts, policy),
        kind="" if sums_are_enough(policy) else kind_of(job),
        lane=lane,
        queue=None if job.engine == INSIDE else job.organisation,
        home=row,
        needs=ANYTHING if row is not None else Needs(chips=(pool.chip_of(asked),), residency=frozenset(asked.residency)),
        priority=asked.priority,
        deadline_s=None if asked.deadline_s is None else job.submitted_at.timestamp() + asked.deadline_s,
        checkpoint_s=NO_CHECKPOINT_S if asked.checkpoint_s is None else asked.checkpoint_s,
        cpu_milli=pool.cpu_milli(asked),
        memory_mib=pool.memory_mib(asked),
        site=row if started is not None else None,
        started_s=started.timestamp() if started is not None else None,
        attained_s=job.attained_s + ran_s,
        starts=job.attempt,
    )


def estimate_s(job: Job, facts: Facts, policy: Policy) -> float | None:
    """Return what the policy is told of a job's run time: nothing, the user's limit, or what was predicted."""
    if policy.estimates.source == "user":
        return job.spec.resources.wall_s
    if policy.estimates.source == "history" and job.id in facts.expected:
        return facts.expected[job.id].p50_s
    return None
