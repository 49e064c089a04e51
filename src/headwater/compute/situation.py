"""All that one decision is made from, and the decision: the same for the dispatcher, for `why`, and for a replay in the twin. Pure.

Each engine is decided for by itself; the others' running jobs count only in the quotas. Steps inside the platform are first come,
first served, and outside quotas: they are short, cannot be stopped, and end what others have begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from headwater.compute import pool, quotas
from headwater.compute.jobs import Job
from headwater.compute.prediction import kind_of
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.decide import Plan, decide
from headwater.compute.scheduler.policy import Policy, load
from headwater.compute.scheduler.prediction import RunTime
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.work import Capacity

INSIDE = "platform"
NO_CHECKPOINT_S = 1e12
"""Between checkpoints of a job that makes none: longer than any run, so that a stop loses all its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The scheduler's inputs at one moment for one engine; times are seconds since 1970."""

    engine: str
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
    spent: Mapping[str, str] = field(default_factory=dict)
    """What those wait for whose organisation has spent its budget, by organisation."""


def situation(facts: Facts, engine: str) -> Situation:
    """Return the scheduler's inputs for one engine."""
    policy = load("fifo") if engine == INSIDE else facts.policy
    waiting = [job for job in facts.queued if job.engine == engine]
    running = [job for job in facts.active if job.engine in facts.capacity and job.preempted_for is None]
    held = {name: [job.spec.resources for job in running if job.engine == name] for name in facts.capacity}
    there = {name: pool.at_least(whole, held[name]) for name, whole in facts.capacity.items()}
    lanes = {name: 0 if name == engine else 1 for name in facts.capacity}
    told = sorted([*running, *waiting], key=lambda job: (job.submitted_at, job.graph, job.position))
    return Situation(
        engine=engine,
        requests=tuple(_request(job, facts, policy, lanes[job.engine]) for job in told),
        sites=tuple(row for name, whole in sorted(there.items()) for row in pool.rows(name, whole, lanes[name])),
        queues=quotas.queues(facts.quotas, [job.organisation for job in told], facts.used),
        policy=policy,
        now_s=facts.now.timestamp(),
    )


def plan(given: Situation) -> Plan:
    """Return what the policy decides in a situation."""
    with interpreted():
        return decide(given.requests, given.sites, given.policy, given.now_s, given.queues)


def _request(job: Job, facts: Facts, policy: Policy, lane: int) -> Request:
    asked, row = job.spec.resources, pool.row_of(job.engine, job.spec.resources)
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
