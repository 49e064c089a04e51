"""What a project can call of the framework room."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headwater.core.errors import BadInput
from headwater.core.steps import Params, Port, Resources, Task, params_of, step
from headwater.core.tabular import SIGNATURE_FILE, read_signature
from headwater.framework.architecture import Architecture, Width
from headwater.framework.examples import Examples, read_part

if TYPE_CHECKING:
    from headwater.framework.compress import Latency
    from headwater.framework.mlp import MLP

PARTS = ("train", "valid", "test")
ONNX_FILE, PARITY_FILE = "model.onnx", "parity.json"


class TrainParams(Params):
    """The perceptron and how it is trained."""

    hidden: tuple[Width, ...] = Field((32, 16), max_length=8, description="Width of each hidden layer; none is logistic regression.")
    dropout: float = Field(0.0, ge=0, lt=1)
    epochs: int = Field(200, ge=1, le=100_000, description="At most so many passes over train.")
    patience: int = Field(20, ge=1, description="End so many epochs after the lowest log loss on valid.")
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(0.003, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    class_weights: Literal["none", "balanced"] = Field("none", description="'balanced' weighs rare classes up, bending the probabilities.")
    threads: int = Field(1, ge=1, le=256, description="CPU threads. The same number gives the same bits on machines of a kind.")


class CompressParams(Params):
    """How to compress, and how much may be lost."""

    method: Literal["int8", "prune"] = "int8"
    metric: Literal["auc", "accuracy", "balanced_accuracy", "log_loss"] = "auc"
    largest_loss: float = Field(0.01, description="Refuse if the metric on valid gets worse by more.")
    share: float = Field(0.5, gt=0, lt=1, description="prune: the share of hidden units to take out.")
    fine_tune_epochs: int = Field(20, ge=0, le=10_000, description="prune: epochs of training afterwards.")
    learning_rate: float = Field(0.001, gt=0, le=1, description="prune: of the training afterwards.")
    batch_size: int = Field(64, ge=1)
    latency_rounds: int = Field(300, ge=10, le=100_000)
    threads: int = Field(1, ge=1, le=256)


class DeployParams(Params):
    """How far the forms of a model may lie apart."""

    tolerance: float = Field(1e-5, gt=0, description="Largest difference of a probability between eager, exported and ONNX Runtime.")
    threads: int = Field(1, ge=1, le=256)


_TORCH = Resources(cpus=1, memory_gib=2, wall_s=900)


def _read_parts(task: Task, signature_of: str, parts: tuple[str, ...]) -> dict[str, Examples]:
    signature = read_signature(task.input(signature_of))
    return {part: read_part(task.input("dataset"), part, signature) for part in parts}


@step(
    "framework.train",
    summary="Train a perceptron on a data set and score it on the parts it has not seen.",
    params=TrainParams,
    inputs={"dataset": Port("dataset", summary="made by data.prepare")},
    outputs={"model": Port("model", summary="weights, architecture, signature, metrics")},
    resources=_TORCH,
    libraries=("torch", "numpy"),
)
def train(task: Task) -> None:
    """Write the model with the lowest log loss on valid, and measure it on train, valid and test."""
    params = params_of(task, TrainParams)
    parts = _read_parts(task, "dataset", PARTS)
    _refuse_one_class(parts["train"])
    import torch

    from headwater.framework.model_folder import save_model
    from headwater.framework.train import Schedule, as_figures, as_metrics, fit, new_model, score_parts

    torch.set_num_threads(params.threads)
    schedule = Schedule(
        epochs=params.epochs,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        patience=params.patience,
        class_weights=params.class_weights,
    )
    architecture = Architecture(hidden=params.hidden, dropout=params.dropout)
    model = new_model(read_signature(task.input("dataset")), architecture, parts["train"], task.seed)
    fitted = fit(model, parts["train"], parts["valid"], schedule, seed=task.seed, progress=task.progress)
    scores = score_parts(fitted.model, parts)
    told = {"seed": task.seed, "best_epoch": fitted.best_epoch, "epochs_run": fitted.epochs_run, "parts": as_metrics(scores)}
    save_model(task.output("model"), fitted.model, told)
    task.measure(best_epoch=fitted.best_epoch, epochs_run=fitted.epochs_run, parameters=_count(fitted.model), **as_figures(scores))
    task.progress(1, 1, "trained")


def _refuse_one_class(part: Examples) -> None:
    if len(set(part.labels.tolist())) < 2:
        raise BadInput(f"All {len(part.labels)} rows of train have the same class.", "A classifier needs two classes to tell apart.")


def _count(model: MLP) -> int:
    return sum(tensor.numel() for tensor in model.layers.state_dict().values())


@step(
    "framework.compress",
    summary="Make a model smaller, measure what it costs and gains, and refuse if it costs too much.",
    params=CompressParams,
    inputs={"model": Port("model"), "dataset": Port("dataset")},
    outputs={"model": Port("model", summary="the smaller model")},
    resources=_TORCH,
    libraries=("torch", "numpy", "onnx", "onnxscript", "onnxruntime"),
)
def compress(task: Task) -> None:
    """Write the smaller model. Size and latency are those of the ONNX form on one thread, since that is what serves."""
    params = params_of(task, CompressParams)
    parts = _read_parts(task, "model", PARTS)
    import torch

    from headwater.framework.compress import loss_of, measure_latency, refuse_over
    from headwater.framework.model_folder import load_model, save_model
    from headwater.framework.onnx_export import export, open_onnx
    from headwater.framework.train import as_figures, as_metrics, score_parts

    torch.set_num_threads(params.threads)
    before = load_model(task.input("model"))
    after = _smaller(task, params, before, parts)
    old, new = score_parts(before, parts), score_parts(after, parts)
    pair = old["valid"][params.metric], new["valid"][params.metric]
    loss = loss_of(params.metric, *pair)
    refuse_over(params.metric, loss, params.largest_loss, *pair)
    forms = [export(model).onnx_bytes for model in (before, after)]
    latency = measure_latency(
        open_onnx(forms[0]), open_onnx(forms[1]), parts["valid"].rows, rounds=params.latency_rounds, clock=time.perf_counter
    )
    told = {"method": params.method, "metric": params.metric, "loss_on_valid": loss, "before": as_metrics(old), "parts": as_metrics(new)}
    save_model(task.output("model"), after, told)
    task.measure(quality_loss=loss, size_before_bytes=len(forms[0]), size_after_bytes=len(forms[1]), parameters=_count(after))
    _measure_latency(task, latency)
    task.measure(**as_figures(new))
    task.progress(1, 1, "compressed")


def _measure_latency(task: Task, latency: Latency) -> None:
    task.measure(latency_before_ms=latency.before_ms, latency_after_ms=latency.after_ms, latency_rounds=latency.rounds)


def _smaller(task: Task, params: CompressParams, before: MLP, parts: dict[str, Examples]) -> MLP:
    from headwater.framework.compress import prune, to_int8
    from headwater.framework.train import Schedule, fit

    if params.method == "int8":
        return to_int8(before)
    pruned = prune(before, params.share)
    if not params.fine_tune_epochs:
        return pruned
    schedule = Schedule(
        epochs=params.fine_tune_epochs,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        weight_decay=0.0,
        patience=params.fine_tune_epochs,
    )
    return fit(pruned, parts["train"], parts["valid"], schedule, seed=task.seed, progress=task.progress).model


@step(
    "framework.deploy",
    summary="Export a model to ONNX and check that it still gives the same answers.",
    params=DeployParams,
    inputs={"model": Port("model"), "dataset": Port("dataset", summary="its test part is asked")},
    outputs={"model": Port("model.onnx", summary="model.onnx, signature.json, parity.json")},
    resources=_TORCH,
    libraries=("torch", "numpy", "onnx", "onnxscript", "onnxruntime"),
)
def deploy(task: Task) -> None:
    """Write the ONNX model. Refuses if eager, exported program and ONNX Runtime differ by more than the tolerance."""
    params = params_of(task, DeployParams)
    test = _read_parts(task, "model", ("test",))["test"]
    import torch

    from headwater.framework.deploy import compare, refuse_unless_equal
    from headwater.framework.mlp import answer
    from headwater.framework.model_folder import load_model
    from headwater.framework.onnx_export import export, in_ones, open_onnx

    torch.set_num_threads(params.threads)
    model = load_model(task.input("model"))
    task.progress(1, 3, "exporting")
    exported = export(model)
    task.progress(2, 3, "comparing")
    ask = open_onnx(exported.onnx_bytes)
    forms = {"program": exported.ask_program(test.rows), "onnx": ask(test.rows), "onnx_one_by_one": in_ones(ask, test.rows)}
    parity = compare(answer(model, test.rows), forms, params.tolerance)
    refuse_unless_equal(parity)
    _write_deployed(task.output("model"), exported.onnx_bytes, task.input("model"), parity)
    largest = max(form["largest_difference"] for form in parity["forms"].values())
    task.measure(largest_difference=largest, size_bytes=len(exported.onnx_bytes), compared_rows=len(test.labels))
    task.progress(3, 3, "exported")


def _write_deployed(folder: Path, onnx_bytes: bytes, model: Path, parity: dict[str, Any]) -> None:
    from headwater.framework.model_folder import write_json

    folder.mkdir(parents=True)
    (folder / ONNX_FILE).write_bytes(onnx_bytes)
    shutil.copyfile(model / SIGNATURE_FILE, folder / SIGNATURE_FILE)
    write_json(folder / PARITY_FILE, parity)
