"""A data set and ONNX models in the form that `data.prepare` and `framework.deploy` write, made from scratch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.steps import Task
from headwater.core.tabular import Column, Signature
from headwater.trust.steps import EvaluateParams

SIGNATURE = Signature(
    columns=(
        Column(name="amount", type="number", minimum=0, maximum=100),
        Column(name="months", type="integer", minimum=1, maximum=72),
        Column(name="kind", type="category", values=("rent", "own", "free")),
    ),
    target="paid",
    classes=(0, 1),
    positive=0,
)
WEIGHTS = np.array([[0.04, -0.04], [0.03, -0.03], [-0.5, 0.5]], dtype=np.float32)
BIAS = np.array([-3.0, 3.0], dtype=np.float32)
MODEL_DIGEST, DATA_DIGEST = "sha256:" + "a" * 64 + "/", "sha256:" + "b" * 64 + "/"
CARD: dict[str, Any] = {
    "schema": "headwater.card/1",
    "name": "made",
    "title": {"en": "Made rows", "zh": "生成的数据"},
    "sensitive": [
        {"name": "young", "column": "age", "title": {"en": "Young", "zh": "青年"}, "rule": {"at_most": 25}, "gradable": True},
        {"name": "kind", "column": "kind", "gradable": False, "reason": {"en": "Not asked.", "zh": "未询问。"}},
    ],
}


def answers(rows: np.ndarray) -> np.ndarray:
    """What the model of `write_model` gives, in NumPy."""
    scores = rows @ WEIGHTS + BIAS
    exact = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def write_model(
    folder: Path,
    *,
    signature: Signature = SIGNATURE,
    weights: np.ndarray = WEIGHTS,
    bias: np.ndarray = BIAS,
    output: str = "probabilities",
    softmax: bool = True,
) -> Path:
    """Write a linear model with a softmax."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = ([helper.make_node("Softmax", ["scores"], [output], axis=1)], "scores") if softmax else ([], output)
    nodes = [helper.make_node("Gemm", ["rows", "w", "b"], [ends[1]]), *ends[0]]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", len(weights)])
    told = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "made", [rows], [told], [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "signature.json").write_text(signature.model_dump_json(), encoding="utf-8")
    return folder


def write_dataset(folder: Path, *, n: int = 400, card: dict[str, Any] = CARD, **columns: list[Any]) -> Path:
    """Write `card.json`, `train.parquet` and `test.parquet`, whose labels follow the model's own probabilities."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps(card, ensure_ascii=False), encoding="utf-8")
    for number, part in enumerate(("train", "test")):
        random = np.random.default_rng(number)
        rows = np.stack([random.uniform(0, 100, n), random.integers(1, 73, n), random.integers(0, 3, n)], axis=1).astype(np.float32)
        paid = (random.random(n) < answers(rows)[:, 1]).astype(int)
        told = {"_row": list(range(n)), "amount": rows[:, 0].tolist(), "months": [int(m) for m in rows[:, 1]]}
        told |= {
            "kind": [SIGNATURE.columns[2].values[int(k)] for k in rows[:, 2]],
            "age": random.integers(18, 60, n).tolist(),
            "paid": paid.tolist(),
        }
        pq.write_table(pa.table(told | columns), folder / f"{part}.parquet")
    return folder


def task(folder: Path, model: Path, dataset: Path, *, seed: int = 7, **params: str) -> Task:
    """Return a task of `trust.evaluate`."""
    inputs, digests = {"model": model, "dataset": dataset}, {"model": MODEL_DIGEST, "dataset": DATA_DIGEST}
    folder.mkdir(parents=True, exist_ok=True)
    return Task(step="trust.evaluate", params=EvaluateParams(**params), folder=folder, inputs=inputs, digests=digests, seed=seed)
