"""Two accounts of the same use: equal ones agree, and swapping the sides swaps every difference and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.settlement.reconciling import Difference, Kind, reconcile
from headwater.compute.settlement.records import Outcome, UsageRecord

AT = datetime(2026, 11, 26, 2, tzinfo=UTC)


def line(key: str, seconds: float = 60.0, fen: int | None = 100, organisation: str = "city/haidian") -> UsageRecord:
    return UsageRecord(
        key=key, job=key, attempt=1, organisation=organisation, site="north", outcome=Outcome.DONE, measured_by="engine", started_at=AT,
        ended_at=AT, metered_at=AT, accelerators={"h20": 1}, cpus=1.0, memory_gib=1.0, accelerator_s=seconds, domestic_accelerator_s=0.0,
        core_s=seconds, cpu_s=None, gib_s=seconds, energy_kwh=None, location_kgco2=None, market_kgco2=None, energy_basis="unknown",
        card=1, charge_fen=fen, charge_basis="rate card 1",
    )  # fmt: skip


lines = st.lists(
    st.builds(line, st.sampled_from("abcdef"), st.sampled_from([0.0, 1.0, 59.9, 60.0]), st.sampled_from([None, 0, 100])),
    max_size=6,
    unique_by=lambda one: one.key,
)
MIRRORED = {Kind.MISSING_HERE: Kind.MISSING_THERE, Kind.MISSING_THERE: Kind.MISSING_HERE, Kind.DIFFERS: Kind.DIFFERS}


@given(lines, lines, st.sampled_from([0.0, 0.01]))
def test_it_does_not_matter_who_compares(ours: list[UsageRecord], theirs: list[UsageRecord], within: float) -> None:
    here, there = reconcile(ours, theirs, within=within), reconcile(theirs, ours, within=within)
    mirrored = [replace(one, kind=MIRRORED[one.kind], ours=one.theirs, theirs=one.ours) for one in there.differences]
    assert list(here.differences) == mirrored
    assert (here.ours, here.theirs, here.agreed) == (there.theirs, there.ours, there.agreed)


@given(lines)
def test_an_account_agrees_with_itself(ours: list[UsageRecord]) -> None:
    found = reconcile(ours, reversed(ours))
    assert (found.agreed, found.differences, found.ours_fen) == (len(ours), (), found.theirs_fen)


@given(lines, lines)
def test_every_attempt_agrees_or_is_listed(ours: list[UsageRecord], theirs: list[UsageRecord]) -> None:
    found = reconcile(ours, theirs)
    every = {one.key for one in (*ours, *theirs)}
    assert found.agreed + len({one.key for one in found.differences}) == len(every)


def test_each_kind_of_difference_is_named() -> None:
    ours = [line("a"), line("b"), line("c"), line("d")]
    theirs = [line("b", seconds=61.0, fen=102), line("c", organisation="city"), line("d"), line("e", fen=7)]
    assert reconcile(ours, theirs).differences == (
        Difference(kind=Kind.MISSING_THERE, key="a", ours=100),
        *(Difference(kind=Kind.DIFFERS, key="b", figure=name, ours=60.0, theirs=61.0) for name in ("accelerator_s", "core_s", "gib_s")),
        Difference(kind=Kind.DIFFERS, key="b", figure="charge_fen", ours=100, theirs=102),
        Difference(kind=Kind.DIFFERS, key="c", figure="organisation", ours="city/haidian", theirs="city"),
        Difference(kind=Kind.MISSING_HERE, key="e", theirs=7),
    )


def test_a_tolerance_lets_seconds_pass_and_never_money() -> None:
    found = reconcile([line("a")], [line("a", seconds=60.3, fen=101)], within=0.01)
    assert [(one.figure, one.ours, one.theirs) for one in found.differences] == [("charge_fen", 100, 101)]


def test_unknown_and_nought_are_not_the_same() -> None:
    found = reconcile([line("a", fen=None)], [line("a", fen=0)])
    assert [one.figure for one in found.differences] == ["charge_fen"]
