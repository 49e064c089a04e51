"""Money: exact, added up to the fen, and the same however a run is cut at the edges of its windows."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.compute.settlement.ratecards import Card, Held, exact_fen, rounded, unpriced

NIGHT = {"from": "00:00", "to": "07:00", "percent": "60"}
NOON = {"from": "10:00", "to": "15:00", "percent": "137.5"}
CARD = Card.model_validate(
    {
        "accelerator_fen_per_h": {"h20": "850", "mlu590": "333.333333"},
        "core_fen_per_h": "12.5",
        "memory_fen_per_gib_h": "0.8",
        "windows": [NIGHT, NOON],
    }
)
MIDNIGHT = datetime(2026, 11, 25, 16, tzinfo=UTC)
"""In the city's time."""

moments = st.integers(0, 40 * 86_400_000_000).map(lambda us: MIDNIGHT + timedelta(microseconds=us))
lengths = st.integers(0, 5 * 86_400_000_000).map(lambda us: timedelta(microseconds=us))


def held(since: datetime, lasted: timedelta, **more: object) -> Held:
    told = {"accelerators": {"h20": 4}, "cpus": 8.0, "memory_gib": 16.0} | more
    return Held(since=since, lasted=lasted, **told)  # type: ignore[arg-type]


def test_an_hour_at_the_plain_price_is_the_price_of_what_was_held() -> None:
    assert exact_fen(CARD, held(MIDNIGHT + timedelta(hours=8), timedelta(hours=1))) == 4 * 850 + 8 * Fraction("12.5") + 16 * Fraction("0.8")


def test_a_window_counts_with_its_percentage_and_the_rest_with_all() -> None:
    cores = {"accelerators": {}, "cpus": 1.0, "memory_gib": 0.0}
    assert exact_fen(CARD, held(MIDNIGHT, timedelta(hours=1), **cores)) == Fraction("12.5") * Fraction(60, 100)
    assert exact_fen(CARD, held(MIDNIGHT + timedelta(hours=6, minutes=30), timedelta(hours=1), **cores)) == Fraction("12.5") * Fraction(
        8, 10
    )
    whole_day = Fraction("12.5") * (7 * Fraction(60, 100) + 5 * Fraction("1.375") + 12)
    assert exact_fen(CARD, held(MIDNIGHT, timedelta(days=1), **cores)) == whole_day


@given(moments, lengths, st.lists(st.floats(0, 1), max_size=6))
def test_cutting_a_run_anywhere_changes_nothing(since: datetime, lasted: timedelta, cuts: list[float]) -> None:
    edges = [
        since,
        *sorted(since + timedelta(microseconds=int(cut * (lasted // timedelta(microseconds=1)))) for cut in cuts),
        since + lasted,
    ]
    parts = [exact_fen(CARD, held(one, after - one)) for one, after in itertools.pairwise(edges)]
    assert sum(parts) == exact_fen(CARD, held(since, lasted))


@given(st.lists(st.tuples(moments, lengths), max_size=12))
def test_whole_fen_add_up_and_each_run_is_off_by_half_a_fen_at_most(runs: list[tuple[datetime, timedelta]]) -> None:
    exact = [exact_fen(CARD, held(*run)) for run in runs]
    charged = [rounded(one) for one in exact]
    assert all(type(one) is int and abs(one - fen) <= Fraction(1, 2) for one, fen in zip(charged, exact, strict=True))
    assert abs(sum(charged) - sum(exact, Fraction(0))) <= Fraction(len(runs), 2)


@given(moments, lengths, lengths)
def test_a_longer_run_never_costs_less(since: datetime, one: timedelta, more: timedelta) -> None:
    assert exact_fen(CARD, held(since, one)) <= exact_fen(CARD, held(since, one + more))


def test_half_a_fen_goes_up() -> None:
    assert [rounded(Fraction(fen, 2)) for fen in (0, 1, 2, 3)] == [0, 1, 1, 2]


def test_decimals_are_taken_as_written() -> None:
    tenth = held(MIDNIGHT + timedelta(hours=8), timedelta(hours=1), accelerators={}, cpus=0.1, memory_gib=0.0)
    assert exact_fen(CARD, tenth) == Fraction(125, 100)


def test_an_accelerator_without_a_price_is_named() -> None:
    one = held(MIDNIGHT, timedelta(hours=1), accelerators={"h20": 1, "b200": 2, "a100": 0})
    assert unpriced(CARD, one) == ("b200",)


@pytest.mark.parametrize(
    ("windows", "why"),
    [
        ([NIGHT, {"from": "06:59", "to": "08:00", "percent": 100}], "overlap"),
        ([{"from": "23:00", "to": "01:00", "percent": 100}], "over midnight as two"),
        ([{"from": "7:00", "to": "08:00", "percent": 100}], "pattern"),
        ([{"from": "07:00", "to": "08:00", "percent": -1}], "greater than or equal to 0"),
    ],
)
def test_windows_that_make_no_sense_are_refused(windows: list[dict[str, object]], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Card.model_validate({"windows": windows})
