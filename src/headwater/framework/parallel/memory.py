"""How many bytes the fullest chip needs: parameters, gradients, optimizer, activations, buffers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from headwater.framework.parallel.columns import FP8, Floats, LayoutColumns, ModelColumns
from headwater.framework.parallel.times import stage_layers
from headwater.framework.parallel.work import HALF, SINGLE, head_work, layer_work

CONTEXT_BYTES = 3.0 * (1 << 30)
"""The device runtime, the collective library's buffers, and what the allocator cannot use."""
RESERVE = 0.12
"""Median of what the published runs report beyond the need computed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of the fullest chip by use."""

    parameters: Floats
    gradients: Floats
    optimizer: Floats
    activations: Floats
    buffers: Floats
    reserve: Floats
    """What an allocator keeps beyond what is needed; given back under pressure."""

    @property
    def total(self) -> Floats:
        """All of it."""
        return np.asarray(self.needed + self.reserve)

    @property
    def needed(self) -> Floats:
        """Without the allocator's reserve."""
        return np.asarray(sum(getattr(self, one.name) for one in fields(self) if one.name != "reserve"))


def memory(model: ModelColumns, layout: LayoutColumns) -> Memory:
    """Return the bytes of the fullest chip: of the first stage, which holds the embedding and most micro-batches in flight.

    Adam with a 32-bit master copy (16 bytes a parameter), or all in 16 bits where the precision is pure (8 bytes).
    """
    works = [(block, layer_work(block, model, layout)) for block in model.blocks]
    layers, _ = stage_layers(model, layout)
    per_layer = sum(block.count * work.parameters for block, work in works) / model.layers
    ends = head_work(model, layout).parameters
    held = layers * per_layer + ends * np.where(layout.pp > 1, 1.0, 2.0 - model.tied)
    sharded = layout.zero_ranks
    gradient = np.where(layout.pure > 0, HALF, SINGLE)
    state = np.where(layout.pure > 0, 2 * HALF, 3 * SINGLE)
    head = head_work(model, layout)
    known = Memory(
        parameters=np.asarray(HALF * held / np.where(layout.zero >= 3, sharded, 1.0)),
        gradients=np.asarray(gradient * held / np.where(layout.zero >= 2, sharded, 1.0)),
        optimizer=np.asarray(state * held / np.where(layout.zero >= 1, sharded, 1.0)),
        activations=np.asarray(_activations(model, layout, layers) + np.where(layout.pp > 1, 0.0, head.activation_bytes)),
        reserve=np.zeros(1),
        buffers=np.asarray(CONTEXT_BYTES + np.where(layout.zero >= 3, 2 * HALF * per_layer, 0.0) * np.ones_like(held)),
    )
    return replace(known, reserve=np.asarray(RESERVE * known.needed))


def _activations(model: ModelColumns, layout: LayoutColumns, layers: Floats) -> Floats:
    """Bytes kept for the backward pass, with as many micro-batches in flight as the schedule holds."""
    works = [(block, layer_work(block, model, layout)) for block in model.blocks]
    kept = sum(block.count * work.activation_bytes for block, work in works) / model.layers
    input_only = sum(block.count * work.boundary_bytes for block, work in works) / model.layers
    in_flight = np.where(layout.vp > 1, layout.pp + (layout.pp - 1) / layout.vp, layout.pp)
    in_flight = np.minimum(in_flight, layout.micro_batches)
    shrunk = np.where(layout.precision >= FP8, 0.85, 1.0)
    per_layer = (1 - layout.recompute) * kept * shrunk + layout.recompute * input_only
    return np.asarray(in_flight * layers * per_layer + np.where(layout.recompute > 0, kept, 0.0))
