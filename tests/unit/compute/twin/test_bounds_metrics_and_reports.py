"""Lower bounds are below every schedule, figures are what their names say, and reports say what they rest on."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.policy import load
from headwater.compute.scheduler.shapes import SiteShape
from headwater.compute.twin.bounds import pool_bounds
from headwater.compute.twin.metrics import bounds_for, jain, measure
from headwater.compute.twin.pooling import most_at_once
from headwater.compute.twin.replay import compare
from headwater.compute.twin.report import body, document, page
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.sites import one_site
from headwater.compute.twin.trace import Trace, trace_of
from headwater.compute.twin.traces import read_trace
from headwater.compute.twin.whatif import WhatIf, changed_sites
from headwater.core.errors import BadInput, NotFound

SHARED = Path(__file__).resolve().parents[4].parent / "shared" / "traces"
REFERENCE = {
    "muri1": (64, 250_452, 672_359, 789_240, 251.5),
    "muri3": (64, 46_865, 108_084, 126_934, 94.58),
    "lublin1": (256, 4_863, 10_828, 12_485, 97.5),
    "hpc2n_slice": (240, 10_128, 2_694, 7_360, 61.1),
}
workloads = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 90), st.sampled_from([1, 2, 4, 8, 16])), min_size=1, max_size=30)


def made(rows: list[tuple[int, int, int]]) -> Trace:
    submit, length, units = (np.array(column, np.float64) for column in zip(*sorted(rows), strict=True))
    return trace_of("made", submit, length, units.astype(np.int64))


def on_sixteen(policy: str) -> Setting:
    return Setting(sites=(SiteShape(name="one", node_units=(8, 8)),), policy=load(policy))


@pytest.mark.parametrize("name", REFERENCE)
def test_bounds_equal_the_reference(name):
    file = SHARED / f"{name}_jobs.parquet"
    if not file.is_file():
        pytest.skip(f"the shared traces are not beside this repository: {file.name}")
    trace, (capacity, duration, srpt, busy, makespan_d) = read_trace(file), REFERENCE[name]
    bounds = pool_bounds(trace.submit_s, trace.duration_s, trace.units, capacity)
    assert bounds.mean_duration_s == pytest.approx(duration, abs=1)
    assert bounds.mean_srpt_s == pytest.approx(srpt, abs=1)
    assert bounds.mean_busy_time_s == pytest.approx(busy, abs=1)
    assert bounds.makespan_s / 86400 == pytest.approx(makespan_d, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(rows=workloads)
def test_no_schedule_beats_its_lower_bounds(rows):
    trace = made(rows)
    for policy in ("srsf", "srtf", "easy_exact", "headwater"):
        setting = on_sixteen(policy)
        bounds = bounds_for(trace, setting)
        found = measure(simulate(trace, setting), bounds=bounds)
        assert bounds is not None
        assert found.completion_s is not None
        assert found.makespan_s is not None
        assert found.completion_s.mean >= bounds.mean_completion_s - 1e-6
        assert found.makespan_s >= bounds.makespan_s - 1e-6


def test_figures_of_a_run_worked_out_by_hand():
    """Two jobs of 16 units on 16: the second waits 90 s for the first."""
    found = measure(simulate(made([(0, 100, 16), (10, 50, 16)]), on_sixteen("fifo")))
    assert found.completion_s is not None
    assert found.wait_s is not None
    assert found.slowdown is not None
    assert found.completion_s.mean == (100 + 140) / 2
    assert found.wait_s.mean == 45
    assert found.slowdown.mean == (1 + 140 / 50) / 2
    assert found.makespan_s == 150
    assert found.utilisation == pytest.approx(1.0)
    assert found.preemptions == 0
    assert found.lost_unit_s == 0
    assert found.restart_unit_s == 0
    assert found.account is None  # no prices were given


def test_stopping_is_counted_and_its_restart_time_is_charged():
    policy = load("srsf").model_copy(update={"preemption": load("headwater").preemption})
    found = measure(simulate(made([(0, 100, 16), (10, 10, 16)]), Setting(sites=(SiteShape(name="one", node_units=(16,)),), policy=policy)))
    assert found.preemptions == 1
    assert found.restart_unit_s == pytest.approx(30 * 16)
    assert found.completion_s is not None
    assert found.completion_s.mean == pytest.approx((140 + 10) / 2)


def test_use_over_time_adds_up_to_the_work_done():
    trace = made([(0, 50, 8), (20, 100, 16), (30, 10, 1)])
    found = measure(simulate(trace, on_sixteen("fifo")))
    assert found.makespan_s is not None
    assert sum(found.series_use) / len(found.series_use) * 16 * found.makespan_s == pytest.approx(trace.work_unit_s)


def test_jains_index_is_one_for_equals_and_falls_to_a_share_for_one_winner():
    assert jain(np.array([3.0, 3.0, 3.0])) == pytest.approx(1.0)
    assert jain(np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)


def test_the_most_units_at_once_frees_before_it_takes():
    assert most_at_once(np.array([0.0, 10.0]), np.array([10.0, 20.0]), np.array([4, 4])) == 4


def test_what_if_puts_both_answers_side_by_side():
    trace = made([(0, 100, 8), (0, 100, 8), (0, 100, 8)])
    report = compare(trace, one_site(16, 8), [load("fifo")], asked=WhatIf(add_site=("extra=1x8",)))
    as_is, asked = (row.measured.completion_s for row in report.rows)
    assert as_is is not None
    assert asked is not None
    assert (as_is.mean, asked.mean) == (pytest.approx(400 / 3), 100)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (WhatIf(add_site=("extra",)), BadInput, "NAME=NODESxUNITS"),
        (WhatIf(nodes=("site=many",)), BadInput, "is not a number"),
        (WhatIf(remove_site=("other",)), NotFound, "no site 'other'"),
        (WhatIf(remove_site=("site",)), BadInput, "No site is left"),
        (WhatIf(price=("site=-1",)), BadInput, "out of range"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(asked, error, said):
    with pytest.raises(error, match=said):
        changed_sites(one_site(16, 8), asked)


class Loads(HTMLParser):
    """Collects everything that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone_and_escapes_names():
    trace = replace(made([(0, 100, 8), (5, 100, 16)]), name="<b>mine</b>")
    report = compare(trace, one_site(16, 8), [load("fifo"), load("srsf")])
    html, parser = page(report), Loads()
    parser.feed(html)
    assert parser.fetched == []
    assert parser.tags.count("svg") == 3
    assert "b" not in parser.tags
    assert json.loads(json.dumps(document(report)))["rows"][1]["measured"]["policy"] == "srsf"
    assert [row[0] for row in body(report, "time")] == ["fifo", "srsf", "lower bound"]


def test_a_stopped_replay_leaves_a_report_marked_partial():
    def stop_at_once(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    trace = trace_of("long", np.arange(30_000, dtype=float), np.full(30_000, 5.0), np.full(30_000, 1, np.int64))
    report = compare(trace, one_site(16, 8), [load("fifo"), load("easy_exact")], tell=stop_at_once)
    assert report.partial
    assert len(report.rows) == 1
    assert not report.rows[0].measured.complete
    assert report.rows[0].measured.unfinished > 0
    assert any("PARTIAL" in note for note in document(report)["notes"])
