"""Turn a model into an exported program and an ONNX graph, and open a graph for answering.

Import this module only inside a function: it imports torch, onnx and, to answer, onnxruntime.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import torch

from headwater.framework.mlp import MLP, Probabilities

INPUT, OUTPUT, ROWS = "rows", "probabilities", "n"
EXAMPLE_ROWS = 3
Answers = npt.NDArray[np.float64]
Ask = Callable[[npt.NDArray[np.float32]], Answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One model in its two exported forms; both take any number of rows."""

    program: torch.export.ExportedProgram
    onnx_bytes: bytes

    def ask_program(self, rows: npt.NDArray[np.float32]) -> Answers:
        """Return the exported program's probabilities, float64 [n, classes]."""
        with torch.inference_mode():
            return cast("Answers", self.program.module()(torch.from_numpy(rows)).double().numpy())


def export(model: MLP) -> Exported:
    """Return a model exported once by torch.export, and that program as ONNX with input `rows` and output `probabilities`."""
    example = torch.zeros(EXAMPLE_ROWS, len(model.signature.columns))
    with _quiet():
        program = torch.export.export(Probabilities(model), (example,), dynamic_shapes=({0: torch.export.Dim(ROWS)},))
        made = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            custom_translation_table={torch.ops.aten._int_mm.default: _int_mm()},
        )
    if made is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = _without_traces(made.model_proto)
    onnx.checker.check_model(graph)
    return Exported(program=program, onnx_bytes=graph.SerializeToString(deterministic=True))


def _int_mm() -> Callable[..., Any]:
    """Return the ONNX form of the product of two int8 matrices, int32, which the exporter does not know."""
    from onnxscript import opset18

    def int_mm(left: Any, right: Any) -> Any:
        return opset18.MatMulInteger(left, right)

    return int_mm


def _without_traces(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without stack traces and intermediate shapes: they hold paths of this machine and change no answer."""
    inside = graph.graph
    for part in (graph, inside, *inside.node, *inside.initializer, *inside.input, *inside.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del inside.value_info[:]
    for value in (*inside.input, *inside.output):
        value.type.tensor_type.shape.dim[0].dim_param = ROWS
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's notes on packages that are not installed and on its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def open_onnx(onnx_bytes: bytes) -> Ask:
    """Return a function that answers with ONNX Runtime on one CPU thread: float32 [n, columns] to float64 [n, classes]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_bytes, sess_options=options, providers=["CPUExecutionProvider"])

    def ask(rows: npt.NDArray[np.float32]) -> Answers:
        return cast("Answers", session.run([OUTPUT], {INPUT: rows})[0].astype(np.float64))

    return ask


def in_ones(ask: Ask, rows: npt.NDArray[np.float32]) -> Answers:
    """Return the answers to rows asked one at a time."""
    return np.concatenate([ask(rows[place : place + 1]) for place in range(len(rows))])
