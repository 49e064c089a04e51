"""A smaller module as a candidate: frozen like the model that it came from, and asked through ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.framework.compression.engine import Candidate, Given
from headwater.framework.runtimes.onnx import FILE, graph_bytes, open_bytes

if TYPE_CHECKING:
    from torch import nn


def as_onnx(model: nn.Module, given: Given, folder: Path, receipt: dict[str, Any]) -> Candidate:
    """Return a module, with the bounds of the program that it came from, as a candidate."""
    import torch

    from headwater.framework.program.frozen import freeze

    program = freeze(model, given.program.example, dynamic=given.program.dynamic())
    graph = graph_bytes(program)
    (folder / FILE).write_bytes(graph)
    return Candidate(ask=open_bytes(graph), folder=folder, receipt={"torch": torch.__version__, **receipt})
