"""Recipes of the framework run from their files to their ends, and a step that is stopped goes on from its checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from headwater.core import progress
from headwater.core.errors import BadInput, StepFailed
from headwater.core.steps import STEPS, Task


def task(step: str, folder: Path, inputs: dict[str, Path] | None = None, **params: Any) -> Task:
    declared = STEPS.get(step)
    folder.mkdir(parents=True, exist_ok=True)
    return Task(step=step, params=declared.params.model_validate(params), folder=folder, inputs=inputs or {}, digests={}, seed=3)


def ran(told: Task) -> Task:
    STEPS.get(told.step).run(told)
    return told


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(task("framework.examples", tmp_path_factory.mktemp("x"), kind="sentences", count=400)).outputs["examples"]


SMALL = {"layers": 1, "width": 32, "heads": 2, "window": 48, "batch": 16, "micro": 16, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def decoder(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return ran(task("framework.train_text", tmp_path_factory.mktemp("t"), {"text": text}, steps=40, evaluate_every=10, **SMALL))


def test_a_decoder_is_trained_shrunk_and_handed_on(decoder: Task, tmp_path: Path) -> None:
    assert decoder.metrics["valid_bits_per_byte"] < 5
    assert [point["step"] for point in decoder.facts["curve"]] == [10, 20, 30, 40]
    model = decoder.outputs["model"]
    small = ran(task("framework.shrink", tmp_path / "s", {"model": model}, floor=0.1, aim="size", engines=["onnxruntime"], rounds=5))
    assert small.metrics["smaller"] > 1
    assert {point["state"] for point in small.facts["chart"]["points"]} & {"chosen"}
    handed = ran(task("framework.hand_on", tmp_path / "h", {"model": model}, to="vllm"))
    assert handed.metrics["same_largest"] == 1.0
    assert (handed.outputs["model"] / "config.json").is_file()


def test_an_adapted_decoder_trains_few_weights_and_is_whole_again(decoder: Task, text: Path, tmp_path: Path) -> None:
    inputs = {"text": text, "base": decoder.outputs["model"]}
    adapted = ran(task("framework.train_text", tmp_path, inputs, steps=10, lora_rank=2, batch=8, micro=8))
    assert adapted.metrics["trained_parameters"] < adapted.metrics["parameters"] / 4
    written = ran(task("framework.write", tmp_path / "w", {"model": adapted.outputs["model"]}, prompt="W", length=20))
    assert len(written.outputs["text"].read_bytes()) == 20
    with pytest.raises(BadInput, match="none was given"):
        ran(task("framework.train_text", tmp_path / "n", {"text": text}, lora_rank=2))


def test_two_ranks_train_what_one_does(text: Path, decoder: Task, tmp_path: Path) -> None:
    shared = ran(task("framework.train_text", tmp_path, {"text": text}, steps=40, evaluate_every=10, ranks=2, layout="sharded", **SMALL))
    assert shared.metrics["valid_loss"] == pytest.approx(decoder.metrics["valid_loss"], abs=0.02)


def test_a_step_that_is_told_to_stop_goes_on_from_its_checkpoint(text: Path, tmp_path: Path) -> None:
    first = task("framework.train_text", tmp_path / "a", {"text": text}, steps=100_000, **SMALL)
    first.settings = {"checkpoint": str(tmp_path / "kept")}

    def stop() -> None:
        while progress.last(tmp_path / "a" / progress.FILE) is None:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(StepFailed, match=r"Told to stop at step \d+ of 100000\. Its checkpoint is kept"):
        ran(first)
    done = int(next((tmp_path / "kept").glob("step-*")).name.removeprefix("step-"))
    second = task("framework.train_text", tmp_path / "b", {"text": text}, steps=done + 2, **SMALL)
    second.settings = {"checkpoint": str(tmp_path / "kept")}
    ran(second)
    told = progress.curves(tmp_path / "b" / progress.FILE)
    assert told["loss"][0][0] > done
    assert {"tokens_per_s", "left_s"} <= set(told)


@pytest.mark.parametrize("recipe", ["images", "knowledge"])
def test_a_recipe_runs_from_its_file_to_its_end(recipe: str, tmp_path: Path) -> None:
    command = ["run", f"recipes/{recipe}/project.yaml", "--data", str(tmp_path / "data"), "--result", str(tmp_path / "result.json")]
    done = subprocess.run([sys.executable, "-m", "headwater", *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads((tmp_path / "result.json").read_text())
    assert {job["state"] for job in told["run"]["jobs"]} == {"done"}
