"""Tables of published runs: read by the stated rules, scored, and the bars on the shared table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from headwater.core.errors import BadFile, BadInput
from headwater.framework.parallel import fit, score
from headwater.framework.parallel.columns import NVFP4
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.table import MEASURED, NEEDED, Table, read
from headwater.framework.program.model_spec import Kernel
from tests.conftest import shared

ROW = {
    "id": "a1",
    "source": "someone/bench README.md",
    "group": "grid",
    "model": "LLAMA3-8B",
    "arch": "llama",
    "layers": "32",
    "hidden": "4096",
    "ffn": "14336",
    "heads": "32",
    "kv_heads": "8",
    "seq_len": "8192",
    "vocab": "128256",
    "params": "",
    "global_batch": "512",
    "micro_batch": "1",
    "chip": "A100-80GB",
    "chips": "8",
    "tp": "1",
    "pp": "2",
    "vp": "",
    "dp": "4",
    "cp": "1",
    "ep": "",
    "zero": "dist-optimizer(zero1)",
    "recompute": "none",
    "precision": "bf16",
    "software": "Megatron-Core 0.6",
    "tflops_convention": "",
    "measured_tflops_per_chip": "",
    "tokens_per_s_per_chip": "3700",
    "mem_gib": "",
}


def table(tmp_path: Path, *changes: dict[str, str]) -> Table:
    """Return a table of the row with each of the changes."""
    return read(written(tmp_path, *changes))


def written(tmp_path: Path, *changes: dict[str, str]) -> Path:
    """Write a file of the row with each of the changes."""
    file = tmp_path / "runs.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, fieldnames=list(ROW))
        writer.writeheader()
        writer.writerows(ROW | change for change in changes)
    return file


def test_what_a_table_leaves_empty_is_filled_by_the_stated_rules(tmp_path: Path) -> None:
    run = table(tmp_path, {"micro_batch": "", "dp": "", "zero": "unstated", "recompute": "unstated"}).runs[0]
    assert (run.micro_batch, run.dp, run.vp, run.ep, run.zero, run.recompute) == (1, 4, 1, 1, 1, None)


def test_recomputation_that_is_not_stated_is_what_the_run_needs_to_fit(tmp_path: Path) -> None:
    runs = table(tmp_path, {"recompute": "unstated"}, {"recompute": "unstated", "micro_batch": "4"}, {"micro_batch": "4"})
    _, layout, _ = runs.columns()
    assert layout.recompute[0] == 0
    assert 0 < layout.recompute[1] < 1
    assert layout.recompute[2] == 0


@pytest.mark.parametrize(
    ("change", "kernel", "matrices"),
    [
        ({}, Kernel.FUSED, 3.0),
        ({"arch": "gpt-alibi(mpt)"}, Kernel.GENERIC, 2.0),
        ({"software": "Megatron-LM 2021-04"}, Kernel.WRITTEN, 3.0),
        ({"hidden": "4000"}, Kernel.WRITTEN, 3.0),
        ({"arch": "gpt", "params": "8030000000"}, Kernel.FUSED, 3.0),
    ],
)
def test_how_attention_runs_and_whether_there_is_a_gate_is_read_from_the_row(
    tmp_path: Path, change: dict[str, str], kernel: Kernel, matrices: float
) -> None:
    block = table(tmp_path, change).runs[0].block
    assert (block.kernel, block.mlp_matrices) == (kernel, matrices)


def test_words_for_formats_and_sharding_are_understood(tmp_path: Path) -> None:
    changes = [{"precision": "nvfp4", "chip": "GB200"}, {"zero": "fsdp-full(zero3)"}, {"zero": "none"}, {"zero": "fsdp hybrid"}]
    first, full, none, near = table(tmp_path, *changes).runs
    assert (first.precision, full.zero, none.zero, near.zero, near.near) == (NVFP4, 3, 0, 3, True)


def test_tokens_a_second_come_from_hardware_flops_where_only_those_are_given(tmp_path: Path) -> None:
    change = {"tokens_per_s_per_chip": "", "measured_tflops_per_chip": "137", "tflops_convention": "hardware (with recompute)"}
    per_token = 96 * 32 * 4096**2 * (1 + 8192 / (6 * 4096) + 128256 / (16 * 32 * 4096))
    assert table(tmp_path, change).runs[0].tokens_s == pytest.approx(137e12 / per_token)


def test_rows_that_cannot_be_priced_are_named_with_the_reason(tmp_path: Path) -> None:
    speeds = [{"tokens_per_s_per_chip": "-3"}, {"tokens_per_s_per_chip": "nan"}]
    bad = [{"seq_len": ""}, {"chip": "Z9"}, {"dp": "5"}, {"layers": "2.5"}, {"precision": "fp8"}, *speeds]
    found = table(tmp_path, {}, *bad)
    assert len(found.runs) == 1
    assert [problem.where.split()[0] for problem in found.left_out] == [f"runs.csv:{line}" for line in range(3, 10)]


def test_a_file_without_the_columns_or_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("id,source\n", encoding="utf-8")
    with pytest.raises(BadFile, match="No column model"):
        read(empty)
    with pytest.raises(BadFile, match="seq_len is empty"):
        table(tmp_path, {"seq_len": ""})
    with pytest.raises(BadInput, match="cannot be read"):
        read(tmp_path / "nowhere.csv")
    assert set(NEEDED) | set(MEASURED) <= set(ROW)


def test_a_grid_is_judged_by_what_its_picked_layout_reaches() -> None:
    grids = {"rows": [[0], [1, 2], [3]]}
    measured, predicted = np.array([100.0, 80.0, 100.0, 120.0]), np.array([130.0, 90.0, 110.0, 120.0])
    (found,) = (score._grid(name, rows, measured, predicted) for name, rows in grids.items())
    assert (found.layouts, found.picked_over_best, found.median_over_best) == (3, 100 / 120, 100 / 120)
    assert found.spearman == pytest.approx(0.5)


def test_runs_are_compared_only_where_everything_else_is_equal(tmp_path: Path) -> None:
    other = {"tp": "2", "dp": "2", "tokens_per_s_per_chip": "3400"}
    same = table(tmp_path, {}, other, other | {"global_batch": "64"}, other | {"recompute": "full"}, other | {"precision": "fp16"})
    (found,) = score.grids(same, same.tokens_s)
    assert (found.layouts, found.picked_over_best) == (2, 1.0)


def test_the_command_scores_a_file_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, {}, {"tp": "2", "dp": "2", "tokens_per_s_per_chip": "3400"}, {"seq_len": ""})
    assert score.main([str(file), "--json", str(tmp_path / "score.json")]) == 0
    text = capsys.readouterr().out
    assert "someone/bench" in text
    assert "mean picked/best 1.000 over 1 grids" in text
    assert "left out: runs.csv:4 a1: seq_len is empty." in text
    assert json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))["overall"]["runs"] == 2


def test_the_command_says_what_is_wrong_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main([str(tmp_path / "nowhere.csv")]) == 2
    assert "bad_input" in capsys.readouterr().err


def test_leaving_publishers_out_needs_at_least_three(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="1 publishers"):
        fit.leave_one_out(table(tmp_path, {}, {}))


def test_publishers_left_out_are_predicted_within_the_bars() -> None:
    found = score.score(read(shared("parallel/published_throughput.csv")), leave_one_out=True)
    assert found.overall.runs == 370
    assert found.overall.mape <= 0.12
    assert found.overall.median <= 0.08
    assert 0.75 <= found.overall.covered <= 0.85
    assert found.overall.mape < 0.5 * found.overall.baseline_mape
    assert found.picked_over_best is not None
    assert found.picked_over_best >= 0.97
    assert found.spearman is not None
    assert found.spearman >= 0.7


def test_the_shipped_constants_are_what_the_shared_table_gives() -> None:
    constants = fit.fit(read(shared("parallel/published_throughput.csv")))
    for name in fit.NAMES:
        assert getattr(shipped().calibration, name) == pytest.approx(getattr(constants, name), rel=2e-3), name
