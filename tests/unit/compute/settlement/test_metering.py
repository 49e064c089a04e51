"""A usage record: the engine's own account first, seconds times what was held, and unknown where a fact is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from headwater.compute.catalogue.chips import chips
from headwater.compute.catalogue.figures import Unknown
from headwater.compute.catalogue.sites import Site, sites
from headwater.compute.jobs import Job, Spec, State
from headwater.compute.settlement.metering import is_domestic, measured, watts_of
from headwater.compute.settlement.ratecards import Card, Version
from headwater.compute.settlement.records import Outcome, UsageRecord, record_from, summed
from headwater.compute.work import Observation, Phase, Reason, Usage
from headwater.core.steps import Resources

START = datetime(2026, 11, 26, 2, tzinfo=UTC)
END = START + timedelta(hours=2)
CARD = Card.model_validate({"valid_from": START, "accelerator_fen_per_h": {"huawei/ascend910b/b3": "850"}, "core_fen_per_h": "10"})
RATES = Version(site="beijing-haidian", version=3, valid_from=START, card=CARD)
ASCEND = Resources(cpus=16, memory_gib=64, accelerators={"huawei/ascend910b/b3": 8})


def job(asked: Resources, **more: object) -> Job:
    whole = Job(
        id="g.train", graph="g", name="train", position=0, organisation="city/haidian", submitted_by="li", step=None,
        spec=Spec(argv=("true",), params={}, inputs={}, resources=asked), state=State.RUNNING, reason="", engine="beijing-haidian",
        place="", attempt=2, reuse_key=None, reused_from=None, result=None, error=None, usage=None, devices=None, submitted_at=START,
        started_at=START, ended_at=None, cancel_asked_by=None, decision=None, attained_s=0.0, preempted_for=None, preemptions=0,
    )  # fmt: skip
    return replace(whole, **more)  # type: ignore[arg-type]


def haidian() -> Site:
    return sites()["beijing-haidian"]


def record(asked: Resources = ASCEND, seen: Observation | None = None, to: State = State.DONE, **more: object) -> UsageRecord:
    told = {"facts": haidian(), "card": RATES} | more
    return measured(job(asked), seen or Observation(phase=Phase.SUCCEEDED), to, at=END, **told)  # type: ignore[arg-type]


def test_seconds_are_counted_times_what_the_attempt_held() -> None:
    made = record()
    assert (made.key, made.measured_by) == ("g.train.2", "platform")
    assert (made.accelerator_s, made.core_s, made.gib_s) == (8 * 7200, 16 * 7200, 64 * 7200)
    assert made.domestic_accelerator_s == made.accelerator_s
    assert made.cpu_s is None, "the engine did not measure it"


def test_the_engines_own_account_goes_before_the_platforms_clock_and_never_past_it() -> None:
    told = record(seen=Observation(phase=Phase.SUCCEEDED, usage=Usage(wall_s=3600.0, cpu_s=41.5)))
    assert (told.measured_by, told.accelerator_s, told.cpu_s) == ("engine", 8 * 3600, 41.5)
    assert told.ended_at == START + timedelta(hours=1)
    boasted = record(seen=Observation(phase=Phase.SUCCEEDED, usage=Usage(wall_s=1e9)))
    assert boasted.accelerator_s == 8 * 7200
    assert record(seen=Observation(phase=Phase.SUCCEEDED, usage=Usage(wall_s=-5.0))).core_s == 0


def test_energy_and_both_carbons_follow_from_the_sites_own_figures() -> None:
    made, facts = record(), haidian()
    kwh = 8 * 400 * 2 / 1000 * 1.35
    assert made.energy_kwh == pytest.approx(kwh)
    assert made.location_kgco2 == pytest.approx(kwh * facts.location_kgco2_per_kwh.value)  # type: ignore[union-attr]
    assert made.market_kgco2 == pytest.approx(kwh * facts.market_kgco2_per_kwh.value)  # type: ignore[union-attr]
    assert "3200 W" in made.energy_basis


def test_what_is_not_stated_is_unknown_with_its_reason_and_never_nought() -> None:
    bare = record(Resources(cpus=4, memory_gib=1))
    assert (bare.energy_kwh, bare.location_kgco2, bare.market_kgco2) == (None, None, None)
    assert "held no accelerator" in bare.energy_basis
    assert "No sites file describes it" in record(facts=None).energy_basis
    assert "the power of nobody/knows" in record(Resources(accelerators={"nobody/knows": 1})).energy_basis
    no_grid = record(facts=replace(haidian(), location_kgco2_per_kwh=Unknown(reason="not read")))
    assert no_grid.location_kgco2 is None
    assert no_grid.market_kgco2 is not None
    assert record(facts=replace(haidian(), power_usage_effectiveness=Unknown(reason="never measured"))).energy_kwh is None


def test_the_pools_own_power_goes_before_the_catalogues() -> None:
    assert watts_of("huawei/ascend910b/b3", haidian()) == 400
    assert watts_of("nvidia/h20/sxm5-96gb", haidian()) == chips()["nvidia/h20/sxm5-96gb"].figure("power_w").value  # type: ignore[union-attr]
    assert watts_of("a100", haidian()) is None, "its variants draw different powers"


def test_the_origin_of_a_chip_is_its_vendors_and_an_unknown_one_is_not_domestic() -> None:
    assert is_domestic("huawei/ascend910b/b3")
    assert is_domestic("mlu590")
    assert not is_domestic("h20")
    assert not is_domestic("made-up")
    assert {chip.vendor for chip in chips() if chip.country is None} == set()


def test_a_run_is_charged_by_the_card_of_its_start_rounded_once() -> None:
    made = record()
    assert (made.charge_fen, made.card) == (2 * (8 * 850 + 16 * 10), 3)
    assert record(card=None).charge_fen is None
    assert "no rate card was in force" in record(card=None).charge_basis
    assert "no price for h20" in record(Resources(accelerators={"h20": 1})).charge_basis


def test_an_attempt_lost_with_its_node_is_metered_and_costs_nothing() -> None:
    made = record(seen=Observation(phase=Phase.LOST, reason=Reason.NODE_LOST), to=State.QUEUED)
    assert (made.outcome, made.charge_fen, made.accelerator_s) == (Outcome.LOST, 0, 8 * 7200)


@pytest.mark.parametrize(
    ("seen", "to", "stopped_for", "how"),
    [
        (Phase.SUCCEEDED, State.DONE, None, Outcome.DONE),
        (Phase.SUCCEEDED, State.FAILED, None, Outcome.FAILED),
        (Phase.FAILED, State.QUEUED, None, Outcome.FAILED),
        (Phase.FAILED, State.REFUSED, None, Outcome.FAILED),
        (Phase.FAILED, State.CANCELLED, None, Outcome.CANCELLED),
        (Phase.FAILED, State.QUEUED, "other", Outcome.PREEMPTED),
        (Phase.LOST, State.QUEUED, "other", Outcome.PREEMPTED),
        (Phase.LOST, State.FAILED, None, Outcome.LOST),
    ],
)
def test_the_outcome_says_how_it_ended(seen: Phase, to: State, stopped_for: str | None, how: Outcome) -> None:
    one = job(ASCEND, preempted_for=stopped_for)
    assert measured(one, Observation(phase=seen), to, at=END, facts=None, card=None).outcome is how


def test_a_record_reads_back_from_its_ledger_body_as_it_was() -> None:
    for made in (record(), record(card=None, facts=None)):
        assert record_from(made.as_json()) == made


def test_sums_count_what_is_unknown_beside_what_is_known() -> None:
    total = summed([record(), record(card=None, facts=None), record(Resources(cpus=1, accelerators={"h20": 8}))])
    assert (total.records, total.unknown_energy, total.uncharged) == (3, 1, 2)
    assert total.domestic_share == pytest.approx(2 / 3)
    assert summed([]).domestic_share is None
