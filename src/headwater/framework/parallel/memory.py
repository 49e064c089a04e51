"""How many bytes the fullest chip needs: parameters, gradients, optimizer, activations, buffers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from headwater.framework.parallel.columns import FP8, Floats, LayoutColumns, ModelColumns
from headwater.framework.parallel.times import stage_layers
from headwater.framework.parallel.work import HALF, SINGLE, head_work, layer_work

CONTEXT_BYTES = 3.0 * (1 << 30)
"""The device runtime, the collective library's buffers, and what the allocator cannot use."""
FEWER_BITS = 0.85
"""What activations take where they are kept in 8 bits beside those that stay in 16."""
RESERVE = 0.12
"""Median of what the published runs report beyond the need computed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of the fullest chip by use."""

    parameters: Floats
    gradients: Floats
    optimizer: Floats
    ends: Floats
    """Embedding and head with their gradients and states."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What stages are made of, in bytes on each chip."""

    parameter: Floats
    gradient: Floats
    state: Floats
    """Of the weights of a mean layer."""
    ends: Floats
    """Weights, gradients and states of an embedding or a head, together."""
    kept: Floats
    """Activations of a layer for a micro-batch."""
    boundary: Floats
    """Its input alone, for a layer that is recomputed."""
    logits: Floats
    buffers: Floats


def needs(model: ModelColumns, layout: LayoutColumns) -> Needs:
    """Return the bytes of layers and ends. Adam with a 32-bit master copy; all in 16 bits where the precision is pure."""
    works = [(block, layer_work(block, model, layout)) for block in model.blocks]
    weights, spread, kept, boundary = (
        np.asarray(sum(block.count * getattr(work, name) for block, work in works) / model.layers)
        for name in ("parameters", "sharded_parameters", "activation_bytes", "boundary_bytes")
    )
    head = head_work(model, layout)
    parameter, gradient, state = _sizes(layout, weights, spread / layout.zero_ranks)
    ends = sum(_sizes(layout, head.parameters, head.parameters / layout.zero_ranks))
    shrunk = np.where(layout.precision >= FP8, FEWER_BITS, 1.0)
    return Needs(
        parameter=parameter,
        gradient=gradient,
        state=state,
        ends=np.asarray(ends),
        kept=np.asarray(kept * shrunk),
        boundary=boundary,
        logits=head.activation_bytes,
        buffers=np.asarray(CONTEXT_BYTES + np.where(layout.zero >= 3, 2 * HALF * weights, 0.0)),
    )


def _sizes(layout: LayoutColumns, held: Floats, split: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the bytes of weights, gradients and states: what is held, or where ZeRO shards it what is left of it."""
    gradient, state = np.where(layout.pure > 0, HALF, SINGLE), np.where(layout.pure > 0, 2 * HALF, 3 * SINGLE)
    return (
        np.asarray(HALF * np.where(layout.zero >= 3, split, held)),
        np.asarray(gradient * np.where(layout.zero >= 2, split, held)),
        np.asarray(state * np.where(layout.zero >= 1, split, held)),
    )


def in_flight(layout: LayoutColumns, stage: Floats) -> Floats:
    """Return how many micro-batches a stage holds at once in the one-forward-one-backward schedule, interleaved or not."""
    more = np.where(layout.vp > 1, (layout.pp - 1) / layout.vp, 0.0)
    return np.asarray(np.minimum(layout.pp - stage + more, layout.micro_batches))


def stage_memory(need: Needs, model: ModelColumns, layout: LayoutColumns, *, stage: Floats, layers: Floats, recomputed: Floats) -> Memory:
    """Return the bytes of a stage that holds `layers`, of which `recomputed` keep only their input."""
    flight = in_flight(layout, stage)
    first, last = stage == 0, stage == layout.pp - 1
    ends = need.ends * np.where(first & last, 2.0 - model.tied, np.where(first | last, 1.0, 0.0))
    kept = flight * ((layers - recomputed) * need.kept + recomputed * need.boundary) + np.where(recomputed > 0, need.kept, 0.0)
    known = Memory(
        parameters=np.asarray(layers * need.parameter),
        gradients=np.asarray(layers * need.gradient),
        optimizer=np.asarray(layers * need.state),
        ends=np.asarray(ends),
        activations=np.asarray(kept + np.where(last, need.logits, 0.0)),
        buffers=need.buffers,
        reserve=np.zeros(1),
    )
    return replace(known, reserve=np.asarray(RESERVE * known.needed))


def memory(model: ModelColumns, layout: LayoutColumns) -> Memory:
    """Return the bytes of the first stage, which holds the embedding and most micro-batches in flight, cut equally."""
    layers, _ = stage_layers(model, layout)
    recomputed = layers * layout.recompute
    return stage_memory(needs(model, layout), model, layout, stage=np.zeros(1), layers=layers, recomputed=recomputed)
