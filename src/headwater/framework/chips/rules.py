"""Sharding rules that an adapter's gaps ask for: an operator of a vendor's plug-in that works element by element, told to DTensor.

Without a rule DTensor refuses an operator that it does not know; one that works element by element may be run on every shard as it is.
"""

from __future__ import annotations

from typing import Any

from headwater.framework.chips.adapter import Adapter, Gap


def install(adapter: Adapter) -> tuple[str, ...]:
    """Add the rules of an adapter's gaps whose operators are there, and return the operators' names."""
    return tuple(gap.pointwise for gap in adapter.gaps if gap.pointwise and _added(gap))


def _added(gap: Gap) -> bool:
    import torch
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.experimental import register_sharding

    space, _, name = gap.pointwise.partition("::")
    packet = getattr(getattr(torch.ops, space), name, None)
    if packet is None:
        return False

    def sharded(given: Any, *rest: Any) -> list[tuple[list[Any], list[Any]]]:
        others = [None] * len(rest)
        return [([Replicate()], [Replicate(), *others]), *(([Shard(dim)], [Shard(dim), *others]) for dim in range(given.ndim))]

    register_sharding(packet.default)(sharded)
    return True
