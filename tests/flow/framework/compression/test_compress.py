"""One call, several engines: each candidate is really made and measured, and none below the floor is kept."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headwater.core.errors import BadInput, GateClosed, NotFound
from headwater.framework.compression.compress import Measure, ParetoSet, compress
from headwater.framework.compression.engine import Given
from headwater.framework.compression.engines.pruning import prune
from headwater.framework.program.frozen import freeze
from headwater.framework.runtimes.onnx import open_folder
from headwater.framework.training.tasks.language import Decoder, Shape

ROWS, CLASSES = 600, 4


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Any, Any]:
    """Give a classifier that was trained on four clouds of points, with rows and classes."""
    torch.manual_seed(0)
    centres = torch.randn(CLASSES, 32)
    classes = torch.arange(ROWS) % CLASSES
    rows = centres[classes] + 0.9 * torch.randn(ROWS, 32)
    model = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows[:400]), classes[:400]).backward()
        optimizer.step()
    return model.eval(), rows.numpy(), classes.numpy()


def told(trained: tuple[nn.Module, Any, Any]) -> tuple[Given, Any]:
    """Return what engines are given, and the measure."""
    model, rows, classes = trained
    program = freeze(model, [torch.from_numpy(rows[:4])], dynamic=[{0: ("n", 1, 4096)}])

    def measure(ask: Any) -> Measure:
        right = ask(rows[400:])[0].argmax(1) == classes[400:]
        return Measure(value=float(right.mean()), n=len(right))

    calibration = [(rows[place : place + 32],) for place in range(0, 320, 32)]
    students = {"narrow": lambda: nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, CLASSES))}
    return Given(program=program, calibration=calibration, pairs=[("0", "2")], students=students), measure


@pytest.fixture(scope="module")
def made(trained: tuple[nn.Module, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[ParetoSet, Path]:
    pytest.importorskip("nncf")
    given, measure = told(trained)
    folder = tmp_path_factory.mktemp("compressed") / "small"
    return compress(given, measure, floor=0.9, folder=folder, aim="size", rounds=15), folder


def test_every_engine_that_is_here_gives_measured_candidates(made: tuple[ParetoSet, Path]) -> None:
    found, _ = made
    assert {point.engine for point in found.points} == {"onnxruntime", "nncf", "torchao", "pruning", "distillation"}
    assert found.absent["llmcompressor"] == "nothing here that it applies to"
    assert all(point.size_bytes > 0 and point.latency_ms > 0 and point.receipt["machine"] for point in found.points)
    assert min(point.size_bytes for point in found.points) < found.before_bytes / 3


def test_what_was_chosen_is_written_with_all_receipts_and_answers(
    made: tuple[ParetoSet, Path], trained: tuple[nn.Module, Any, Any]
) -> None:
    found, folder = made
    assert found.chosen.on_front
    assert not found.chosen.why_not
    kept = json.loads((folder / "pareto.json").read_text())
    assert len(kept["points"]) == len(found.points)
    if (folder / "model.onnx").exists():
        assert open_folder(folder)(trained[1][:3])[0].shape == (3, CLASSES)


def test_a_candidate_below_the_floor_is_refused_with_its_figure_and_nothing_is_written(
    trained: tuple[nn.Module, Any, Any], tmp_path: Path
) -> None:
    model, rows, _ = trained
    given, _ = told(trained)
    exact = model(torch.from_numpy(rows)).detach().numpy()

    def same(ask: Any) -> Measure:  # only the very same answers are good enough
        return Measure(value=float(np.abs(ask(rows)[0] - exact).max() < 1e-6), n=len(rows))

    with pytest.raises(GateClosed, match=r"onnxruntime int8-dynamic: 0\.0000 is below the floor 1\.0000"):
        compress(given, same, floor=1.0, folder=tmp_path / "small", engines=["onnxruntime"], rounds=3)
    assert list(tmp_path.iterdir()) == []


def test_a_model_below_its_own_floor_or_with_a_measure_that_is_no_number_is_not_compressed(
    trained: tuple[nn.Module, Any, Any], tmp_path: Path
) -> None:
    given, _ = told(trained)
    for value in (0.5, float("nan")):
        with pytest.raises(BadInput, match="below the floor"):
            compress(given, lambda _, value=value: Measure(value=value, n=1), floor=0.9, folder=tmp_path / "small")
    with pytest.raises(NotFound, match="There is no compressio"):
        compress(given, lambda _: Measure(value=1.0, n=1), floor=0.9, folder=tmp_path / "small", engines=["magic"])


def test_engines_to_which_nothing_applies_say_so(trained: tuple[nn.Module, Any, Any], tmp_path: Path) -> None:
    given, measure = told(trained)
    bare = Given(program=given.program)
    found = compress(bare, measure, floor=0.9, folder=tmp_path / "s", engines=["onnxruntime", "pruning", "distillation"], rounds=3)
    assert set(found.absent) == {"pruning", "distillation"}


def test_pruning_takes_the_units_that_weigh_least() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.01, 0.0], [0.0, 2.0]]))
        model[2].weight.copy_(torch.tensor([[1.0, 1.0, 1.0]]))
    prune(model, "0", "2", 1 / 3)
    assert model[0].weight.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    with pytest.raises(BadInput, match="There is no layer '9'"):
        prune(model, "9", "2", 0.5)
    with pytest.raises(BadInput, match="'1' is a ReLU"):
        prune(model, "1", "2", 0.5)


def test_llm_compressor_is_tried_where_it_is_installed_and_named_where_it_is_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Decoder(Shape(layers=1, width=128, heads=2, window=32)).eval()
    tokens = torch.randint(0, 256, (4, 16))
    given = Given(program=freeze(model, [tokens], dynamic=[{0: ("n", 1, 64), 1: ("t", 2, 64)}]))
    exact = model(tokens).detach().numpy()

    def near(ask: Any) -> Measure:
        return Measure(value=float(np.corrcoef(ask(tokens.numpy())[0].ravel(), exact.ravel())[0, 1]), n=exact.size)

    found = compress(given, near, floor=0.9, folder=tmp_path / "s", engines=["llmcompressor", "onnxruntime"], rounds=3)
    if importlib.util.find_spec("llmcompressor") is None:
        assert "'llmcompressor' is not installed" in found.absent["llmcompressor"]
        return
    (eight,) = [one for one in found.points if one.engine == "llmcompressor" and one.setting == "int8-weights"]
    assert eight.metric > 0.99
