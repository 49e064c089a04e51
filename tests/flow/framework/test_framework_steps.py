"""train, compress and deploy on the real credit data: what they measure, what they refuse, and that they come out the same."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headwater.core.errors import BadInput, Broken, GateClosed
from headwater.core.progress import FILE, last
from headwater.core.steps import Task
from headwater.core.tabular import read_signature
from headwater.framework.model_folder import load_model
from headwater.framework.steps import compress, deploy, train
from tests.flow.data.one_step import SEED, digest, run, run_seeded
from tests.flow.framework.conftest import recipe_params


def changed(dataset: Path, folder: Path, part: str, change: pl.Expr) -> Path:
    """Return a copy of the data set with one part changed."""
    copy = folder / "changed"
    shutil.copytree(dataset, copy)
    pl.read_parquet(copy / f"{part}.parquet").with_columns(change).write_parquet(copy / f"{part}.parquet")
    return copy


def test_training_meets_the_recipes_gate_on_rows_it_has_not_seen(trained: Task) -> None:
    assert trained.metrics["test_auc"] >= 0.70
    assert trained.metrics["test_balanced_accuracy"] >= 0.60
    told = json.loads((trained.outputs["model"] / "metrics.json").read_text())
    assert {name: one["n"] for name, one in told["parts"]["test"].items()} == dict.fromkeys(
        ["accuracy", "balanced_accuracy", "auc", "log_loss"], 300
    )
    progress = last(trained.folder / FILE)
    assert progress is not None
    assert progress.share == 1


def test_the_same_seed_gives_a_model_of_the_same_digest_also_in_a_process_of_its_own(trained: Task, dataset: Path, tmp_path: Path) -> None:
    params = recipe_params("train", "dataset")
    (tmp_path / "inputs").mkdir()
    shutil.copytree(dataset, tmp_path / "inputs" / "dataset")
    task = {"step": "framework.train", "params": params, "inputs": {"dataset": "sha256:0/"}, "seed": SEED}
    task |= {"project": "", "job": "", "actor": "", "organisation": "", "settings": {}}
    (tmp_path / "task.json").write_text(json.dumps(task))
    done = subprocess.run([sys.executable, "-m", "headwater.step", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"] == trained.metrics
    again = Task(step="", params=trained.params, folder=tmp_path, inputs={}, digests={})
    again.outputs["model"] = tmp_path / result["outputs"]["model"]
    assert digest(again, "model", tmp_path / "store") == digest(trained, "model", tmp_path / "store")


def test_another_seed_gives_another_model(trained: Task, dataset: Path, tmp_path: Path) -> None:
    other = run_seeded(1, train, tmp_path / "other", {"epochs": 2}, dataset=dataset)
    assert digest(other, "model", tmp_path / "store") != digest(trained, "model", tmp_path / "store")


def test_an_int8_model_is_smaller_measured_and_deploys_the_same_each_time(trained: Task, dataset: Path, tmp_path: Path) -> None:
    model, params = trained.outputs["model"], recipe_params("compress", "model", "dataset")
    small, again = (run(compress, tmp_path / name, params, model=model, dataset=dataset) for name in "ab")
    assert small.metrics["size_after_bytes"] < 0.6 * small.metrics["size_before_bytes"]
    assert small.metrics["quality_loss"] <= params["largest_loss"]
    assert min(small.metrics["latency_before_ms"], small.metrics["latency_after_ms"]) > 0
    told = json.loads((small.outputs["model"] / "metrics.json").read_text())
    assert told["before"]["valid"] == json.loads((model / "metrics.json").read_text())["parts"]["valid"]
    assert digest(small, "model", tmp_path / "store") == digest(again, "model", tmp_path / "store")
    deployed = run(deploy, tmp_path / "c", model=small.outputs["model"], dataset=dataset)
    assert deployed.metrics["size_bytes"] == small.metrics["size_after_bytes"]


def test_a_pruned_model_has_half_its_units_and_is_trained_on(trained: Task, dataset: Path, tmp_path: Path) -> None:
    params = {"method": "prune", "share": 0.5, "fine_tune_epochs": 5, "largest_loss": 0.05}
    small = run(compress, tmp_path / "a", params, model=trained.outputs["model"], dataset=dataset)
    assert json.loads((small.outputs["model"] / "architecture.json").read_text())["hidden"] == [16]
    assert small.metrics["size_after_bytes"] < 0.75 * small.metrics["size_before_bytes"]
    assert small.metrics["quality_loss"] <= 0.05


def test_compression_that_costs_too_much_is_refused_with_the_figures_and_leaves_no_model(
    trained: Task, dataset: Path, tmp_path: Path
) -> None:
    params = {"method": "prune", "share": 0.97, "fine_tune_epochs": 0, "largest_loss": 0.01}
    with pytest.raises(GateClosed, match=r"auc on valid from 0\.\d{4} to 0\.\d{4} \(n = 100\): a loss of 0\.\d{4}, and at most 0\.0100"):
        run(compress, tmp_path / "a", params, model=trained.outputs["model"], dataset=dataset)
    assert not (tmp_path / "a" / "outputs" / "model").exists()


def test_a_deployed_model_answers_from_its_two_files_as_the_trained_one_did(trained: Task, dataset: Path, tmp_path: Path) -> None:
    import onnxruntime

    task = run(deploy, tmp_path / "a", recipe_params("deploy", "model", "dataset"), model=trained.outputs["model"], dataset=dataset)
    folder = task.outputs["model"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [("rows", "tensor(float)", ["n", 17])]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("probabilities", ["n", 2])]
    signature = read_signature(folder)
    test = pl.read_parquet(dataset / "test.parquet")
    (answers,) = session.run(None, {"rows": signature.matrix(test.select(signature.names).to_dicts())})
    right = np.array(signature.classes)[answers.argmax(axis=1)] == test["credit_risk"].to_numpy()
    assert right.mean() == pytest.approx(trained.metrics["test_accuracy"])
    parity = json.loads((folder / "parity.json").read_text())
    assert (parity["rows"], parity["agree"], set(parity["forms"])) == (300, True, {"program", "onnx", "onnx_one_by_one"})


def test_a_tolerance_that_no_float_can_keep_closes_the_gate(trained: Task, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(GateClosed, match=r"differs from the eager model by .* the tolerance is 1e-12"):
        run(deploy, tmp_path / "a", {"tolerance": 1e-12}, model=trained.outputs["model"], dataset=dataset)
    assert not (tmp_path / "a" / "outputs" / "model").exists()


def test_missing_feature_values_are_refused_with_their_number(dataset: Path, tmp_path: Path) -> None:
    gaps = changed(dataset, tmp_path, "train", pl.when(pl.col("amount") > 9000).then(None).otherwise(pl.col("amount")).alias("amount"))
    with pytest.raises(BadInput, match=r"train\.parquet: \d+ of 600 values of 'amount' are missing"):
        run(train, tmp_path / "a", dataset=gaps)


def test_values_outside_the_signature_and_single_classes_are_refused(dataset: Path, tmp_path: Path) -> None:
    odd = changed(dataset, tmp_path / "odd", "valid", pl.lit(9).alias("status"))
    with pytest.raises(BadInput, match=r"valid\.parquet, row 0, column 'status': 9 is not a value"):
        run(train, tmp_path / "a", dataset=odd)
    one = changed(dataset, tmp_path / "one", "train", pl.lit(1).alias("credit_risk"))
    with pytest.raises(BadInput, match="All 600 rows of train have the same class"):
        run(train, tmp_path / "b", dataset=one)
    gone = changed(dataset, tmp_path / "gone", "test", pl.lit(1).alias("unused"))
    (gone / "test.parquet").unlink()
    with pytest.raises(BadInput, match="has no part 'test'"):
        run(train, tmp_path / "c", dataset=gone)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("trap"),)


def test_weights_that_are_not_plain_tensors_are_refused_and_run_nothing(
    trained: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place, data in enumerate(
        (pickle.dumps(Trap(), protocol=2), b"", b"not a model", (trained.outputs["model"] / "state.pt").read_bytes()[:3000])
    ):
        bad = tmp_path / str(place)
        shutil.copytree(trained.outputs["model"], bad)
        (bad / "state.pt").write_bytes(data)
        with pytest.raises(Broken, match="weights cannot be read"):
            load_model(bad)
    assert not (tmp_path / "trap").exists()
