"""An expected start is what the twin, run on from now, does to the queue; without run times it is not known."""

from __future__ import annotations

from headwater.compute.scheduler.policy import load
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape
from headwater.compute.twin.forecast import forecast

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
