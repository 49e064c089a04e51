"""Run times are expected from like jobs that had ended by then, and the report says how far off that was."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.prediction import History, Ran

NEAR, FAR = ("li a.train", "a.train", "python", ""), ("wu b.train", "b.train", "python", "")


def ran(likeness: tuple[str, ...], submitted_s: float, run_s: float, ended_s: float | None = None) -> Ran:
    return Ran(likeness=likeness, submitted_s=submitted_s, ended_s=submitted_s + run_s if ended_s is None else ended_s, run_s=run_s)


def test_nothing_is_expected_where_nothing_has_run() -> None:
    assert History().expect(NEAR) is None


def test_the_nearest_likeness_decides_and_is_named() -> None:
    history = History([ran(NEAR, 0, 10), ran(FAR, 0, 1000)])
    told = history.expect(NEAR)
    assert told is not None
    assert (round(told.run_s), told.runs, told.likeness) == (10, 1, "person, project step and shape")
    other = history.expect(("he c.train", "c.train", "python", ""))
    assert other is not None
    assert (round(other.run_s), other.runs, other.likeness) == (100, 2, "step or program, and shape")


def test_only_the_latest_eight_runs_count() -> None:
    told = History([ran(NEAR, 2000.0 * number, 1000 if number < 5 else 2) for number in range(13)]).expect(NEAR)
    assert told is not None
    assert math.isclose(told.run_s, 2)


def test_a_run_that_ended_after_a_job_was_handed_in_does_not_speak_for_it() -> None:
    early, late = ran(NEAR, 0, 100), ran(NEAR, 50, 400)
    assert History([early, late]).errors() == ()
    (exact, *_) = History([early, ran(NEAR, 101, 400)]).errors()
    assert (exact.predictions, round(exact.median, 6)) == (1, 4.0)


def test_an_interval_is_given_only_once_enough_was_foretold() -> None:
    few, many = (History([ran(NEAR, 1000.0 * number, 10) for number in range(count)]) for count in (20, 21))
    assert (few.expect(NEAR).low_s, few.expect(NEAR).high_s) == (None, None)  # type: ignore[union-attr]
    told = many.expect(NEAR)
    assert told is not None
    assert told.low_s is not None
    assert told.high_s is not None
    assert math.isclose(told.low_s, 10)
    assert math.isclose(told.high_s, 10)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0.01, 1e4)), min_size=1, max_size=30), st.randoms())
def test_what_is_learned_does_not_depend_on_the_order_in_which_runs_are_told(pairs: list[tuple[float, float]], chance: object) -> None:
    runs = [ran(NEAR, submitted, run_s) for submitted, run_s in dict(pairs).items()]
    mixed = list(runs)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert History(runs).errors() == History(mixed).errors()
    assert History(runs).expect(NEAR) == History(mixed).expect(NEAR)


@given(st.lists(st.floats(0.01, 1e4), min_size=2, max_size=40))
def test_the_shares_of_the_report_are_shares_and_its_interval_is_ordered(lengths: list[float]) -> None:
    at_s, runs = 0.0, []
    for run_s in lengths:
        runs.append(ran(NEAR, at_s, run_s))
        at_s += run_s + 1
    for error in History(runs).errors():
        assert error.predictions == len(lengths) - 1
        assert error.low <= error.median <= error.high
        assert 0 <= error.within_2x <= 1
