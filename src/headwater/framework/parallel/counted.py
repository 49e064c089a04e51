"""Counts the bytes that a rank's collectives move, by the ring, while a step runs. Imports torch: use inside a function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

KINDS = {
    "all_reduce": "reduce",
    "allreduce_": "reduce",
    "all_gather_into_tensor": "gather",
    "_allgather_base_": "gather",
    "reduce_scatter_tensor": "scatter",
    "_reduce_scatter_base_": "scatter",
    "send": "send",
}
"""Operators of torch's two collective libraries, by what they do."""


class Counted(TorchDispatchMode):
    """Notes every collective as (kind, bytes of the whole tensor)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch does not type it
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if DTensor in types:
            return NotImplemented  # DTensor then runs it on what is local, and its messages come by here
        namespace, name = function._schema.name.split("::")
        if namespace in ("c10d", "_c10d_functional") and (kind := KINDS.get(name)) is not None:
            answer = function(*args, **(kwargs or {}))
            self.bytes[kind] += _whole(kind, args, answer)
            self.calls[kind] += 1
            return answer
        return function(*args, **(kwargs or {}))


def _whole(kind: str, args: Any, answer: Any) -> int:
    """Return the bytes of the tensor that all ranks of the group hold together or alike."""
    sizes = [one.numel() * one.element_size() for one in (*_tensors(args), *_tensors([answer]))]
    return max(sizes) if kind in ("gather", "scatter") else sizes[0]


def _tensors(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for one in values:
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, list | tuple):
            found += _tensors(one)
    return found
