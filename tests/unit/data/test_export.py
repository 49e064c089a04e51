"""Cells that a spreadsheet would run as a formula are made harmless; everything else is left as it is."""

from __future__ import annotations

import pytest

from headwater.data.export import harmless


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "\n=1"])
def test_a_cell_that_would_run_is_marked_as_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=b", "1-2", "西直门", -5, 1.5, None, True])
def test_any_other_cell_is_left_alone(cell: object) -> None:
    assert harmless(cell) == cell
