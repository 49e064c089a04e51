"""ONNX, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headwater.framework.runtimes.runtime import Ask, Runtime

if TYPE_CHECKING:
    from headwater.framework.program.frozen import Program

FILE = "model.onnx"


def build(program: Program, folder: Path) -> None:
    """Write `model.onnx`, weights within; its inputs are `input_0`, `input_1` ... in the program's order."""
    (folder / FILE).write_bytes(graph_bytes(program))


def graph_bytes(program: Program) -> bytes:
    """Return the program as an ONNX graph, without traces of this machine."""
    import onnx
    import torch

    from headwater.framework.program.frozen import quiet

    names = [f"input_{place}" for place in range(len(program.inputs))]
    with quiet():
        made = torch.onnx.export(program.graph, program.example, dynamo=True, verbose=False, input_names=names)
    if made is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = made.model_proto
    inside = graph.graph
    for part in (graph, inside, *inside.node, *inside.initializer, *inside.input, *inside.output):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(graph)
    return bytes(graph.SerializeToString(deterministic=True))


def open_bytes(graph: bytes, *, threads: int = 0) -> Ask:
    """Return a function that answers with ONNX Runtime; 0 threads is as many as it likes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(graph, sess_options=options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def ask(*arrays: Any) -> Any:
        return cast("Any", session.run(None, dict(zip(names, arrays, strict=True))))

    return ask


def open_folder(folder: Path) -> Ask:
    """Return a function that answers with the graph in a folder."""
    return open_bytes((folder / FILE).read_bytes())


RUNTIME = Runtime(name="onnx", build=build, open=open_folder)
