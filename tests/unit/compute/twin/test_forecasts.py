"""An expected start is what the twin, run on from now, does to the queue; without run times it is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.policy import load
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape, Window
from headwater.compute.twin.forecast import RunTime, forecast
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.trace import trace_of

ONE = (SiteShape(name="one", node_units=(8,)),)
RUNNING = Request(name="runs", submit_s=0, units=8, estimate_s=100.0, site="one", started_s=0, attained_s=40.0, starts=1)


def waiting(name: str, estimate_s: float | None = 50.0, units: int = 8, **more: object) -> Request:
    return Request(name=name, submit_s=10, units=units, estimate_s=estimate_s, **more)  # type: ignore[arg-type]


def test_jobs_start_one_behind_the_other_with_an_interval_that_widens():
    first, second = forecast([RUNNING, waiting("a"), waiting("b")], ONE, load("easy"), 40.0)
    assert (first.earliest_s, first.start_s, first.latest_s) == (50.0, 100.0, 200.0)
    assert (second.earliest_s, second.start_s, second.latest_s) == (75.0, 150.0, 300.0)


def test_a_job_that_fits_is_expected_now():
    (found,) = forecast([waiting("a", units=4)], ONE, load("easy"), 40.0)
    assert (found.earliest_s, found.start_s, found.latest_s) == (40.0, 40.0, 40.0)


def test_a_forecast_is_not_made_up_where_run_times_are_missing():
    (found,) = forecast([RUNNING, waiting("a", None)], ONE, load("easy"), 40.0)
    assert found.start_s is None
    assert found.reason == "1 of 2 jobs state no run time."


def test_a_job_that_would_never_start_says_so():
    queues = (QueueShape(name="q", quota=2, may_borrow=False),)
    (found,) = forecast([waiting("a", units=4, queue="q")], ONE, load("easy"), 40.0, queues)
    assert found.start_s is None
    assert "never start" in found.reason


def test_predicted_run_times_give_the_interval_and_the_policy_still_decides_by_the_limits_it_has():
    lasts = {
        "runs": RunTime(short_s=60, expected_s=70, long_s=90),
        "a": RunTime(short_s=5, expected_s=10, long_s=20),
    }
    first, second = forecast([RUNNING, waiting("a"), waiting("b")], ONE, load("easy"), 40.0, run_times=lasts)
    assert (first.earliest_s, first.start_s, first.latest_s) == (60.0, 70.0, 90.0)
    assert (second.earliest_s, second.start_s, second.latest_s) == (65.0, 80.0, 110.0)


def test_a_job_that_would_run_into_maintenance_is_expected_after_it():
    closed = replace(ONE[0], windows=(Window(from_s=60.0, to_s=500.0),))
    short, long = forecast([waiting("short", 10.0, 4), waiting("long", 50.0, 4)], [closed], load("easy"), 40.0)
    assert (short.start_s, long.start_s) == (40.0, 500.0)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(1, 90), st.sampled_from([1, 2, 4, 8])), min_size=1, max_size=20))
def test_with_true_run_times_the_forecast_is_what_then_happens(rows):
    length, units = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    run = simulate(trace_of("t", np.zeros(len(rows)), length, units.astype(np.int64)), Setting(sites=ONE, policy=load("easy_exact")))
    requests = [Request(name=str(i), submit_s=0, units=int(units[i]), estimate_s=float(length[i])) for i in range(len(rows))]
    lasts = {str(i): RunTime(short_s=length[i], expected_s=length[i], long_s=length[i]) for i in range(len(rows))}
    found = forecast(requests, ONE, load("easy_exact"), 0.0, run_times=lasts)
    assert [one.start_s for one in found] == list(run.first_start_s)
