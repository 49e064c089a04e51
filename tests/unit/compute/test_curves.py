"""A job's charts are read from what it noted, with care: it may have noted anything."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.curves import noted, points

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["step", "loss", "kind", "points", "x", "y"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(anything)
def test_whatever_was_noted_breaks_nothing(told: Any) -> None:
    noted(told)
    points(told)


def test_rows_with_a_step_become_curves_and_points_a_chart() -> None:
    rows = [{"step": 10, "train_loss": 2.0, "accuracy": 0.5}, {"step": 20, "train_loss": 1.0, "accuracy": "?"}, {"no": 1}]
    assert noted(rows) == {"train_loss": [(10.0, 2.0), (20.0, 1.0)], "accuracy": [(10.0, 0.5)]}
    told = {"kind": "scatter", "x": "MB", "y": "ms", "points": [{"x": 1, "y": 2, "label": "a", "state": "chosen"}, {"x": "?", "y": 2}]}
    chart = points(told)
    assert chart is not None
    assert [(dot.label, dot.state) for dot in chart.dots] == [("a", "chosen")]
