"""A waiting job's expected start: the same decisions run on from now, with run times short, expected and long."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.expected import expected_starts
from headwater.compute.scheduler.policy import load
from headwater.compute.scheduler.prediction import RunTime
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape, Window
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.trace import trace_of

ONE = SiteShape(name="one", node_units=(8,))
RUNS = Request(name="runs", submit_s=0, units=8, estimate_s=100.0, site="one", started_s=0, attained_s=40.0, starts=1)


def waiting(name: str, estimate_s: float | None = 50.0, units: int = 8, **more: object) -> Request:
    return Request(name=name, submit_s=10, units=units, estimate_s=estimate_s, **more)  # type: ignore[arg-type]


def times(p10_s: float, p50_s: float, p90_s: float) -> RunTime:
    return RunTime(p10_s=p10_s, p50_s=p50_s, p90_s=p90_s, basis="user", runs=9)


def test_stated_run_times_are_taken_at_half_once_and_twice():
    found = expected_starts([RUNS, waiting("a"), waiting("b")], [ONE], load("easy"), 40.0)
    assert (found["a"].earliest_s, found["a"].start_s, found["a"].latest_s) == (50.0, 100.0, 200.0)
    assert (found["b"].earliest_s, found["b"].start_s, found["b"].latest_s) == (75.0, 150.0, 300.0)


def test_predicted_run_times_give_the_interval_and_the_policy_still_decides_by_the_limits_it_has():
    found = expected_starts(
        [RUNS, waiting("a"), waiting("b")], [ONE], load("easy"), 40.0, run_times={"runs": times(60, 70, 90), "a": times(5, 10, 20)}
    )
    assert (found["a"].earliest_s, found["a"].start_s, found["a"].latest_s) == (60.0, 70.0, 90.0)
    assert (found["b"].earliest_s, found["b"].start_s, found["b"].latest_s) == (65.0, 80.0, 110.0)


def test_a_job_that_fits_is_expected_now_and_one_behind_maintenance_after_it():
    closed = SiteShape(name="one", node_units=(8,), windows=(Window(from_s=60.0, to_s=500.0),))
    found = expected_starts([waiting("short", 15.0, 4), waiting("long", 50.0, 4)], [closed], load("easy"), 40.0)
    assert found["short"].start_s == 40.0
    assert found["long"].start_s == 500.0


def test_no_start_is_made_up_where_a_run_time_is_missing():
    found = expected_starts([RUNS, waiting("a", None)], [ONE], load("easy"), 40.0)
    assert found["a"].start_s is None
    assert found["a"].reason == "Of 2 jobs, 1 neither state a run time nor have one predicted."


def test_a_job_that_would_never_start_says_so():
    queues = (QueueShape(name="q", quota=2, may_borrow=False),)
    found = expected_starts([waiting("a", units=4, queue="q")], [ONE], load("easy"), 40.0, queues)
    assert found["a"].start_s is None
    assert "never start" in found["a"].reason


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(st.integers(1, 90), st.sampled_from([1, 2, 4, 8])), min_size=1, max_size=20))
def test_with_true_run_times_the_expected_start_is_what_the_twin_then_does(rows):
    length, units = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    trace = trace_of("t", np.zeros(len(rows)), length, units.astype(np.int64))
    run = simulate(trace, Setting(sites=(ONE,), policy=load("easy_exact")))
    requests = [Request(name=str(i), submit_s=0, units=int(units[i]), estimate_s=float(length[i])) for i in range(len(rows))]
    exact = {str(i): times(*[float(length[i])] * 3) for i in range(len(rows))}
    found = expected_starts(requests, [ONE], load("easy_exact"), 0.0, run_times=exact)
    for i in range(len(rows)):
        assert found[str(i)].start_s == run.first_start_s[i]
