"""What must hold for every workload: no over-allocation, whole gangs, quotas, promises kept, same input same result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.decide import decide
from headwater.compute.scheduler.policy import Policy, check, load
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.twin.simulate import Outage, Run, Setting, simulate
from headwater.compute.twin.trace import Trace, trace_of

SITES = (SiteShape(name="east", node_units=(8, 8)), SiteShape(name="west", node_units=(4, 4, 4), score=0.5))
COMMON = {"backfill": {"kind": "skip"}, "preemption": {"when": "by_order", "restart_s": 7.0}}
POLICIES = {
    "fifo": load("fifo"),
    "easy": load("easy_exact"),
    "conservative": load("conservative").model_copy(update={"estimates": load("easy_exact").estimates}),
    "consolidated_easy": check(
        {"name": "c", "placement": {"nodes": "consolidated"}, "backfill": {"kind": "easy"}, "estimates": {"source": "exact"}}, "t"
    ),
    "srsf": load("srsf"),
    "headwater": load("headwater"),
    "patient": check({"name": "p", "order": {"by": "learned_index", "most_slowdown": 1.5}} | COMMON, "t"),
    "headwater_on_nodes": check({"name": "h", "order": {"by": "learned_index"}, "placement": {"nodes": "consolidated"}} | COMMON, "t"),
    "least_attained": check({"name": "l", "order": {"by": "least_attained", "levels_unit_s": [50.0, 500.0]}} | COMMON, "t"),
    "fair_share": load("fair_share").model_copy(update={"estimates": load("easy_exact").estimates}),
    "predicted": check({"name": "p", "order": {"by": "shortest_remaining"}, "estimates": {"source": "history"}} | COMMON, "t"),
}
workloads = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 90), st.sampled_from([1, 1, 2, 3, 4, 8, 12, 16])), min_size=1, max_size=40
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def trace_from(rows: list[tuple[int, int, int]], tenants: int = 1) -> Trace:
    rows = sorted(rows)
    submit, length, units = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    trace = trace_of("made", submit, length, units.astype(np.int64))
    trace.tenant[:] = [f"t{i % tenants}" for i in range(len(rows))]
    return trace


def held_by(run: Run, site: int | None = None, tenant: str | None = None) -> int:
    """The most units held at one moment by a site's or tenant's jobs."""
    rows = np.ones(len(run.segment_job), bool)
    if site is not None:
        rows &= run.segment_site == site
    if tenant is not None:
        rows &= run.trace.tenant[run.segment_job] == tenant
    units = run.trace.units[run.segment_job[rows]]
    moments = np.concatenate([run.segment_to_s[rows], run.segment_from_s[rows]])
    changes = np.concatenate([-units, units])
    by_time = np.lexsort((changes, moments))
    return int(np.cumsum(changes[by_time]).max(initial=0))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@quick
@given(rows=workloads)
def test_no_site_ever_holds_more_than_it_has_and_every_job_ends_with_all_its_work_done(policy: Policy, rows):
    trace = trace_from(rows)
    run = simulate(trace, Setting(sites=SITES, policy=policy))
    assert run.complete
    assert not np.isnan(run.end_s).any()
    for site, shape in enumerate(SITES):
        assert held_by(run, site=site) <= sum(shape.node_units)
    held = np.zeros(len(trace))
    np.add.at(held, run.segment_job, run.segment_to_s - run.segment_from_s)
    assert (held >= trace.duration_s - 1e-6).all()
    assert (run.first_start_s >= trace.submit_s).all()


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_the_same_input_gives_the_same_run(policy: Policy):
    rng = np.random.default_rng(3)
    trace = trace_from(
        [
            (int(a), int(b), int(c))
            for a, b, c in zip(rng.integers(0, 300, 80), rng.integers(1, 90, 80), rng.choice([1, 2, 8], 80), strict=True)
        ]
    )
    one, other = (simulate(trace, Setting(sites=SITES, policy=policy)) for _ in range(2))
    for column in ("end_s", "starts", "segment_from_s", "segment_job", "segment_site"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


@quick
@given(rows=workloads)
def test_a_gang_runs_whole_on_one_site_at_a_time(rows):
    run = simulate(trace_from(rows), Setting(sites=SITES, policy=POLICIES["headwater_on_nodes"]))
    for job in range(len(run.trace)):
        mine = run.segment_job == job
        starts, ends = run.segment_from_s[mine], run.segment_to_s[mine]
        assert (starts[1:] >= ends[:-1]).all()  # never two places at once
        capacity = np.array([sum(shape.node_units) for shape in SITES])
        assert (run.trace.units[job] <= capacity[run.segment_site[mine]]).all()


@quick
@given(rows=workloads, quota=st.integers(1, 12))
def test_quotas_hold_at_every_moment(rows, quota):
    queues = (QueueShape(name="t0", quota=quota, may_borrow=False), QueueShape(name="t1"))
    for name in ("easy", "srsf", "fair_share", "conservative"):
        run = simulate(trace_from(rows, tenants=2), Setting(sites=SITES, policy=POLICIES[name], queues=queues))
        assert held_by(run, tenant="t0") <= quota


@quick
@given(rows=workloads)
def test_borrowing_fills_what_the_organisation_leaves_but_never_more(rows):
    queues = (
        QueueShape(name="organisation", quota=12),
        QueueShape(name="t0", parent="organisation", quota=2),
        QueueShape(name="t1", parent="organisation", quota=10, may_borrow=False),
    )
    run = simulate(trace_from(rows, tenants=2), Setting(sites=SITES, policy=POLICIES["fair_share"], queues=queues))
    assert held_by(run) <= 12
    assert held_by(run, tenant="t1") <= 10


@quick
@given(rows=workloads)
def test_easy_never_delays_a_job_beyond_the_start_it_would_have_had_alone_at_the_head(rows):
    """With true run times: at any moment, the first waiting job starts no later than if nothing behind it were ever let in."""
    trace = trace_from(rows)
    sites = (SiteShape(name="one", node_units=(16,)),)
    easy = simulate(trace, Setting(sites=sites, policy=POLICIES["easy"]))
    for head in range(len(trace)):
        became_head = max(trace.submit_s[head], max((easy.first_start_s[i] for i in range(head)), default=0.0))
        running = [i for i in range(len(trace)) if easy.first_start_s[i] <= became_head < easy.end_s[i] and i != head and i < head]
        backfilled = [i for i in range(head + 1, len(trace)) if easy.first_start_s[i] < became_head < easy.end_s[i]]
        free, moment = 16 - sum(trace.units[i] for i in running + backfilled), became_head
        for end, units in sorted((easy.end_s[i], trace.units[i]) for i in running + backfilled):
            if free >= trace.units[head]:
                break
            free, moment = free + units, end
        assert easy.first_start_s[head] <= moment + 1e-9


@quick
@given(rows=workloads)
def test_strict_first_come_first_served_starts_in_order(rows):
    run = simulate(trace_from(rows), Setting(sites=(SiteShape(name="one", node_units=(16,)),), policy=POLICIES["fifo"]))
    assert (np.diff(run.first_start_s) >= 0).all()


def test_nobody_starves_under_easy_though_small_jobs_keep_coming():
    small = [(t, 20, 8) for t in range(0, 2000, 5)]
    trace = trace_from([*small, (7, 50, 16)])
    run = simulate(trace, Setting(sites=(SiteShape(name="one", node_units=(16,)),), policy=POLICIES["easy"]))
    large = int(np.flatnonzero(trace.units == 16)[0])
    assert run.first_start_s[large] <= 40


def test_nobody_starves_under_a_stopping_policy_with_a_most_slowdown():
    """Half-pool jobs come faster than they can be served; the one that needs the whole pool must get it all the same."""
    patient = load("headwater_patient")
    policy = patient.model_copy(update={"order": patient.order.model_copy(update={"most_slowdown": 2.0})})
    trace = trace_from([*((t, 20, 8) for t in range(0, 8000, 8)), (7, 50, 16)])
    run = simulate(trace, Setting(sites=(SiteShape(name="one", node_units=(16,)),), policy=policy))
    large = int(np.flatnonzero(trace.units == 16)[0])
    assert run.end_s[large] <= 7 + 2 * 600 + 20 + 50 + 30


def test_a_job_larger_than_every_site_is_refused_and_holds_up_nobody():
    run = simulate(trace_from([(0, 5, 12), (0, 5, 1), (0, 5, 200)]), Setting(sites=SITES, policy=POLICIES["fifo"]))
    assert list(run.trace.units[run.refused]) == [200]
    assert np.isnan(run.end_s).sum() == 1


def test_losing_a_site_sends_its_jobs_back_with_their_checkpoints():
    trace = trace_from([(0, 100, 16), (1, 100, 12)])
    outages = (Outage(at_s=50.0, site="east"), Outage(at_s=300.0, site="east", up=True))
    run = simulate(trace, Setting(sites=SITES, policy=POLICIES["fifo"], outages=outages, checkpoint_s=30.0))
    large = int(np.flatnonzero(trace.units == 16)[0])
    assert run.lost_s[large] == 20.0
    assert run.end_s[large] == 300.0 + 70.0  # only the east can hold it; 30 s were saved


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@quick
@given(rows=workloads, at=st.integers(0, 120))
def test_no_job_is_lost_when_a_site_goes_and_comes_back(policy: Policy, rows, at):
    outages = (Outage(at_s=float(at), site="east"), Outage(at_s=at + 50.0, site="east", up=True))
    run = simulate(trace_from(rows), Setting(sites=SITES, policy=policy, outages=outages))
    assert not np.isnan(run.end_s).any()
    down = (run.segment_site == 0) & (run.segment_from_s < at + 50) & (run.segment_to_s > at)
    assert not down.any()


def test_priority_stops_the_jobs_that_lose_least_since_their_checkpoint():
    policy = check({"name": "p", "order": {"by": "priority"}, "preemption": {"when": "by_priority"}}, "t")
    running = [
        Request(name="just saved", submit_s=0, units=4, checkpoint_s=60, attained_s=121, site="one", started_s=0, starts=1),
        Request(name="about to save", submit_s=0, units=4, checkpoint_s=60, attained_s=119, site="one", started_s=2, starts=1),
    ]
    urgent = Request(name="urgent", submit_s=100, units=4, priority=5)
    plan = decide([*running, urgent], [SiteShape(name="one", node_units=(8,))], policy, 121.0)
    assert [(action.job, action.start) for action in plan.actions] == [("just saved", False), ("urgent", True)]
