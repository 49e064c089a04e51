"""Decisions over engines: never more than there is, first come first served by default, quotas, room that is being given up, words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.deciding import ROUTINE, Decision, Verdict, decisions
from headwater.compute.jobs import Job, Spec, State
from headwater.compute.policy_file import load_for_live
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.policy import Policy, load, parse, shipped_names
from headwater.compute.situation import Facts
from headwater.compute.work import Capacity
from headwater.core.errors import BadInput
from headwater.core.steps import Resources


def decides_live(policy: str) -> bool:
    try:
        load_for_live(policy)
    except BadInput:
        return False
    return True


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HALL = {
    "local": Capacity(cpus=4, memory_gib=8, accelerators={"h20": 2, "mlu590": 1}),
    "platform": Capacity(cpus=2, memory_gib=8),
}
LIVE = [name for name in shipped_names() if decides_live(name)]
REFUSED = sorted(set(shipped_names()) - set(LIVE))
BY_PRIORITY = parse('name = "p"\n[order]\nby = "priority"\n[backfill]\nkind = "skip"\n[preemption]\nwhen = "by_priority"\n', "p.toml")


def job(name: str, asked: Resources, *, engine: str = "local", state: State = State.QUEUED, organisation: str = "city", at: int = 0) -> Job:
    return Job(
        id=name, graph="g", name=name, position=at, organisation=organisation, submitted_by="li", step=None,
        spec=Spec(argv=("true",), params={}, inputs={}, resources=asked), state=state, reason="", engine=engine, place="",
        attempt=int(state is State.RUNNING), reuse_key=None, reused_from=None, result=None, error=None, usage=None, devices=None,
        submitted_at=NOW - timedelta(minutes=10), started_at=NOW - timedelta(minutes=5) if state is State.RUNNING else None,
        ended_at=None, cancel_asked_by=None, decision=None, attained_s=0.0, preempted_for=None, preemptions=0,
    )  # fmt: skip


def facts(queued: list[Job], active: list[Job] | None = None, policy: str | Policy = "fifo", quotas: tuple[Quota, ...] = ()) -> Facts:
    chosen = load(policy) if isinstance(policy, str) else policy
    return Facts(now=NOW, queued=queued, active=active or [], capacity=HALL, quotas=quotas, policy=chosen)


def by_job(made: tuple[Decision, ...]) -> dict[str, Decision]:
    return {one.job: one for one in made}


resources = st.builds(
    Resources,
    cpus=st.sampled_from([0.3, 0.5, 1, 2, 3, 4.4]),
    memory_gib=st.sampled_from([0.1, 1, 3.3, 9]),
    accelerators=st.dictionaries(st.sampled_from(["h20", "mlu590", "none"]), st.integers(0, 3), max_size=2),
    priority=st.sampled_from([0.0, 1.0]),
    checkpoint_s=st.sampled_from([None, 0.0, 60.0]),
)
queues = st.lists(st.tuples(resources, st.sampled_from(["local", "platform"]), st.sampled_from(["city", "city/a", "city/b"])), max_size=10)


def fitting(running: list[Resources]) -> list[Resources]:
    """Return as many of some jobs, from the first, as fit an empty hall together."""
    kept: list[Resources] = []
    for one in running:
        if sum(count > 0 for count in one.accelerators.values()) <= 1 and fits([*kept, one], "local"):
            kept.append(one)
    return kept


def fits(together: list[Resources], engine: str) -> bool:
    there, slack = HALL[engine], 1e-6
    chips = {chip for one in together for chip in one.accelerators}
    return (
        sum(one.cpus for one in together) <= there.cpus + slack
        and sum(one.memory_gib for one in together) <= there.memory_gib + slack
        and all(sum(one.accelerators.get(chip, 0) for one in together) <= there.accelerators.get(chip, 0) for chip in chips)
    )


@given(queues, st.lists(resources, max_size=4), st.sampled_from([*LIVE, "by priority"]))
def test_no_policy_starts_more_than_there_is(asked: list[tuple[Resources, str, str]], running: list[Resources], policy: str) -> None:
    queued = [job(f"j{at}", one, engine=engine, organisation=owner, at=at) for at, (one, engine, owner) in enumerate(asked)]
    active = [job(f"r{at}", one, state=State.RUNNING, at=100 + at) for at, one in enumerate(fitting(running))]
    chosen = BY_PRIORITY if policy == "by priority" else load(policy)
    made = by_job(decisions(facts(queued, active, policy=chosen)))
    for engine in HALL:
        starting = [one.spec.resources for one in queued if one.engine == engine and made[one.id].verdict is Verdict.START]
        held = [one.spec.resources for one in active if one.engine == engine]
        assert fits([*held, *starting], engine)


@given(queues)
def test_by_default_nobody_starts_before_an_earlier_job_of_its_engine_that_could_run(asked: list[tuple[Resources, str, str]]) -> None:
    queued = [job(f"j{at}", one, engine=engine, organisation=owner, at=at) for at, (one, engine, owner) in enumerate(asked)]
    made = by_job(decisions(facts(queued)))
    for engine in HALL:
        verdicts = [made[one.id].verdict for one in queued if one.engine == engine]
        possible = [one for one in verdicts if one is not Verdict.NEVER]
        assert possible == sorted(possible, key=lambda one: one is Verdict.WAIT)
        assert not possible or possible[0] is Verdict.START


def test_accelerators_and_cpus_are_taken_from_the_same_host() -> None:
    training, cleaning = job("t", Resources(cpus=3, accelerators={"h20": 1}), at=0), job("c", Resources(cpus=2), at=1)
    made = by_job(decisions(facts([training, cleaning])))
    assert made["t"].verdict is Verdict.START
    assert made["c"].verdict is Verdict.WAIT
    assert "asks for 2 CPUs where 1 are free" in made["c"].reason


def test_jobs_that_need_different_things_most_run_together() -> None:
    cpus, memory = job("c", Resources(cpus=3.5, memory_gib=0.5)), job("m", Resources(cpus=0.5, memory_gib=7.5))
    assert {one.verdict for one in decisions(facts([cpus, memory]))} == {Verdict.START}


def test_a_job_stopped_for_another_is_named_with_it_and_its_room_is_waited_for() -> None:
    low = job("low", Resources(cpus=4, checkpoint_s=0.0), state=State.RUNNING)
    high = job("high", Resources(cpus=4, priority=1.0), at=1)
    made = by_job(decisions(facts([high], [low], policy=BY_PRIORITY)))
    assert (made["low"].verdict, made["low"].other) == (Verdict.STOP, "high")
    assert (made["high"].verdict, made["high"].code) == (Verdict.WAIT, "making_room")
    stopping = replace(low, preempted_for="high")
    made = by_job(decisions(facts([high], [stopping], policy=BY_PRIORITY)))
    assert (set(made), made["high"].code) == ({"high"}, "making_room")


def test_a_quota_holds_down_the_tree_and_is_told_with_its_figures() -> None:
    quotas = (Quota(organisation="city/a", units=2, may_borrow=False),)
    running = job("r", Resources(cpus=1.5), state=State.RUNNING, organisation="city/a/lab")
    queued = [job("more", Resources(cpus=1), organisation="city/a"), job("other", Resources(cpus=1), organisation="city/b", at=1)]
    made = by_job(decisions(facts(queued, [running], policy="easy", quotas=quotas)))
    assert (made["more"].verdict, made["more"].code) == (Verdict.WAIT, "over_quota")
    assert "city/a" in made["more"].reason
    assert made["other"].verdict is Verdict.START


def test_a_quota_does_not_hold_back_a_step_inside_the_platform() -> None:
    quotas = (Quota(organisation="city", units=0, may_borrow=False),)
    made = by_job(decisions(facts([job("p", Resources(), engine="platform"), job("l", Resources())], policy="headwater", quotas=quotas)))
    assert (made["p"].verdict, made["l"].code) == (Verdict.START, "over_quota")


def test_a_start_says_what_was_free() -> None:
    (made,) = decisions(facts([job("a", Resources(cpus=3))]))
    assert made.reason == "engine 'local' had 4 of 4 CPUs and 8.0 GiB free; first in its queue"


def test_an_engine_that_shrank_under_its_jobs_starts_no_more_until_they_end() -> None:
    running = job("r", Resources(cpus=7, memory_gib=20, accelerators={"h20": 5}), state=State.RUNNING)
    (made,) = decisions(facts([job("a", Resources(cpus=0.5))], [running]))
    assert made.verdict is Verdict.WAIT
    assert "0.5 CPUs where 0 are free" in made.reason


def test_a_policy_that_needs_what_only_a_trace_knows_does_not_decide_here() -> None:
    assert {"easy_exact", "srsf", "srtf", "shortest"} <= set(REFUSED)
    assert {"fifo", "easy", "fair_share", "headwater", "conservative"} <= set(LIVE)


def test_a_job_waits_for_an_engine_that_has_no_node_up() -> None:
    given = replace(facts([job("a", Resources())]), capacity={"local": Capacity(cpus=0, memory_gib=0)})
    (made,) = decisions(given)
    assert (made.verdict, made.code) == (Verdict.WAIT, "engine_down")


def test_jobs_wait_whose_organisation_or_one_above_has_spent_its_budget_and_steps_inside_do_not() -> None:
    small = Resources(cpus=0.5, memory_gib=0.1)
    told = [
        job("mine", small, organisation="city/a"),
        job("below", small, organisation="city/a/lab"),
        job("beside", small, organisation="city/ab"),
        job("inside", small, organisation="city/a", engine="platform"),
    ]
    made = by_job(decisions(replace(facts(told), spent={"city/a": "city/a has spent its budget"})))
    assert {name: one.verdict for name, one in made.items()} == {
        "mine": Verdict.WAIT,
        "below": Verdict.WAIT,
        "beside": Verdict.START,
        "inside": Verdict.START,
    }
    assert (made["below"].code, made["below"].reason) == ("budget_spent", "waits: city/a has spent its budget")


def test_what_waits_in_a_deep_queue_is_decided_alike_and_not_written_down():
    queued = [job(name, Resources(cpus=3), at=place) for place, name in enumerate("abc")]
    told, untold = decisions(facts(queued)), decisions(replace(facts(queued), wordless=ROUTINE))
    assert [(one.job, one.verdict) for one in untold] == [(one.job, one.verdict) for one in told]
    assert [bool(one.reason) for one in untold] == [True, False, False]
    assert {one.code for one in (*told[1:], *untold[1:])} <= ROUTINE
