"""Cost, energy, carbon and egress are what a calculation by hand gives, never below their lower bounds, and unknown where a figure is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.policy import Policy, check, load
from headwater.compute.twin.accounts import Account, Amount, account_of, least_of
from headwater.compute.twin.asks import Ask, asks_of
from headwater.compute.twin.fragmentation import fragmentation
from headwater.compute.twin.metrics import bounds_for, measure
from headwater.compute.twin.simulate import Run, Setting, simulate
from headwater.compute.twin.sites import Federation, TwinLink, TwinSite, shapes_for
from headwater.compute.twin.tariff import Tariff
from headwater.compute.twin.trace import Trace, trace_of

DAY_AND_NIGHT = Tariff(from_s=(0.0, 8 * 3600.0, 20 * 3600.0), fen_per_kwh=(30.0, 90.0, 30.0))
EAST = TwinSite(
    name="east", node_units=(8, 8), chip="v/a", chip_memory_gib=64.0, residency=frozenset({"cn", "capital"}), fen_per_unit_h=500.0,
    tariff=DAY_AND_NIGHT, watts_per_unit=400.0, power_usage_effectiveness=1.5, location_kgco2_per_kwh=0.6, market_kgco2_per_kwh=0.5,
    egress_fen_per_gib=10.0,
)  # fmt: skip
WEST = replace(
    EAST, name="west", chip="v/b", residency=frozenset({"cn"}), fen_per_unit_h=300.0, power_usage_effectiveness=1.25,
    market_kgco2_per_kwh=0.1, chip_memory_gib=32.0, egress_fen_per_gib=4.0,
)  # fmt: skip
BOTH = Federation(sites=(EAST, WEST), links=(TwinLink(ends=frozenset({"east", "west"}), gbit_s=8 * 2**30 / 1e9),))
"""A link of one GiB a second."""


def trace(*rows: tuple[float, float, int, Ask]) -> Trace:
    submit, length, units, asks = zip(*rows, strict=True)
    return trace_of("t", np.array(submit, float), np.array(length, float), np.array(units), asks=asks_of(asks))


def run(jobs: Trace, federation: Federation = BOTH, policy: Policy | None = None) -> Run:
    return simulate(jobs, Setting(sites=shapes_for(federation), policy=load("fifo") if policy is None else policy))


def account(jobs: Trace, federation: Federation = BOTH) -> Account:
    return account_of(run(jobs, federation), federation)


def test_a_draw_over_an_edge_of_the_tariff_is_priced_hour_by_hour():
    found = DAY_AND_NIGHT.fen_per_kw(np.array([7 * 3600.0, 0.0, 19.5 * 3600.0]), np.array([9 * 3600.0, 48 * 3600.0, 32.5 * 3600.0]))
    assert list(found) == pytest.approx([30 + 90, 2 * (12 * 30 + 12 * 90), 0.5 * 90 + 12 * 30 + 0.5 * 90])


def test_a_tariff_knows_where_midnight_lies_on_the_clock_of_the_trace():
    later = replace(DAY_AND_NIGHT, midnight_s=-6 * 3600.0)  # the trace begins at six in the morning
    assert later.fen_per_kw(np.array([0.0]), np.array([3 * 3600.0]))[0] == pytest.approx(30 + 30 + 90)


def test_the_sums_of_one_job_worked_out_by_hand():
    """Eight chips of 400 W at a usage effectiveness of 1.5 for two hours, from seven to nine: 4.8 kW, 9.6 kWh."""
    found = account(trace((7 * 3600.0, 7200.0, 8, Ask(residency=("capital",)))))
    assert found.hire_fen.whole == pytest.approx(8 * 2 * 500)
    assert found.energy_kwh.whole == pytest.approx(9.6)
    assert found.electricity_fen.whole == pytest.approx(4.8 * (30 + 90))
    assert found.location_kgco2.whole == pytest.approx(9.6 * 0.6)
    assert found.market_kgco2.whole == pytest.approx(9.6 * 0.5)
    assert found.egress_gib == 0
    assert found.cost_fen.whole == pytest.approx(8000 + 4.8 * 120)


def test_input_that_comes_over_a_link_costs_time_and_the_sending_sites_price():
    jobs = trace((0.0, 3600.0, 8, Ask(chips=("v/b",), input_gib=600.0, input_site="east")))
    done = run(jobs)
    assert done.end_s[0] == pytest.approx(600 + 3600)
    found = account_of(done, BOTH)
    assert (found.egress_gib, found.egress_fen.whole) == (600.0, 6000.0)
    assert found.hire_fen.whole == pytest.approx(8 * 300 * 4200 / 3600)  # chips are held while data comes


def test_input_that_is_already_there_costs_nothing():
    found = account(trace((0.0, 3600.0, 8, Ask(chips=("v/a",), input_gib=600.0, input_site="east"))))
    assert (found.egress_gib, found.egress_fen) == (0.0, Amount(known=0.0))


def test_without_a_link_nobody_may_bring_the_input_and_the_rule_is_named():
    lonely = replace(BOTH, sites=(EAST, WEST, replace(WEST, name="third", chip="v/c")))
    done = run(trace((0.0, 60.0, 1, Ask(chips=("v/c",), input_gib=1.0, input_site="east"))), lonely)
    assert list(done.refused) == [0]
    ((count, why),) = done.served.nowhere()
    assert count == 1
    assert "bandwidth from where the data lies is not known" in why


def test_where_no_site_states_a_link_places_are_not_checked():
    done = run(trace((0.0, 60.0, 1, Ask(chips=("v/b",), input_gib=1.0, input_site="east"))), replace(BOTH, links=()))
    assert list(done.end_s) == [60.0]


@pytest.mark.parametrize(
    ("ask", "site"),
    [
        (Ask(chips=("v/b",)), 1),
        (Ask(chip_memory_gib=48.0), 0),
        (Ask(residency=("cn", "capital")), 0),
        (Ask(chips=("v/b",), residency=("cn",)), 1),
    ],
)
def test_a_job_runs_only_where_chip_memory_and_residency_allow(ask, site):
    cheapest_west = check({"name": "p", "placement": {"price_weight": 1.0}}, "p")
    dearest_first = run(trace((0.0, 60.0, 1, ask)), policy=cheapest_west)
    assert list(dearest_first.segment_site) == [site]


def test_a_figure_that_a_site_does_not_state_is_unknown_for_its_share_alone():
    dark = replace(WEST, watts_per_unit=None)
    federation = replace(BOTH, sites=(EAST, dark))
    found = account(trace((0.0, 3600.0, 8, Ask(chips=("v/a",))), (0.0, 10_800.0, 8, Ask(chips=("v/b",)))), federation)
    assert found.energy_kwh == Amount(known=pytest.approx(4.8), unknown_share=0.75)
    assert found.energy_kwh.whole is None
    assert found.hire_fen.whole == pytest.approx(8 * 500 + 8 * 3 * 300)


def test_maintenance_holds_and_what_waits_for_its_end_starts_then():
    begins = datetime(2026, 12, 7, tzinfo=timezone(timedelta(hours=8)))
    closed = replace(EAST, maintenance=((begins + timedelta(hours=1), begins + timedelta(hours=2), "power"),))
    known = check({"name": "p", "estimates": {"source": "exact"}}, "p")
    done = run(trace((0.0, 7200.0, 8, Ask())), Federation(sites=(closed,), begins=begins), known)
    assert done.first_start_s[0] == 7200.0
    assert run(trace((0.0, 7200.0, 8, Ask())), Federation(sites=(closed,)), known).first_start_s[0] == 0.0  # no date, no window


def test_a_deadline_that_passes_before_the_end_is_missed():
    jobs = trace((0.0, 100.0, 16, Ask(deadline_s=100.0)), (0.0, 100.0, 16, Ask(deadline_s=150.0)), (0.0, 10.0, 1, Ask()))
    found = measure(run(jobs, Federation(sites=(EAST,))))
    assert (found.deadlines, found.missed) == (2, 1)


def test_fragmentation_is_the_share_of_free_units_that_the_jobs_cannot_use():
    size = np.array([8, 8, 8])
    jobs = np.array([1, 4, 8, 16])
    assert fragmentation(np.array([0, 2, 8]), size, jobs) == pytest.approx(2 * 0.75 / 10)  # three jobs in four are larger than 2
    assert fragmentation(np.array([8, 8, 8]), size, jobs) == 0.0
    assert fragmentation(np.array([0, 0, 0]), size, jobs) is None


asked = st.builds(
    Ask,
    chips=st.sampled_from([None, ("v/a",), ("v/b",), ("v",)]),
    residency=st.sampled_from([None, ("cn",)]),
    input_gib=st.sampled_from([None, 0.5, 40.0]),
    input_site=st.sampled_from(["east", "west"]),
)
workloads = st.lists(
    st.tuples(st.integers(0, 50_000), st.integers(60, 20_000), st.sampled_from([1, 2, 8, 16]), asked), min_size=1, max_size=25
)


@settings(max_examples=40, deadline=None)
@given(rows=workloads, name=st.sampled_from(["fifo", "easy_exact", "pooling", "srsf"]))
def test_no_run_is_below_its_lower_bounds_and_every_hour_is_accounted(rows, name):
    jobs = trace(*sorted(rows, key=lambda row: row[0]))
    jobs.walltime_s[:] = jobs.duration_s
    setting = Setting(sites=shapes_for(BOTH), policy=load(name))
    done = simulate(jobs, setting)
    found, least, bounds = account_of(done, BOTH), least_of(done, BOTH), bounds_for(jobs, setting, done.served)
    assert not np.isnan(done.end_s).any()
    for name in ("cost_fen", "energy_kwh", "location_kgco2", "market_kgco2"):
        assert getattr(found, name).whole >= getattr(least, name) * (1 - 1e-9)
    assert found.egress_gib >= least.egress_gib
    assert bounds is not None
    assert (done.end_s - jobs.submit_s).mean() >= bounds.mean_completion_s - 1e-6
    held = ((done.segment_to_s - done.segment_from_s) * done.segment_units).sum()
    assert held >= jobs.work_unit_s - 1e-6
