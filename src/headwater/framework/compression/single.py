"""One example out of a program's batch: what a model is asked for at batch 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.framework.program.frozen import Program
    from headwater.framework.runtimes.runtime import Array


def single(program: Program) -> tuple[Array, ...]:
    """Return the example cut to its first row wherever the first dimension may change, as arrays."""
    pairs = zip(program.example, program.inputs, strict=True)
    return tuple((tensor[:1] if port.shape and isinstance(port.shape[0], str) else tensor).numpy() for tensor, port in pairs)
