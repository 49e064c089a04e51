"""Reservations, maintenance, hosts, ranges, shares taken back: what a decision keeps, one by one and for every workload."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.decide import Plan, decide, examine
from headwater.compute.scheduler.policy import Policy, check, load
from headwater.compute.scheduler.shapes import Inbound, Needs, QueueShape, Request, SiteShape, Window
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.trace import trace_of
from headwater.core.errors import BadInput

FIFO, EASY = load("fifo"), load("easy")
ONE = SiteShape(name="one", node_units=(8, 8))
SKIP = check({"name": "skip", "backfill": {"kind": "skip"}, "estimates": {"source": "user"}}, "t")
ELASTIC = check({"name": "e", "elastic": {"start": "most", "grow": True, "shrink": True}, "backfill": {"kind": "skip"}}, "t")
RECLAIM = check(
    {
        "name": "r",
        "order": {"by": "fair_share"},
        "backfill": {"kind": "skip"},
        "preemption": {"when": "by_share"},
        "fair_share": {"half_life_s": 0},
    },
    "t",
)


def waiting(name: str, units: int = 4, estimate_s: float | None = 100.0, **more: object) -> Request:
    return Request(name=name, units=units, submit_s=0.0, estimate_s=estimate_s, **more)  # type: ignore[arg-type]


def running(name: str, units: int = 4, site: str = "one", **more: object) -> Request:
    return replace(waiting(name, units, **more), site=site, started_s=0.0, starts=1)  # type: ignore[arg-type]


def done(plan: Plan) -> list[tuple[str, str]]:
    return [(action.job, "start" if action.start else "resize" if action.resize else "stop") for action in plan.actions]


def codes(plan: Plan) -> dict[str, str]:
    return {reason.job: reason.code for reason in (*plan.waiting, *plan.never, *(action.reason for action in plan.actions))}


def with_window(**more: object) -> SiteShape:
    return replace(ONE, windows=(Window(**more),))  # type: ignore[arg-type]


def test_a_job_that_would_run_into_maintenance_waits_and_a_short_one_passes():
    site = with_window(from_s=50.0, to_s=90.0, reason="power room")
    plan = decide([waiting("long"), waiting("short", estimate_s=50.0)], [site], SKIP, 0.0)
    assert done(plan) == [("short", "start")]
    (reason,) = plan.waiting
    assert reason.code == "before_window"
    assert "maintenance (power room) from second 50 to 90" in reason.why


def test_a_reservation_keeps_its_units_for_its_queue_and_those_below_it():
    queues = (QueueShape(name="city"), QueueShape(name="vision", parent="city"), QueueShape(name="other"))
    site = with_window(from_s=0.0, to_s=1000.0, units=12, queue="city")
    plan = decide(
        [waiting("theirs", 8, queue="other"), waiting("small", 4, queue="other"), waiting("ours", 12, queue="vision")],
        [site],
        SKIP,
        0.0,
        queues,
    )
    assert done(plan) == [("small", "start"), ("ours", "start")]
    assert codes(plan)["theirs"] == "before_window"


def test_a_job_that_outlived_its_estimate_is_stopped_when_the_window_opens_and_the_one_that_loses_least_first():
    site = with_window(from_s=50.0, to_s=90.0, units=12, queue="q")
    requests = [running("saved", 8, attained_s=50.0, checkpoint_s=25.0), running("unsaved", 8, attained_s=50.0, checkpoint_s=40.0)]
    plan = decide(requests, [site], SKIP, 50.0, (QueueShape(name="q"),))
    assert done(plan)[0] == ("saved", "stop")
    assert codes(plan)["unsaved"] in ("window_opened", "before_window")


def test_a_job_of_unknown_length_starts_before_maintenance_only_as_the_policy_says():
    site, job = with_window(from_s=50.0, to_s=90.0), waiting("unknown", estimate_s=None)
    assert done(decide([job], [site], FIFO, 0.0)) == []
    assumed = check({"name": "a", "estimates": {"source": "nothing", "assume_s": 40.0}}, "t")
    assert done(decide([job], [site], assumed, 0.0)) == [("unknown", "start")]
    assert done(decide([job], [site], load("headwater"), 0.0)) == [("unknown", "start")]  # it can be stopped when the window opens


def test_a_window_that_ends_before_it_opens_or_is_for_nobody_known_is_refused():
    for window in (Window(from_s=5.0, to_s=5.0), Window(from_s=0.0, to_s=9.0, queue="nobody")):
        with pytest.raises(BadInput, match="A window of 'one'"):
            decide([waiting("a")], [replace(ONE, windows=(window,))], FIFO, 0.0)


def test_cpu_and_memory_of_a_host_are_never_given_twice_even_across_its_rows():
    first = SiteShape(name="cards", node_units=(8,), node_cpu_milli=(16_000,), node_memory_mib=(64_000,), host="machine")
    second = SiteShape(name="other cards", node_units=(4,), host="machine")
    requests = [
        waiting("a", 1, cpu_milli=10_000, home="cards"),
        waiting("b", 1, cpu_milli=10_000, home="other cards"),
        waiting("c", 0, cpu_milli=6_000),
    ]
    plan = decide(requests, [first, second], SKIP, 0.0)
    assert done(plan) == [("a", "start"), ("c", "start")]
    (reason,) = plan.waiting
    assert reason.code == "no_host_room"
    assert "asks 10 CPUs" in reason.why


def test_a_job_that_asks_only_cpu_starts_though_no_unit_is_free():
    site = SiteShape(name="one", node_units=(2,), node_cpu_milli=(8_000,))
    plan = decide([running("cards", 2, cpu_milli=1_000), waiting("cpu", 0, cpu_milli=7_000)], [site], FIFO, 0.0)
    assert done(plan) == [("cpu", "start")]


def test_a_promise_counts_cpu_too():
    site = SiteShape(name="one", node_units=(16,), node_cpu_milli=(10_000,))
    requests = [
        running("r", 1, cpu_milli=6_000),
        waiting("head", 1, cpu_milli=8_000),
        waiting("long", 1, estimate_s=500.0, cpu_milli=4_000),
        waiting("slim", 1, estimate_s=500.0, cpu_milli=2_000),
    ]
    plan = decide(requests, [site], EASY, 0.0)
    assert done(plan) == [("slim", "start")]
    assert codes(plan) == {"head": "no_host_room", "long": "delays_head", "slim": "backfilled"}


def test_what_no_site_could_ever_run_is_told_apart_and_holds_up_nobody():
    requests = [waiting("large", 99), waiting("strange", needs=Needs(chips=("nobody",))), waiting("fine")]
    plan = decide(requests, [ONE], FIFO, 0.0)
    assert done(plan) == [("fine", "start")]
    assert {reason.job: reason.code for reason in plan.never} == {"large": "too_large", "strange": "nowhere"}
    assert "one, because its chips are not among those asked for" in plan.never[1].why


def test_an_elastic_job_starts_with_what_is_free_shrinks_for_others_and_grows_when_nobody_waits():
    stretchy = {"least_units": 2, "most_units": 16}
    plan = decide([running("r", 6), waiting("e", 8, **stretchy)], [ONE], ELASTIC, 0.0)
    assert [(action.job, action.units) for action in plan.actions] == [("e", 10)]
    plan = decide([running("e", 8, held_units=16, **stretchy), waiting("w", 12)], [ONE], ELASTIC, 10.0)
    assert [(action.job, action.units) for action in plan.actions] == [("e", 4), ("w", 12)]
    assert codes(plan) == {"e": "made_smaller", "w": "started"}
    plan = decide([running("e", 8, held_units=4, **stretchy)], [ONE], ELASTIC, 10.0)
    assert [(action.job, action.units, action.reason.code) for action in plan.actions] == [("e", 16, "made_larger")]


def test_a_range_that_is_none_is_refused():
    for ends in ({"least_units": 2}, {"least_units": 0, "most_units": 8}, {"least_units": 9, "most_units": 12}):
        with pytest.raises(BadInput, match="in a range"):
            decide([waiting("e", 8, **ends)], [ONE], FIFO, 0.0)


TWO = (QueueShape(name="borrower", quota=4), QueueShape(name="lender", quota=12))
CITY = (QueueShape(name="city", quota=16), *(replace(queue, parent="city") for queue in TWO))


def test_what_was_borrowed_goes_back_to_its_queue_and_least_work_is_lost():
    held = [
        running(name, 4, queue="borrower", attained_s=done_s, checkpoint_s=60.0) for name, done_s in (("a", 50.0), ("b", 61.0), ("c", 10.0))
    ]
    plan = decide([*held, waiting("back", 8, queue="lender")], [ONE], RECLAIM, 70.0, CITY)
    assert done(plan) == [("b", "stop"), ("back", "start")]
    assert codes(plan)["b"] == "reclaimed"


def test_a_queue_takes_back_no_more_than_its_own_and_never_from_one_within_its_share():
    held = [running("a", 8, queue="lender"), running("b", 4, queue="borrower")]
    plan = decide([*held, waiting("more", 8, queue="lender")], [ONE], RECLAIM, 70.0, CITY)
    assert done(plan) == []


def test_two_queues_never_stop_each_other_in_turn():
    queues, state = (QueueShape(name="x"), QueueShape(name="y")), [running("x1", 16, queue="x"), waiting("y1", 8, queue="y")]
    assert done(decide(state, [ONE], RECLAIM, 0.0, queues)) == []  # x would hold nothing, y 8
    halves = [running("x1", 8, queue="x"), running("x2", 8, queue="x"), waiting("y1", 8, queue="y")]
    plan = decide(halves, [ONE], RECLAIM, 0.0, queues)
    assert [kind for _, kind in done(plan)] == ["stop", "start"]
    after = [running("x1", 8, queue="x"), running("y1", 8, queue="y"), waiting("x2", 8, queue="x")]
    assert done(decide(after, [ONE], RECLAIM, 0.0, queues)) == []


def test_quotas_and_shares_count_strong_chips_as_more_units():
    strong = SiteShape(name="strong", node_units=(8,), unit_weight=2.0)
    weak = SiteShape(name="weak", node_units=(8,))
    queues = (QueueShape(name="q", quota=9.0, may_borrow=False),)
    asked = [waiting(name, units, queue="q", home="strong") for name, units in (("w", 4), ("v", 2))]
    plan = decide([running("r", 4, site="weak", queue="q"), *asked], [strong, weak], SKIP, 0.0, queues)
    assert done(plan) == [("v", "start")]


def weighing(**weights: float) -> Policy:
    return check(
        {"name": "w", "placement": {f"{part}_weight": weight for part, weight in weights.items()}, "estimates": {"source": "user"}}, "t"
    )


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, "beijing"),
        ({"price": 1.0}, "shanxi"),
        ({"carbon": 1.0}, "hebei"),
        ({"data": 1.0}, "beijing"),
        ({"time": 1.0}, "tianjin"),
        ({"best_fit": 1.0}, "hebei"),
        ({"lateness": 1.0}, "tianjin"),
        ({"price": 1.0, "data": 1.0}, "beijing"),
    ],
)
def test_each_part_of_a_placement_prefers_its_own_site(weights, expected):
    link = (Inbound(place="beijing", gib_per_s=0.01, fen_per_gib=2000.0),)
    figures = {"price": (8.0, 2.0, 4.0, 12.0), "carbon": (0.6, 0.7, 0.2, 2.0), "speed": (1.0, 1.0, 1.0, 4.0), "units": (16, 16, 8, 16)}
    sites = [
        SiteShape(
            name=name, node_units=(figures["units"][row],),
            fen_per_unit_h=(figures["price"][row],), kgco2_per_unit_h=(figures["carbon"][row],),
            speed=figures["speed"][row], inbound=link if name != "beijing" else (),
        )
        for row, name in enumerate(("beijing", "shanxi", "hebei", "tianjin"))
    ]  # fmt: skip
    job = waiting("j", 8, estimate_s=36_000.0, input_gib=1.0, needs=Needs(data_at="beijing"), deadline_s=20_000.0)
    (action,) = decide([job], sites, weighing(**weights), 0.0).actions
    assert action.site == expected


def test_the_hours_in_which_a_job_would_run_decide_what_it_costs():
    night = tuple(1.0 if hour < 8 else 9.0 for hour in range(24))
    sites = [SiteShape(name="even", node_units=(8,), fen_per_unit_h=(5.0,)), SiteShape(name="night", node_units=(8,), fen_per_unit_h=night)]
    where = [
        decide([waiting("j", estimate_s=7200.0)], sites, weighing(price=1.0), hour * 3600.0).actions[0].site
        for hour in (1, 7, 12, 24 + 23, 24 + 22)
    ]  # type: ignore[arg-type]
    assert where == ["night", "even", "even", "even", "even"]


def test_a_weighed_figure_that_a_site_does_not_state_is_refused():
    with pytest.raises(BadInput, match="fen_per_unit_h is not known for one"):
        decide([waiting("j")], [ONE], weighing(price=1.0), 0.0)
    unpriced = replace(ONE, inbound=(Inbound(place="far", gib_per_s=1.0),))
    with pytest.raises(BadInput, match="from far to one"):
        decide([waiting("j")], [unpriced], weighing(data=1.0), 0.0)


def test_every_site_is_accounted_for_in_an_explanation():
    sites = [ONE, SiteShape(name="two", node_units=(8,), chip="b/two", speed=2.0), SiteShape(name="three", node_units=(8,), chip="a/one")]
    job = waiting("j", needs=Needs(chips=("a", "b"), reference="a/one"))
    reason, found = examine("j", [job], sites, FIFO, 0.0)
    assert reason.code == "started"
    assert [(one.site, one.forbidden, one.speed_basis) for one in found] == [
        ("two", "", "declared"),
        ("three", "", "same chip"),
        ("one", "its chips are not among those asked for", "declared"),
    ]


quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENDS = {"easy": EASY, "skip": SKIP, "headwater": load("headwater"), "conservative": load("conservative"), "reclaim": RECLAIM}


stated = st.tuples(st.integers(0, 60), st.integers(1, 90), st.sampled_from([1, 2, 4, 8, 12]), st.floats(0.3, 3.0))


@pytest.mark.parametrize("policy", ENDS.values(), ids=ENDS.keys())
@quick
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 90), st.sampled_from([1, 2, 4, 8, 12]), st.floats(0.3, 3.0)), min_size=1, max_size=25
    ),
    window=st.tuples(st.integers(0, 80), st.integers(1, 120), st.sampled_from([None, 4, 10])),
    reserved=st.booleans(),
)
def test_windows_hold_whatever_the_estimates_were_worth(policy, rows, window, reserved):
    """Nobody else ever holds what a window keeps: however wrong run times were stated, with jobs of the owner running or not."""
    rows = sorted(rows)
    submit, length, units, wrong = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    trace = trace_of("made", submit, length, units.astype(np.int64))
    trace.walltime_s[:] = np.maximum(length * wrong, 1.0)
    trace.tenant[:] = [f"t{i % 2}" for i in range(len(rows))]
    opens, lasts, kept = window
    queues = (QueueShape(name="t0"), QueueShape(name="t1"))
    site = with_window(from_s=float(opens), to_s=float(opens + lasts), units=kept, queue="t0" if reserved else None)
    run = simulate(trace, Setting(sites=(site,), policy=policy, queues=queues))
    assert not np.isnan(run.end_s).any()
    most = 16 - (16 if kept is None else kept)
    mine = (trace.tenant[run.segment_job] == "t0") if reserved else np.zeros(len(run.segment_job), bool)
    for moment in np.unique(np.concatenate([run.segment_from_s, [float(opens)]])):
        if opens <= moment < opens + lasts:
            held = (run.segment_from_s <= moment) & (run.segment_to_s > moment)
            theirs, ours = run.segment_units[held & ~mine].sum(), run.segment_units[held & mine].sum()
            assert theirs <= max(most, 16 - max(16 if kept is None else kept, ours))
            assert theirs + ours <= 16


resources = st.tuples(st.sampled_from([0, 1, 2, 4, 8]), st.integers(0, 12), st.integers(0, 12), st.one_of(st.none(), st.integers(1, 200)))


@pytest.mark.parametrize("policy", [FIFO, SKIP, EASY, load("conservative"), ELASTIC, RECLAIM], ids=lambda one: one.name)
@quick
@given(rows=st.lists(resources, min_size=1, max_size=20), quota=st.integers(4, 16))
def test_no_plan_gives_out_more_units_cpu_memory_or_quota_than_there_is(policy, rows, quota):
    sites = [
        SiteShape(name="one", node_units=(8,), node_cpu_milli=(16_000,), node_memory_mib=(16 * 1024,), host="machine"),
        SiteShape(name="two", node_units=(4,), host="machine"),
        SiteShape(name="three", node_units=(8, 8), node_cpu_milli=(8_000, 8_000), unit_weight=0.5),
    ]
    queues = (QueueShape(name="a", quota=quota, may_borrow=False), QueueShape(name="b"))
    requests = [
        Request(
            name=str(row), submit_s=0.0, units=units, cpu_milli=cpu * 1000 + (0 if units else 1), memory_mib=memory * 1024,
            estimate_s=estimate, queue="ab"[row % 2], **({"least_units": 1, "most_units": 12} if units and row % 3 == 0 else {}),
        )
        for row, (units, cpu, memory, estimate) in enumerate(rows)
    ]  # fmt: skip
    plan = decide(requests, sites, policy, 0.0, queues)
    by_name, held = {request.name: request for request in requests}, {}
    for action in plan.actions:
        held[action.job] = action
    held = {name: action for name, action in held.items() if action.start or action.resize}
    for host, rows_of_it, cpus, memory in (("machine", {"one", "two"}, 16, 16), ("three", {"three"}, 16, 10**9)):
        there = [by_name[name] for name, action in held.items() if action.site in rows_of_it]
        assert sum(one.cpu_milli for one in there) <= cpus * 1000, host
        assert sum(one.memory_mib for one in there) <= memory * 1024, host
    for site in sites:
        assert sum(action.units for action in held.values() if action.site == site.name) <= sum(site.node_units)
    weight = {site.name: site.unit_weight for site in sites}
    assert sum(action.units * weight[action.site] for name, action in held.items() if by_name[name].queue == "a") <= quota
    for name, action in held.items():
        least, most = by_name[name].least_units or by_name[name].units, by_name[name].most_units or by_name[name].units
        assert least <= action.units <= most
    assert plan == decide(requests, sites, policy, 0.0, queues)
