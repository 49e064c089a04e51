"""What one chip has to do for one layer and one micro-batch, counted exactly: operations, bytes and messages.

Nothing here is fitted. Formulae: matrix products 2 m n k; attention 4 s^2 h, halved by the causal mask; bytes of
activations as in Korthikanti et al. 2022 with attention never written out; collectives by the ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.framework.parallel.columns import BlockColumns, Floats, LayoutColumns, ModelColumns
from headwater.framework.program.model_spec import Kernel

HALF, SINGLE = 2.0, 4.0
"""Bytes of a 16-bit and a 32-bit number."""
CAUSAL = 0.5
WRITTEN_BYTES = 5.0
"""Kept for each score that is written out: two 16-bit numbers and a dropout mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork:
    """Forward work of a layer for a micro-batch, on each chip."""

    matmul_flops: Floats
    matmul_flops_per_width: Floats
    """The same, each product over the width that a chip holds of it."""
    matmul_bytes: Floats
    attention_flops: Floats
    elementwise_bytes: Floats
    cast_values: Floats
    """Activations and weights that enter a matrix product, and are rounded to fewer bits where it has fewer."""
    tensor_bytes: Floats
    """Sent and received for tensor parallelism, forward; the backward pass does the same."""
    context_bytes: Floats
    expert_bytes: Floats
    parameters: Floats
    """That the chip holds before any sharding over the data-parallel ranks."""
    sharded_parameters: Floats
    """The same, to be divided by those ranks: experts, already spread over some of them, count ep times."""
    activation_bytes: Floats
    """Kept for the backward pass."""
    boundary_bytes: Floats
    """The layer's input."""


def layer_work(block: BlockColumns, model: ModelColumns, layout: LayoutColumns) -> LayerWork:
    """Return a layer's forward work."""
    tokens = layout.micro_batch * model.seq_len / layout.cp
    width, kv_width = block.heads * block.head_dim, block.kv_heads * block.head_dim
    attention = 2 * block.hidden * (width + kv_width)
    written = (block.kernel == Kernel.WRITTEN) * tokens * model.seq_len * block.heads / layout.tp
    """Attention scores that go through memory."""
    expert = block.mlp_matrices * block.hidden * block.ffn
    used = attention + block.top_k * expert
    inner = width + 2 * kv_width + width + (block.mlp_matrices * block.ffn) * block.top_k
    """Widths that tensor parallelism divides: queries, keys, values, heads' output, inner activations."""
    outer = 4 * block.hidden
    """Widths of the residual stream: two norms' inputs and outputs, divided too by sequence parallelism."""
    parts = layout.tp
    held = attention / parts + block.experts / layout.ep * expert / parts
    kv_held = 2 * kv_width * tokens / parts
    return LayerWork(
        matmul_flops=np.asarray(2 * tokens * used / parts),
        matmul_flops_per_width=np.asarray(2 * tokens * (attention / np.maximum(width, 1) + block.top_k * expert / block.ffn)),
        matmul_bytes=np.asarray(HALF * (tokens * (inner + 4 * block.hidden) + used) / parts),
        attention_flops=np.asarray(4 * np.where(block.kernel == Kernel.WRITTEN, 1.0, CAUSAL) * tokens * model.seq_len * width / parts),
        elementwise_bytes=np.asarray(HALF * tokens * (inner + 3 * outer) / parts + HALF * written),
        cast_values=np.asarray(tokens * (2 * block.hidden + width + block.ffn * block.top_k) / parts),
        tensor_bytes=np.asarray(2 * 2 * HALF * tokens * block.hidden * (parts - 1) / parts),
        context_bytes=np.asarray(HALF * kv_held * (layout.cp - 1)),
        expert_bytes=np.asarray(2 * HALF * tokens / parts * block.hidden * block.top_k * (layout.ep - 1) / layout.ep),
        parameters=np.asarray(held + 2 * block.hidden),
        sharded_parameters=np.asarray((attention + block.experts * expert) / parts + 2 * block.hidden),
        activation_bytes=np.asarray(HALF * tokens * (inner + outer) / parts + WRITTEN_BYTES * written),
        boundary_bytes=np.asarray(HALF * tokens * block.hidden / parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadWork:
    """The output projection and the loss, on each chip of the last stage, for a micro-batch."""

    matmul_flops: Floats
    elementwise_bytes: Floats
    parameters: Floats
    activation_bytes: Floats


def head_work(model: ModelColumns, layout: LayoutColumns) -> HeadWork:
    """Return the forward work of the head."""
    tokens = layout.micro_batch * model.seq_len / layout.cp
    logits = tokens * model.vocab / layout.tp
    return HeadWork(
        matmul_flops=np.asarray(2 * logits * model.hidden),
        elementwise_bytes=np.asarray((HALF + 2 * SINGLE) * logits),
        parameters=np.asarray(model.vocab * model.hidden / layout.tp),
        activation_bytes=np.asarray((HALF + SINGLE) * logits),
    )
