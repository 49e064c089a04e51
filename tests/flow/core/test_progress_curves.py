"""What a step measures on the way is kept with its progress, and read again as curves, however long the file is."""

from __future__ import annotations

from pathlib import Path

from headwater.core import progress
from headwater.core.progress import ProgressWriter


def test_figures_become_curves_thinned_out_with_the_last_point_kept(tmp_path: Path) -> None:
    file = tmp_path / progress.FILE
    with file.open("w") as lines:
        for step in range(1000):
            lines.write(f'{{"done": {step}, "total": 1000, "note": "n", "figures": {{"loss": {1 / (step + 1)}}}}}\n')
        lines.write('{"done": 1000, "to')  # its writer is in the middle of a line
    curves = progress.curves(file, most=100)
    assert len(curves["loss"]) <= 102
    assert curves["loss"][0] == (0, 1.0)
    assert curves["loss"][-1] == (999, 0.001)


def test_a_writer_leaves_out_numbers_that_are_none(tmp_path: Path) -> None:
    write = ProgressWriter(tmp_path / progress.FILE)
    write(1, 1, "done", {"loss": float("nan"), "accuracy": 0.5})
    assert progress.curves(tmp_path / progress.FILE) == {"accuracy": [(1, 0.5)]}
    last = progress.last(tmp_path / progress.FILE)
    assert last is not None
    assert last.figures == {"accuracy": 0.5}


def test_a_file_that_is_not_there_has_no_curves(tmp_path: Path) -> None:
    assert progress.curves(tmp_path / "none") == {}
