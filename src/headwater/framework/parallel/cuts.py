"""Where to cut the layers into pipeline stages, and which of them to recompute: exact, for layers that are alike.

A stage that holds n layers must recompute r(n) of them to fit, no more; its seconds F(n) follow. What remains is to
share L layers out so that  busy x max F + wait x sum F  is least. For each value that the maximum can take, from the
least upward, a dynamic programme finds the least sum; it stops when no larger maximum can pay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.framework.parallel.columns import Floats
from headwater.framework.parallel.plan import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCosts:
    """What stages are made of, an entry each: seconds of a layer, of its forward pass again, of what comes besides; bytes."""

    layer_s: Floats
    again_s: Floats
    fixed_s: Floats
    layer_bytes: Floats
    """A layer's weights, gradients and states."""
    kept_bytes: Floats
    """Its activations, times the micro-batches in flight."""
    input_bytes: Floats
    """The same where only its input is kept."""
    working_bytes: Floats
    """What recomputing any layer takes besides."""
    room_bytes: Floats
    """Capacity less everything that no cut changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The best cut."""

    stages: tuple[Stage, ...]
    slowest_s: float
    sum_s: float


def tables(costs: StageCosts, layers: int, least: int) -> tuple[Floats, Floats]:
    """Return (seconds, recomputed layers) of each stage for 0 to `layers` layers; infinite seconds where it cannot be."""
    n = np.arange(layers + 1, dtype=float)[None, :]
    stage = {name: getattr(costs, name)[:, None] for name in StageCosts.__dataclass_fields__}
    over = n * (stage["layer_bytes"] + stage["kept_bytes"]) - stage["room_bytes"]
    saved = np.maximum(stage["kept_bytes"] - stage["input_bytes"], 1e-9)
    again = np.where(over > 0, np.ceil((over + stage["working_bytes"]) / saved - 1e-9), 0.0)
    seconds = n * stage["layer_s"] + again * stage["again_s"] + stage["fixed_s"]
    return np.where((again <= n) & (n >= least), seconds, np.inf), again


def cut(costs: StageCosts, layers: int, *, least: int, total: Callable[[float, float], float]) -> Cut | None:
    """Return the cut of least `total(slowest stage, sum of stages)`, which must not fall with either; None where none fits."""
    seconds, again = tables(costs, layers, least)
    values = np.unique(seconds[np.isfinite(seconds)])
    start = _least_maximum(seconds, values, layers)
    if start is None:
        return None
    best: Cut | None = None
    least_sum = np.nan
    for slowest in values[start:]:
        if best is not None and total(float(slowest), least_sum) >= total(best.slowest_s, best.sum_s):
            break
        if best is None:
            least_sum = _share(np.where(np.isfinite(seconds), seconds, np.inf), layers)[1]
        counts, amount = _share(np.where(seconds <= slowest, seconds, np.inf), layers)
        found = Cut(stages=_stages(counts, again), slowest_s=float(max(seconds[at, n] for at, n in enumerate(counts))), sum_s=amount)
        if best is None or total(found.slowest_s, found.sum_s) < total(best.slowest_s, best.sum_s):
            best = found
    return best


def _stages(counts: list[int], again: Floats) -> tuple[Stage, ...]:
    return tuple(Stage(layers=n, recomputed=int(again[at, n])) for at, n in enumerate(counts))


def _least_maximum(seconds: Floats, values: Floats, layers: int) -> int | None:
    """Return the index of the least maximum under which the stages can hold all layers and each its least."""
    low, high = 0, len(values) - 1
    if high < 0 or not _holds(seconds, float(values[high]), layers):
        return None
    while low < high:
        middle = (low + high) // 2
        if _holds(seconds, float(values[middle]), layers):
            high = middle
        else:
            low = middle + 1
    return low


def _holds(seconds: Floats, slowest: float, layers: int) -> bool:
    may = seconds <= slowest
    if not may.any(axis=1).all():
        return False
    size = may.shape[1]
    most = size - 1 - np.argmax(may[:, ::-1], axis=1)
    return int(np.argmax(may, axis=1).sum()) <= layers <= int(most.sum())


def _share(seconds: Floats, layers: int) -> tuple[list[int], float]:
    """Return layers for each stage with the least sum of seconds, the earliest stages taking fewest among equals; and the sum."""
    stages = len(seconds)
    best = np.full((stages + 1, layers + 1), np.inf)
    best[stages, 0] = 0.0
    for at in range(stages - 1, -1, -1):
        for n in np.flatnonzero(np.isfinite(seconds[at])).tolist():
            best[at, n:] = np.minimum(best[at, n:], best[at + 1, : layers + 1 - n] + seconds[at, n])
    counts, left = [], layers
    for at in range(stages):
        rest = best[at + 1, left - np.arange(left + 1)] + seconds[at, : left + 1]
        n = int(np.argmin(rest))
        counts.append(n)
        left -= n
    return counts, float(best[0, layers])
