"""The exact cut is exact: beside every possible cut on small pipelines, and beside HiGHS on real ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.framework.parallel.certify import certify
from headwater.framework.parallel.cuts import StageCosts, cut, tables
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.search import search
from headwater.framework.program.named import named

STAGES = st.integers(1, 4)
AMOUNTS = st.floats(0.1, 10.0)


@st.composite
def pipelines(draw: st.DrawFn) -> StageCosts:
    """Return stages of different speed, with room for some layers whole and for more with recomputation."""
    size = draw(STAGES)

    def column(amounts: st.SearchStrategy[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(draw(st.lists(amounts, min_size=size, max_size=size)))

    kept = column(AMOUNTS)
    return StageCosts(
        layer_s=column(AMOUNTS),
        again_s=column(AMOUNTS),
        fixed_s=column(st.floats(0.0, 5.0)),
        layer_bytes=column(AMOUNTS),
        kept_bytes=kept,
        input_bytes=kept * draw(st.floats(0.0, 0.5)),
        working_bytes=column(st.floats(0.0, 1.0)),
        room_bytes=column(st.floats(0.0, 60.0)),
    )


@given(costs=pipelines(), layers=st.integers(1, 9), busy=st.floats(1.0, 50.0), wait=st.floats(0.0, 5.0), least=st.integers(0, 2))
def test_no_cut_is_better_than_the_one_found(costs: StageCosts, layers: int, busy: float, wait: float, least: int) -> None:
    seconds, _ = tables(costs, layers, least)
    found = cut(costs, layers, least=least, total=lambda slowest, amount: busy * slowest + wait * amount)
    best = np.inf
    for counts in itertools.product(range(layers + 1), repeat=len(seconds)):
        stages = [seconds[at, count] for at, count in enumerate(counts)]
        if sum(counts) == layers and np.isfinite(max(stages)):
            best = min(best, busy * max(stages) + wait * sum(stages))
    if found is None:
        assert best == np.inf
        return
    assert busy * found.slowest_s + wait * found.sum_s == pytest.approx(best)
    assert sum(stage.layers for stage in found.stages) == layers


@given(costs=pipelines(), layers=st.integers(1, 9))
def test_a_stage_recomputes_just_enough_to_fit(costs: StageCosts, layers: int) -> None:
    seconds, again = tables(costs, layers, 0)
    for at, count in itertools.product(range(len(seconds)), range(layers + 1)):
        if not np.isfinite(seconds[at, count]):
            continue
        need = count * costs.layer_bytes[at] + count * costs.kept_bytes[at]
        saved = costs.kept_bytes[at] - costs.input_bytes[at]
        left = need - again[at, count] * saved + (costs.working_bytes[at] if again[at, count] else 0.0)
        assert left <= costs.room_bytes[at] + 1e-6
        fewer = again[at, count] - 1
        if fewer >= 1:
            assert need - fewer * saved + costs.working_bytes[at] > costs.room_bytes[at] - 1e-6


@pytest.mark.parametrize(("fleet", "batch"), [("64xA100-40", 64), ("32xH800-80+32xA800-80", 64)])
def test_highs_finds_no_better_stages(fleet: str, batch: int) -> None:
    spec = named("llama-3-70b")
    plans = search(spec, Fleet.load(fleet), global_batch=batch)
    choice = next(one for one in plans.choices if one.plan.pp > 1)
    proof = certify(spec, choice)
    assert proof.gap <= 1e-6
    assert proof.ours_s == pytest.approx(proof.highs_s)
