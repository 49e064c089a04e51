"""Every layout worth looking at, as columns: all combinations that divide, on the whole fleet or a part of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import LimitExceeded
from headwater.framework.parallel.columns import PRECISIONS, LayoutColumns
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Precision
from headwater.framework.parallel.predict import shard_ranks
from headwater.framework.program.model_spec import ModelSpec

MOST_LAYOUTS = 500_000
MOST_VIRTUAL = 8
MOST_MICRO = 64
ZEROS = (0, 1, 2, 3)
SIZES = ("tp", "pp", "vp", "dp", "cp", "ep", "zero", "zero_ranks", "micro_batch", "global_batch")
COLUMNS = (*SIZES, "recompute", "precision", "pure", "node")


Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Layouts of one fleet; `node` marks those whose states are sharded within a server."""

    fleet: Fleet
    layouts: LayoutColumns
    node: Mask

    def __len__(self) -> int:
        return len(self.node)

    def taken(self, keep: Mask) -> Space:
        """Return the layouts that `keep` marks."""
        return Space(fleet=self.fleet, layouts=self.layouts.taken(keep), node=self.node[keep])


def divisors(number: int, most: int) -> list[int]:
    """Return the divisors of a number up to `most`."""
    return [size for size in range(1, min(number, most) + 1) if number % size == 0]


def space(spec: ModelSpec, fleet: Fleet, *, global_batch: int, precisions: Sequence[Precision]) -> Space:
    """Return every layout on all chips of a fleet.

    Tensor parallelism stays within a fast group and divides heads, key-value heads (or is a multiple of them) and the
    feed-forward width; context parallelism halves each part once more for balance; expert parallelism divides the
    experts and the data-parallel ranks. ZeRO 0 to 3, global or within a server. Every micro-batch that divides.
    Raises LimitExceeded where there are more than MOST_LAYOUTS.
    """
    rows = (
        (*cut, zero, ranks, micro, global_batch, 0.0, PRECISIONS.index(precision), 0.0, node)
        for cut in _cuts(spec, fleet, global_batch)
        for micro in divisors(global_batch // cut[3], MOST_MICRO)
        for zero, node, ranks in _shardings(cut, fleet)
        for precision in precisions
    )
    table = np.array(list(islice(rows, MOST_LAYOUTS + 1)), float).reshape(-1, len(COLUMNS))
    if len(table) > MOST_LAYOUTS:
        raise LimitExceeded(
            f"{fleet.name} has more than {MOST_LAYOUTS:,} layouts.", "Allow fewer number formats, or plan a part of the fleet."
        )
    columns = {name: table[:, at] for at, name in enumerate(COLUMNS) if name != "node"}
    return Space(fleet=fleet, layouts=LayoutColumns(**columns), node=table[:, -1] > 0)


def _cuts(spec: ModelSpec, fleet: Fleet, global_batch: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Yield (tp, pp, vp, dp, cp, ep) that divide."""
    chips = fleet.chips
    counts = [pool.count for pool in fleet.pools]
    tensors = [tp for tp in divisors(chips, min(pool.chip.fast_group for pool in fleet.pools)) if tensor_fits(spec, tp)]
    contexts = [cp for cp in divisors(chips, 64) if _context_fits(spec, cp)]
    for tp, cp in product(tensors, contexts):
        for pp in divisors(chips // (tp * cp), min(spec.layers, 512)) if chips % (tp * cp) == 0 else []:
            dp = chips // (tp * cp * pp)
            if global_batch % dp or any(count % (tp * cp * dp) for count in counts):
                continue
            experts = [ep for ep in divisors(dp, 512) if all(block.experts % ep == 0 for block in spec.blocks)]
            for vp, ep in product(_virtual(spec, pp), experts):
                yield tp, pp, vp, dp, cp, ep


def tensor_fits(spec: ModelSpec, tp: int) -> bool:
    """Tell whether every layer divides by a tensor-parallel size."""
    return all(
        block.ffn % tp == 0 and block.heads % tp == 0 and (not block.heads or block.kv_heads % tp == 0 or tp % block.kv_heads == 0)
        for block in spec.blocks
    )


def _context_fits(spec: ModelSpec, cp: int) -> bool:
    return cp == 1 or (spec.seq_len % (2 * cp) == 0 and all(block.heads for block in spec.blocks))


def _virtual(spec: ModelSpec, pp: int) -> list[int]:
    return [1] if pp == 1 else [vp for vp in range(1, MOST_VIRTUAL + 1) if vp * pp <= spec.layers]


def _shardings(cut: tuple[int, int, int, int, int, int], fleet: Fleet) -> list[tuple[int, bool, int]]:
    """Return (level, within a server, ranks) that differ."""
    tp, _, _, dp, cp, _ = cut
    ranks = dp * cp
    if ranks == 1:
        return [(0, False, 1)]
    near = shard_ranks(ranks, tp, True, fleet)
    scopes = [(False, ranks)] + ([(True, near)] if 1 < near < ranks else [])
    return [(0, False, ranks), *((zero, node, size) for zero in ZEROS[1:] for node, size in scopes)]
