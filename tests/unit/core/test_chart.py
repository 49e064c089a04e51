"""A chart holds every point within its frame, and its ticks are round values in order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headwater.core.chart import dots, lines

numbers = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_points_lie_within_the_frame_and_ticks_rise(points: list[tuple[float, float]]) -> None:
    chart = lines("t", {"a": points})
    assert chart is not None
    (line,) = chart.lines
    places = [tuple(map(float, one.split())) for one in line.path.removeprefix("M").split(" L")]
    assert len(places) == len(points)
    assert all(chart.left - 1 <= x <= chart.right + 1 and chart.top - 1 <= y <= chart.bottom + 1 for x, y in places)
    assert line.last == points[-1][1]
    across = [tick.at for tick in chart.x_ticks]
    assert across == sorted(across)
    assert 1 <= len(across) <= 12


def test_numbers_that_are_none_are_left_out_and_nothing_gives_no_chart() -> None:
    assert lines("t", {"a": [(1.0, math.nan)], "b": []}) is None
    assert lines("t", {}) is None
    assert dots("t", [], x_title="MB", y_title="ms") is None


def test_points_are_drawn_from_zero_with_their_labels() -> None:
    chart = dots("t", [(4.0, 2.0, "int8", "chosen")], x_title="MB", y_title="ms")
    assert chart is not None
    assert chart.dots[0].label == "int8"
    assert chart.x_ticks[0].label == "0"
