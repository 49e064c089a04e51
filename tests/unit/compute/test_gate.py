"""Gates: conditions on figures, closed unless each is met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.gate import parse, unmet
from headwater.core.errors import BadInput


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_gate_opens_exactly_when_the_figure_reaches_its_bound(value: float, bound: float) -> None:
    stated = float(f"{bound:.6f}")
    assert (unmet([f"auc >= {bound:.6f}"], {"auc": value}) == ()) == (value >= stated)


def test_what_was_not_measured_keeps_the_gate_shut() -> None:
    assert unmet(["auc >= 0.7"], {"accuracy": 0.9}) == ("auc >= 0.7: 'auc' was not measured (measured: accuracy)",)


def test_the_reason_gives_the_figure() -> None:
    assert unmet(["auc >= 0.7", "loss < 1"], {"auc": 0.65, "loss": 0.5}) == ("auc >= 0.7: it is 0.65",)


@pytest.mark.parametrize(
    "text", ["", "auc", "auc => 1", "auc >= high", "__import__('os') >= 1", "a >= 1; b >= 2", "a.b() > 1", "auc >= nan"]
)
def test_nothing_but_a_comparison_with_a_number_is_a_condition(text: str) -> None:
    with pytest.raises(BadInput, match="is not a gate condition"):
        parse(text)
