"""Configurations as columns of arrays, so that twenty thousand plans, or a table of published runs, are priced at once.

Every column broadcasts: a search gives one model and one chip with arrays of layouts, a table of runs gives arrays
of all three. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.framework.parallel.chips import Chip
from headwater.framework.program.model_spec import Block, ModelSpec

Floats = NDArray[np.float64]

PRECISIONS = ("tf32", "bf16", "fp8", "mxfp8", "nvfp4")
TF32, BF16, FP8, MXFP8, NVFP4 = range(len(PRECISIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockColumns:
    """One class of folded layers."""

    count: Floats
    hidden: Floats
    ffn: Floats
    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    mlp_matrices: Floats
    experts: Floats
    top_k: Floats
    kernel: Floats

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> BlockColumns:
        """Return columns with one row for each block."""
        return cls(**{one.name: np.array([getattr(block, one.name) for block in blocks], float) for one in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelColumns:
    """A model, or one for each row: `blocks` are the classes of its layers."""

    blocks: tuple[BlockColumns, ...]
    vocab: Floats
    seq_len: Floats
    tied: Floats

    @classmethod
    def of(cls, spec: ModelSpec) -> ModelColumns:
        """Return one model that stands for all rows."""
        blocks = tuple(BlockColumns.of([block]) for block in spec.blocks)
        return cls(blocks=blocks, vocab=_one(spec.vocab), seq_len=_one(spec.seq_len), tied=_one(spec.tied))

    @property
    def layers(self) -> Floats:
        """How many layers there are."""
        return np.asarray(np.sum([block.count for block in self.blocks], axis=0, dtype=float))

    @property
    def hidden(self) -> Floats:
        """Width of the residual stream."""
        return self.blocks[0].hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutColumns:
    """How the work is cut. `recompute` is the share of layers whose forward pass is run again."""

    tp: Floats
    pp: Floats
    vp: Floats
    dp: Floats
    cp: Floats
    ep: Floats
    zero: Floats
    zero_ranks: Floats
    """Over how many ranks states are sharded: all of dp x cp, or those of one server."""
    micro_batch: Floats
    global_batch: Floats
    recompute: Floats
    precision: Floats
    pure: Floats
    """1 where even the optimizer's state is 16-bit."""

    @property
    def micro_batches(self) -> Floats:
        """How many micro-batches a pipeline works through in a step."""
        return np.asarray(self.global_batch / (self.dp * self.micro_batch))

    @property
    def chips(self) -> Floats:
        """Over how many chips the plan runs."""
        return np.asarray(self.tp * self.pp * self.dp * self.cp)

    def taken(self, index: Any) -> LayoutColumns:
        """Return the rows of an index."""
        shape = np.broadcast_shapes(*(getattr(self, one.name).shape for one in fields(self)))
        return LayoutColumns(**{one.name: np.broadcast_to(getattr(self, one.name), shape)[index] for one in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipColumns:
    """The chip of each row: FLOP/s by precision, bytes/s, chips."""

    peak: Floats
    """Shape (..., 5): FLOP/s of a matrix product in each of PRECISIONS."""
    memory_bytes: Floats
    memory_s: Floats
    link_s: Floats
    network_s: Floats
    fast_group: Floats
    power_w: Floats

    @classmethod
    def of(cls, chips: Sequence[Chip]) -> ChipColumns:
        """Return columns with one row for each chip."""
        peaks = [(c.tf32_tflops, c.bf16_tflops, c.fp8_tflops, c.fp8_tflops, c.fp4_tflops) for c in chips]
        return cls(
            peak=np.array(peaks, float) * 1e12,
            memory_bytes=np.array([c.memory_gib for c in chips], float) * (1 << 30),
            memory_s=np.array([c.memory_gb_s for c in chips], float) * 1e9,
            link_s=np.array([c.link_gb_s for c in chips], float) * 1e9,
            network_s=np.array([c.network_gb_s for c in chips], float) * 1e9,
            fast_group=np.array([c.fast_group for c in chips], float),
            power_w=np.array([c.power_w for c in chips], float),
        )


def _one(value: float) -> Floats:
    return np.array([value], float)
