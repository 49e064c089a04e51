"""The search: its bound is a bound, its best is the best, its refusals say by how much."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.core.errors import BadInput
from headwater.framework.parallel.bound import price
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.predict import predict
from headwater.framework.parallel.search import cut_row, default_batch, plan_of, search
from headwater.framework.parallel.space import space
from headwater.framework.parallel.why import parsed, why_not
from headwater.framework.program.model_spec import decoder
from headwater.framework.program.named import named
from tests.unit.framework.parallel.models import small

TIGHT = decoder(name="tight", layers=22, hidden=4096, ffn=16384, heads=32, vocab=50304, seq_len=4096, gated=False)
FLEETS = ("8xA100-40", "4xH800-80+4xA100-40")


@pytest.mark.parametrize("fleet", FLEETS)
def test_no_layout_does_better_than_its_bound_and_none_better_than_the_best(fleet: str) -> None:
    spec, where = TIGHT, Fleet.load(fleet)
    found = space(spec, where, global_batch=32, precisions=("bf16",))
    priced = price(spec, found, shipped().calibration)
    best = np.inf
    fitting = 0
    for row in range(len(found)):
        exact = cut_row(spec, priced, row)
        assert exact is None or np.isfinite(priced.bound_s[row])
        if exact is None:
            continue
        fitting += 1
        estimate = predict(spec, where, plan_of(found, row, exact))
        assert estimate.fits, plan_of(found, row, exact)
        assert estimate.step_s >= priced.bound_s[row]
        best = min(best, estimate.step_s)
    plans = search(spec, where, global_batch=32)
    assert 0 < fitting < len(found)
    assert plans.best.estimate.step_s == pytest.approx(best)
    assert plans.gap == 0


def test_the_same_question_has_the_same_answer_and_plans_come_best_first() -> None:
    first, second = (search(small(), Fleet.load("16xH100-80"), global_batch=64) for _ in range(2))
    assert [one.plan for one in first.choices] == [one.plan for one in second.choices]
    assert [one.value for one in first.choices] == sorted(one.value for one in first.choices)


def test_where_time_runs_out_the_gap_says_how_much_may_be_missed() -> None:
    ticks = iter(range(10_000))
    plans = search(TIGHT, Fleet.load("8xA100-40"), global_batch=32, budget_s=2.5, clock=lambda: float(next(ticks)))
    whole = search(TIGHT, Fleet.load("8xA100-40"), global_batch=32)
    assert plans.best.value / (1 + plans.gap) <= whole.best.value
    assert plans.cut < whole.cut


def test_layers_move_to_the_faster_chips_of_a_mixed_fleet() -> None:
    best = search(TIGHT, Fleet.load("4xH800-80+4xA800-80"), global_batch=32).best
    chips = [stage.chip for stage in best.estimate.stages]
    fast = sum(stage.layers for stage in best.estimate.stages if "h800" in stage.chip)
    assert {"nvidia/h800/sxm5-80gb", "nvidia/a800/sxm4-80gb"} == set(chips)
    assert fast > TIGHT.layers / 2


def test_a_model_that_fits_nowhere_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(BadInput, match=r"llama-3-70b with 70\.6 billion parameters does not fit .* lacks [0-9.]+ GiB a chip"):
        search(named("llama-3-70b"), Fleet.load("4xA100-40"), global_batch=8)


def test_a_fleet_that_nothing_divides_is_refused() -> None:
    with pytest.raises(BadInput, match="on 13 chips divides"):
        search(small(), Fleet.load("13xA100-80"), global_batch=64)


def test_a_format_that_the_chip_lacks_is_refused_before_anything_is_priced() -> None:
    with pytest.raises(BadInput, match="knows no fp8 rate of nvidia/a100"):
        search(small(), Fleet.load("8xA100-80"), precisions=("fp8",))


def test_fewer_bits_are_chosen_where_they_are_allowed_and_faster() -> None:
    fleet = Fleet.load("8xH100-80")
    assert search(named("llama-3-8b"), fleet, precisions=("bf16", "fp8")).best.plan.precision == "fp8"


@pytest.mark.parametrize("batch", [-1, 1 << 21])
def test_nonsense_batches_are_refused(batch: int) -> None:
    with pytest.raises(BadInput, match="sequences"):
        search(small(), Fleet.load("8xA100-80"), global_batch=batch)


def test_cost_needs_prices_and_then_keeps_within_the_step_allowed() -> None:
    with pytest.raises(BadInput, match="no prices"):
        search(small(), Fleet.load("8xA100-80"), objective="cost")
    fleet = Fleet.load("16xA100-80/price10")
    free = search(small(), fleet, objective="cost", global_batch=64).best
    fast = search(small(), fleet, objective="cost", global_batch=64, within_s=free.estimate.step_s / 2).best
    assert free.fleet.chips < 16
    assert fast.estimate.step_s <= free.estimate.step_s / 2
    assert fast.value >= free.value
    with pytest.raises(BadInput, match="the fastest takes"):
        search(small(), fleet, objective="cost", global_batch=64, within_s=1e-6)


def test_the_default_batch_is_a_power_of_two_that_keeps_every_chip_busy() -> None:
    assert default_batch(named("llama-3-70b"), Fleet.load("64xA100-80")) == 512
    assert default_batch(named("llama-3-70b"), Fleet.load("65536xA100-80")) == 8192


def test_why_not_says_what_is_impossible_too_large_or_slower() -> None:
    plans = search(named("llama-3-70b"), Fleet.load("64xA100-80"))
    odd = why_not(plans, "tp3")
    assert odd.plan is None
    assert any("64 heads do not divide by tp 3" in one for one in odd.reasons)
    large = why_not(plans, "dp64 zero1")
    assert "GiB more than the 80 there are" in large.reasons[0]
    assert large.nearest is not None
    assert predict(plans.spec, plans.fleet, large.nearest).fits
    slow = why_not(plans, "tp8 pp8")
    assert slow.estimate is not None
    assert slow.estimate.step_s > plans.best.estimate.step_s
    assert any(one.startswith("tensor: +") for one in slow.reasons)
    assert why_not(plans, plans.best.plan.name.removesuffix(" bf16")).reasons == ("It is the best plan.",)


@pytest.mark.parametrize("asked", ["", "fast", "tp8 tp", "pp-1", "tp0", "tp8 " * 20, "vp1.5"])
def test_what_is_no_layout_is_refused(asked: str) -> None:
    with pytest.raises(BadInput, match="layout|below 1"):
        parsed(search(small(), Fleet.load("8xA100-80")), asked)
