"""All that one decision is made from, and the decision: the same for the dispatcher, for `why`, and for a replay in the twin. Pure.

Engines are decided for in groups: each by itself, or all sites together as soon as a job waits that may go to any of them; the
others' running jobs count only in the quotas. Steps inside the platform are first come, first served, and outside quotas: they are
short, cannot be stopped, and end what others have begun.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from headwater.compute import pool, quotas
from headwater.compute.jobs import ANYWHERE, Job
from headwater.compute.prediction import kind_of
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.decide import Plan, decide
from headwater.compute.scheduler.policy import Policy, load
from headwater.compute.scheduler.prediction import RunTime
from headwater.compute.scheduler.shapes import ANYTHING, Needs, QueueShape, Request, SiteShape
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
    held = {name: [job.spec.resources for job in running if job.engine == name] for name in facts.capacity}
    there = {name: pool.at_least(NOTHING if name in facts.closed else whole, held[name]) for name, whole in facts.capacity.items()}
    lanes = {name: 0 if name in group else 1 for name in (ANYWHERE, *facts.capacity)}
    told = sorted([*running, *waiting], key=lambda job: (job.submitted_at, job.graph, job.position))
    if len(running) > MOST_TOLD and sums_are_enough(policy):
        return _summed(facts, group, policy, running, waiting, there, lanes)
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


def held(running: Iterable[Job]) -> dict[str, float]:
    """Return the normalised units that jobs hold, by organisation: its own and all below it."""
    found: dict[str, float] = defaultdict(float)
    for job in running:
        if job.engine != INSIDE:
            found[job.organisation] += pool.normalised_units(job.spec.resources)
    for organisation, units in list(found.items()):
        for path in lineage(organisation)[:-1]:
            found[path] += units
    return dict(found)


def _summed(
    facts: Facts,
    group: frozenset[str],
    policy: Policy,
    running: Sequence[Job],
    waiting: Sequence[Job],
    there: Mapping[str, Capacity],
    lanes: Mapping[str, int],
) -> Situation:
    """Return the same inputs with running jobs summed up: one for each row and each organisation that has jobs waiting or is above one.

    What other organisations hold counts for the nearest above them that is listed: it takes part in its quota, and of those that do
    not wait nothing is decided. So a decision's cost hangs on what waits, not on all that runs.
    """
    paths = {path for job in waiting for path in lineage(job.organisation)}
    sums: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    for job in running:
        asked = job.spec.resources
        queue = None if job.engine == INSIDE else next((path for path in reversed(lineage(job.organisation)) if path in paths), None)
        sum_ = sums[pool.row_of(job.engine, asked), queue]
        sum_[0] += pool.units_of(asked)
        sum_[1] += pool.cpu_milli(asked)
        sum_[2] += pool.memory_mib(asked)
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


def plan(given: Situation) -> Plan:
    """Return what the policy decides in a situation."""
    with interpreted():
        return decide(given.requests, given.sites, given.policy, given.now_s, given.queues)


def _request(job: Job, facts: Facts, policy: Policy, lane: int) -> Request:
    asked, row = job.spec.resources, None if job.engine == ANYWHERE else pool.row_of(job.engine, job.spec.resources)
    started = job.started_at if job in facts.active else None
    ran_s = max((facts.now - started).total_seconds(), 0.0) if started is not None else 0.0
    return Request(
        name=job.id,
        submit_s=job.submitted_at.timestamp(),
        units=pool.units_of(asked),
        estimate_s=estimate_s(job, facts, policy),
        kind=kind_of(job),
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
