"""One decision: what starts, what waits, and the reasons in words; the same in the twin and out of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.decide import decide
from headwater.compute.scheduler.policy import check, load
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.trace import trace_of
from headwater.core.errors import BadInput

ONE = (SiteShape(name="one", node_units=(8, 8)),)
EASY = load("easy")


def waiting(name: str, units: int, submit_s: float = 0.0, estimate_s: float | None = 100.0, **more: object) -> Request:
    return Request(name=name, units=units, submit_s=submit_s, estimate_s=estimate_s, **more)  # type: ignore[arg-type]


def running(name: str, units: int, attained_s: float = 10.0, **more: object) -> Request:
    return Request(name=name, units=units, submit_s=0, estimate_s=100.0, site="one", started_s=0, attained_s=attained_s, starts=1, **more)  # type: ignore[arg-type]


def codes(plan) -> dict[str, str]:
    return {reason.job: reason.code for reason in (*plan.waiting, *(action.reason for action in plan.actions))}


def test_a_head_that_does_not_fit_is_promised_a_start_and_only_harmless_jobs_pass_it():
    plan = decide([running("r", 10), waiting("head", 16), waiting("long", 4, 1, 500.0), waiting("short", 4, 2, 50.0)], ONE, EASY, 10.0)
    assert [action.job for action in plan.actions] == ["short"]
    assert codes(plan) == {"head": "no_room", "long": "delays_head", "short": "backfilled"}


def test_reasons_name_the_figures_and_what_would_unblock():
    plan = decide([running("r", 10), waiting("head", 16)], ONE, EASY, 10.0)
    (reason,) = plan.waiting
    assert "16 units are asked" in reason.why
    assert "at most 6 are free" in reason.why
    assert reason.unblocks == "10 more free units on one site."


def test_a_reason_that_nobody_reads_has_no_words_and_changes_no_decision():
    requests = [running("r", 10), waiting("head", 16), waiting("long", 4, 1, 500.0), waiting("short", 4, 2, 50.0)]
    spoken, plan = decide(requests, ONE, EASY, 10.0), decide(requests, ONE, EASY, 10.0, wordless=frozenset({"no_room"}))
    assert plan.actions == spoken.actions
    assert codes(plan) == codes(spoken)
    assert {reason.job: bool(reason.why) for reason in plan.waiting} == {"head": False, "long": True}


def test_a_quota_is_named_with_what_it_holds():
    queues = (QueueShape(name="vision", quota=12, may_borrow=False),)
    plan = decide([running("r", 10, queue="vision"), waiting("more", 4, queue="vision")], ONE, EASY, 10.0, queues)
    (reason,) = plan.waiting
    assert reason.code == "over_quota"
    assert "vision holds 10 of its 12 units" in reason.why
    assert reason.unblocks.startswith("2 units of vision")


def test_free_units_spread_over_nodes_are_called_fragmented():
    policy = check({"name": "c", "placement": {"nodes": "consolidated"}}, "t")
    plan = decide([running("a", 5), running("b", 5), waiting("wide", 6)], ONE, policy, 10.0)
    assert codes(plan)["wide"] == "fragmented"


def test_a_job_without_an_estimate_never_passes_a_promise():
    plan = decide([running("r", 10), waiting("head", 16), waiting("unknown", 4, 1, None)], ONE, EASY, 10.0)
    assert plan.actions == ()
    assert codes(plan)["unknown"] == "delays_head"


def test_the_queue_with_the_lowest_share_goes_first():
    queues = (QueueShape(name="busy"), QueueShape(name="idle"), QueueShape(name="heavy", weight=10.0))
    requests = [
        running("r", 8, queue="busy"),
        waiting("b", 4, 0, queue="busy"),
        waiting("i", 4, 5, queue="idle"),
        waiting("h", 4, 6, queue="heavy"),
    ]
    plan = decide(requests, ONE, load("fair_share"), 10.0, queues)
    assert [action.job for action in plan.actions] == ["i", "h"]


def test_price_and_load_choose_the_site():
    sites = (SiteShape(name="dear", node_units=(8,), score=1.0), SiteShape(name="cheap", node_units=(8,), score=0.2))
    plan = decide([waiting("a", 4), waiting("b", 4), waiting("c", 4)], sites, load("fifo"), 0.0)
    assert [action.site for action in plan.actions] == ["cheap", "cheap", "dear"]


def test_a_job_bound_to_its_home_site_waits_for_it():
    sites = (*ONE, SiteShape(name="two", node_units=(8,)))
    plan = decide([running("r", 16), waiting("bound", 4, home="one")], sites, load("fifo"), 0.0)
    assert plan.actions == ()


def test_what_cannot_be_true_is_refused_before_anything_is_decided():
    with pytest.raises(BadInput, match="20 units run on 'one', which has 16"):
        decide([running("a", 10), running("b", 10)], ONE, EASY, 0.0)
    with pytest.raises(BadInput, match="names a site that is not listed"):
        decide([waiting("a", 1, home="nowhere")], ONE, EASY, 0.0)
    with pytest.raises(BadInput, match="queue 'nobody'"):
        decide([waiting("a", 1, queue="nobody")], ONE, EASY, 0.0)


def test_stopping_in_one_lane_leaves_the_jobs_of_another_alone():
    """Lanes are decided one after the other; a job stopped in the first waits there once, not twice."""
    policy = check({"name": "p", "order": {"by": "priority"}, "preemption": {"when": "by_priority"}}, "t")
    sites = (*ONE, SiteShape(name="two", node_units=(8,), lane=1))
    low = Request(name="low", submit_s=0, units=16, site="one", started_s=0, attained_s=10, starts=1)
    high, other = waiting("high", 16, 5, priority=3.0), waiting("other", 8, 5, lane=1)
    plan = decide([low, high, other], sites, policy, 10.0)
    assert [(action.job, action.start) for action in plan.actions] == [("low", False), ("high", True), ("other", True)]
    assert [reason.job for reason in plan.waiting] == ["low"]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60), st.sampled_from([1, 2, 4, 8, 16])), min_size=2, max_size=25),
    moment=st.integers(0, 60),
)
def test_the_dispatcher_decides_what_the_twin_decided_in_the_same_state(rows, moment):
    """The twin's jobs at one of its moments, given to the dispatcher's call, start and wait alike."""
    submit, length, units = (np.array(column, np.float64) for column in zip(*sorted(rows), strict=True))
    trace = trace_of("t", submit, length, units.astype(np.int64))
    run = simulate(trace, Setting(sites=ONE, policy=load("easy_exact")))
    moments = np.unique(np.concatenate([run.segment_from_s, run.end_s, submit]))
    now = float(moments[min(moment, len(moments) - 1)])
    requests = []
    for i in range(len(rows)):
        if submit[i] <= now < run.end_s[i]:
            begun = float(run.first_start_s[i])
            place = {"site": "one", "started_s": begun, "attained_s": now - begun, "starts": 1} if begun < now else {}
            requests.append(waiting(str(i), int(units[i]), float(submit[i]), float(length[i]), **place))
    plan = decide(requests, ONE, load("easy_exact"), now)
    assert {action.job for action in plan.actions} == {str(i) for i in range(len(rows)) if run.first_start_s[i] == now}
