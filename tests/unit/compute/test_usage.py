"""Decayed use: what the scheduler's queues would come to if they were aged from moment to moment."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.compute.test_deciding import facts, job

from headwater.compute.deciding import Verdict, decisions
from headwater.compute.jobs import State
from headwater.compute.usage import decayed
from headwater.core.steps import Resources

NOW = datetime(2026, 1, 1, tzinfo=UTC)
spans = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 4)), max_size=6)


@given(spans, st.sampled_from([60.0, 600.0, 86400.0]))
def test_it_is_what_aging_step_by_step_gives(told: list[tuple[int, int, int]], half_life_s: float) -> None:
    ran, ages = [], []
    for number, (one, other, cpus) in enumerate(told):
        begun, ended = max(one, other), min(one, other)
        started, over = NOW - timedelta(seconds=begun), NOW - timedelta(seconds=ended)
        ran.append(
            replace(job(f"j{number}", Resources(cpus=cpus), organisation="city/a"), started_at=started, ended_at=over, state=State.DONE)
        )
        ages.append((begun, ended, cpus))
    usage, moments = 0.0, sorted({2000, 0, *(age for begun, ended, _ in ages for age in (begun, ended))}, reverse=True)
    for older, newer in itertools.pairwise(moments):
        keep = 0.5 ** ((older - newer) / half_life_s)
        held = sum(cpus for begun, ended, cpus in ages if begun >= older and ended <= newer)
        usage = usage * keep + held * (1 - keep)
    found = decayed(ran, now=NOW, half_life_s=half_life_s, outside="platform")
    assert found.get("city/a", 0.0) == pytest.approx(usage, abs=1e-9)
    assert found.get("city", 0.0) == pytest.approx(usage, abs=1e-9)


def test_accelerators_count_one_each_and_steps_inside_the_platform_nothing() -> None:
    begun = NOW - timedelta(days=400)
    chips = replace(job("c", Resources(cpus=1, accelerators={"h20": 3})), started_at=begun)
    inside = replace(job("p", Resources(), engine="platform"), started_at=begun)
    assert decayed([chips, inside], now=NOW, half_life_s=60.0, outside="platform") == {"city": 3.0}


def test_who_used_much_of_late_goes_after_who_used_little() -> None:
    first = job("first", Resources(cpus=4), organisation="city/a", at=0)
    second = job("second", Resources(cpus=4), organisation="city/b", at=1)
    given = replace(facts([first, second], policy="fair_share"), used={"city": 3.0, "city/a": 3.0})
    made = {one.job: one.verdict for one in decisions(given)}
    assert made == {"first": Verdict.WAIT, "second": Verdict.START}
    assert {one.job: one.verdict for one in decisions(replace(given, used={}))}["first"] is Verdict.START
