"""Why a job is where it is: why it runs there, or why it waits, what would unblock it, and what to expect.

Anyone with the database may ask: the engines are those that the dispatcher noted last, and a queued job's reason is decided anew
by the policy of the settings, over the state as it is.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from headwater.compute import deciding, jobs
from headwater.compute.deciding import Decision, Verdict
from headwater.compute.expecting import Expectation, expected_end, expected_start
from headwater.compute.jobs import ENDS, GOOD_ENDS, Job, State
from headwater.compute.judging import Judge
from headwater.compute.situation import Facts
from headwater.core.errors import BadInput, NotFound
from headwater.core.platform import Platform

LOOKED_AT = 500


class ExpectationView(BaseModel):
    """A moment to expect; null where it is not known, and `basis` says why."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime | None = Field(None, examples=["2026-01-31T08:05:00Z"])
    earliest: datetime | None = None
    latest: datetime | None = None
    basis: str = Field(description="What it rests on, or why it is not known.")


class RunTimeView(BaseModel):
    """The run time expected of a job, from like jobs that ended before."""

    model_config = ConfigDict(from_attributes=True)

    p10_s: float = Field(description="One in ten is shorter.")
    p50_s: float = Field(examples=[41.5])
    p90_s: float = Field(description="One in ten is longer.")
    basis: str = Field(description="What is alike in the jobs that it rests on.", examples=["user, name and shape"])
    runs: int = Field(description="How many it rests on.")


class WhyView(BaseModel):
    """Why a job is where it is."""

    job: str = Field(examples=["credit-1f2e3d4c.train"])
    state: State
    code: str = Field(description="The reason in one word, for programs.", examples=["no_room"])
    why: str
    unblocks: str = Field("", description="What would let it start; empty for one that does not wait.")
    where: str = Field("", description="The engine, and why it runs there.")
    policy: str = Field("", description="The policy that decided.", examples=["fifo"])
    ahead: int | None = Field(None, description="Queued jobs of its engine that were handed in before it.")
    expected_start: ExpectationView | None = None
    expected_end: ExpectationView | None = None
    run_time: RunTimeView | None = None
    problem: str = Field("", description="What is wrong with the policy file as it is now, where it is not used.")


def why(platform: Platform, connection: Connection, job: Job, *, judge: Judge | None = None) -> WhyView:
    """Return why a job is where it is; `judge` is the dispatcher's, where one runs in this process."""
    if job.state is State.WAITING:
        return _needs(connection, job)
    if job.state in ENDS:
        return _ended(job)
    try:
        judge = judge or Judge(platform.settings)
    except (BadInput, NotFound) as error:  # a dispatcher goes on with the policy that it read before
        return _recorded(job, str(error))
    if job.state is State.QUEUED:
        return _queued(platform, connection, job, judge)
    return _on_engine(connection, job, judge)


def _needs(connection: Connection, job: Job) -> WhyView:
    open_jobs = [one for one in jobs.needed_by(connection, job.id) if one.state not in GOOD_ENDS]
    listed = ", ".join(f"'{one.name}' ({one.state})" for one in open_jobs)
    return WhyView(
        job=job.id,
        state=job.state,
        code="needs",
        why=f"needs {listed}, which must succeed first",
        unblocks="Their success; see why they wait.",
    )


def _ended(job: Job) -> WhyView:
    took = f" after {job.took_s:.1f} s" if job.took_s is not None and job.state is not State.REUSED else ""
    where = f"{job.engine}: {job.place}" if job.place else job.engine
    told = job.reason if job.state is not State.DONE else "it ran to its end"
    return WhyView(job=job.id, state=job.state, code=str(job.state), why=f"{told}{took}", where=where, policy=_policy_of(job))


def _on_engine(connection: Connection, job: Job, judge: Judge) -> WhyView:
    expected = judge.expected(connection, [job]).get(job.id)
    told = job.decision or {}
    code, reason = str(told.get("code", "started")), str(told.get("why", job.reason))
    if job.preempted_for is not None:
        code, reason = "making_room", f"it is being stopped to make room for {job.preempted_for}, and waits again then"
    return WhyView(
        job=job.id,
        state=job.state,
        code=code,
        why=reason,
        where=job.engine,
        policy=_policy_of(job),
        expected_end=ExpectationView.model_validate(expected_end(job, expected)),
        run_time=None if expected is None else RunTimeView.model_validate(expected),
    )


def _recorded(job: Job, problem: str) -> WhyView:
    """Return what the dispatcher recorded last, where the policy file cannot be read."""
    told = job.decision or {}
    code, reason, unblocks = (str(told.get(key, "")) for key in ("code", "why", "unblocks"))
    return WhyView(
        job=job.id, state=job.state, code=code, why=reason or job.reason, unblocks=unblocks, policy=_policy_of(job), problem=problem
    )


def _queued(platform: Platform, connection: Connection, job: Job, judge: Judge) -> WhyView:
    facts = _facts(platform, connection, job, judge)
    one, start = _decided(facts, job)
    expected = facts.expected.get(job.id)
    return WhyView(
        job=job.id,
        state=job.state,
        code=one.code,
        why=one.reason,
        unblocks=one.unblocks,
        policy=facts.policy.name,
        ahead=sum(other.engine == job.engine and _before(other, job) for other in facts.queued),
        expected_start=ExpectationView.model_validate(start),
        run_time=None if expected is None else RunTimeView.model_validate(expected),
        problem=judge.file.problem,
    )


def _decided(facts: Facts, job: Job) -> tuple[Decision, Expectation]:
    """Return what the policy decides about a queued job now, and when it can be expected to start."""
    if not facts.capacity:
        nowhere = Decision(
            job=job.id, verdict=Verdict.WAIT, code="no_server", reason="no server has run here yet", unblocks="Starting one: headwater up."
        )
        return nowhere, Expectation(basis="no server runs")
    one = next(one for one in deciding.decisions(facts) if one.job == job.id)
    if one.verdict is Verdict.START:
        told = replace(one, reason="nothing holds it back", unblocks="The dispatcher's next look at the queue.")
        return told, Expectation(at=facts.now, earliest=facts.now, latest=facts.now, basis="it fits now")
    if one.verdict is Verdict.NEVER:
        return one, Expectation(basis="it could never run there")
    if one.code == deciding.BUDGET_SPENT:
        return one, Expectation(basis="nothing says when its organisation has a budget again")
    if one.code in deciding.CLOSED:
        return one, Expectation(basis=one.reason)
    return one, expected_start(deciding.funded(facts), job)


def _facts(platform: Platform, connection: Connection, job: Job, judge: Judge) -> Facts:
    queued = jobs.in_states(connection, {State.QUEUED}, limit=LOOKED_AT)
    queued = queued if any(one.id == job.id for one in queued) else (*queued, job)
    return judge.facts(connection, queued=queued, now=platform.clock.now())


def _before(one: Job, other: Job) -> bool:
    return (one.submitted_at, one.graph, one.position) < (other.submitted_at, other.graph, other.position)


def _policy_of(job: Job) -> str:
    return str((job.decision or {}).get("policy", ""))
