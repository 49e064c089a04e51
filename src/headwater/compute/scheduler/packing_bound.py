"""What no packing rule can pass: the best that a linear programme allows on the same nodes and requests.

Nodes and requests may be split at will, so the bounds are generous. The vector bound knows CPU, memory and
devices as volumes. The pattern bound also knows that a device is filled by whole shares (Gilmore and Gomory,
1961, by column generation), which is what makes odd shares costly. A bound holds for a rule that may turn
requests away as it likes; with `must`, for one that placed at least those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.packing_state import CPU, DEVICES, MEMORY, MILLI, TYPES, WHOLE_MILLI, Floats, Ints, Nodes
from headwater.core.errors import BadInput, StepFailed

STEP_MILLI = 10
TOLERANCE = 1e-7
MAX_ROUNDS = 500
SHORTFALL_MILLI = 1e6
"""Price of a request that must be placed and is not: far above the milli of any request."""

Block = tuple[Ints, Ints, Floats]
"""Rows, columns and values of a part of the matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """Like nodes and like requests, counted; the programme's rows and columns."""

    groups: Ints
    """[group]: CPU, memory, devices, device type of one node."""
    nodes: Ints
    shapes: Ints
    asked: Ints
    least: Ints
    """Of each shape, how many must be placed."""
    pairs: list[tuple[int, int]]
    """(shape, group) where a request could go."""


def vector_bound(nodes: Nodes, requests: Ints, *, must: Ints | None = None) -> float:
    """Return the greatest part of all devices that any rule can have in use, by volume of CPU, memory and devices.

    Raises BadInput where the requests that must be placed cannot be.
    """
    volumes = _volumes(nodes, requests, must)
    problem = _Programme(volumes)
    used = problem.solve()[0]
    return _part(problem, used, nodes)


def pattern_bound(nodes: Nodes, requests: Ints, *, must: Ints | None = None) -> float:
    """Return the same where each device is filled by a pattern of whole shares.

    Raises BadInput as `vector_bound`, StepFailed where the columns do not come to an end.
    """
    volumes = _volumes(nodes, requests, must)
    sizes = np.unique(volumes.shapes[volumes.shapes[:, DEVICES] > 0, MILLI])
    problem = _Programme(volumes, sizes)
    for _ in range(MAX_ROUNDS):
        used, duals, device_price = problem.solve()
        worth, pattern = _best_pattern(sizes, duals)
        if worth <= device_price + TOLERANCE:
            return _part(problem, used, nodes)
        problem.patterns.append(pattern)
    raise StepFailed(f"The pattern bound did not settle in {MAX_ROUNDS} rounds.", "Use the vector bound.")


def _part(problem: _Programme, used: float, nodes: Nodes) -> float:
    if problem.short > TOLERANCE:
        raise BadInput(f"Of the requests that must be placed, at least {problem.short:.1f} cannot be.", "Ask for the bound without them.")
    return used / max(float(nodes.devices.sum()) * WHOLE_MILLI, 1.0)


def _volumes(nodes: Nodes, requests: Ints, must: Ints | None) -> Volumes:
    alike = np.stack([nodes.cpu_milli, nodes.memory_mib, nodes.devices, nodes.device_type], axis=1)
    groups, counts = np.unique(alike, axis=0, return_counts=True)
    shapes, asked = np.unique(requests, axis=0, return_counts=True)
    numbers = {tuple(shape): number for number, shape in enumerate(shapes.tolist())}
    least = np.zeros(len(shapes), np.int64)
    for row in (must if must is not None else shapes[:0]).tolist():
        least[numbers[tuple(row)]] += 1
    pairs = [(shape, group) for shape in range(len(shapes)) for group in range(len(groups)) if _could_go(shapes[shape], groups[group])]
    return Volumes(groups=groups, nodes=counts, shapes=shapes, asked=asked, least=least, pairs=pairs)


def _could_go(shape: Ints, group: Ints) -> bool:
    cpu, memory, devices, device_type = (int(value) for value in group)
    fits = shape[CPU] <= cpu and shape[MEMORY] <= memory and shape[DEVICES] <= devices
    accepted = shape[DEVICES] == 0 or shape[TYPES] < 0 or int(shape[TYPES]) >> device_type & 1
    return bool(fits and accepted)


class _Programme:
    """Maximise milli placed, over how many of each shape go to each group and how many devices take each pattern.

    Columns: pairs, then one shortfall a shape (at a price that no placement repays), then patterns.
    """

    def __init__(self, volumes: Volumes, sizes: Ints | None = None) -> None:
        self.volumes = volumes
        self.sizes = np.zeros(0, np.int64) if sizes is None else sizes
        self.short = 0.0
        """Requests that must be placed and are not, in the last solution."""
        self.patterns: list[Ints] = list(np.diag(WHOLE_MILLI // np.maximum(self.sizes, 1)).astype(np.int64))

    def solve(self) -> tuple[float, Floats, float]:
        """Return the milli placed, the price of one share of each size, and the price of one device."""
        from scipy.optimize import linprog

        limits, rows = self._limits()
        gain = np.concatenate([-self._milli(), np.full(len(self.volumes.shapes), SHORTFALL_MILLI), np.zeros(len(self.patterns))])
        found = linprog(gain, A_ub=rows, b_ub=limits, bounds=(0, None), method="highs")
        if found.status != 0:
            raise StepFailed(f"The linear programme failed: {found.message}", "Check the nodes and the requests.")
        self.short = float(found.x[len(self.volumes.pairs) :][: len(self.volumes.shapes)].sum())
        prices = -np.asarray(found.ineqlin.marginals)
        if not len(self.sizes):
            return -float(found.fun), prices[:0], 0.0
        return -float(found.fun), prices[-1 - len(self.sizes) : -1], float(prices[-1])

    def _milli(self) -> Floats:
        per_shape = self.volumes.shapes[:, DEVICES] * self.volumes.shapes[:, MILLI]
        return np.array([per_shape[shape] for shape, _ in self.volumes.pairs], np.float64)

    def _limits(self) -> tuple[Floats, object]:
        """The right-hand side and the matrix: group volumes, shapes at most and at least, share sizes, devices."""
        from scipy.sparse import coo_array

        volumes, pairs = self.volumes, np.array(self.volumes.pairs, np.int64).reshape(-1, 2)
        blocks, right = self._volume_blocks(pairs[:, 0], pairs[:, 1])
        groups, shapes, first = len(volumes.groups), len(volumes.shapes), len(pairs)
        at_least = 3 * groups + shapes
        ones, column, each = np.ones(first), np.arange(first), np.arange(shapes)
        blocks += [(pairs[:, 0] + 3 * groups, column, ones), (pairs[:, 0] + at_least, column, -ones)]
        blocks.append((each + at_least, each + first, -np.ones(shapes)))
        right += [volumes.asked.astype(np.float64), -volumes.least.astype(np.float64)]
        if len(self.sizes):
            blocks += self._pattern_blocks(pairs[:, 0], at_least + shapes, first + shapes)
            right += [np.zeros(len(self.sizes)), np.array([float((volumes.groups[:, 2] * volumes.nodes).sum())])]
        at, of, value = (np.concatenate(part) for part in zip(*blocks, strict=True))
        limits = np.concatenate(right)
        return limits, coo_array((value, (at, of)), shape=(len(limits), first + shapes + len(self.patterns))).tocsr()

    def _volume_blocks(self, shape: Ints, group: Ints) -> tuple[list[Block], list[Floats]]:
        """CPU, memory and milli of each group."""
        volumes, column = self.volumes, np.arange(len(shape), dtype=np.int64)
        amounts = (volumes.shapes[:, CPU], volumes.shapes[:, MEMORY], volumes.shapes[:, DEVICES] * volumes.shapes[:, MILLI])
        blocks = [(group + at * len(volumes.groups), column, amount[shape].astype(np.float64)) for at, amount in enumerate(amounts)]
        right = [(volumes.groups[:, at] * volumes.nodes * unit).astype(np.float64) for at, unit in enumerate((1, 1, WHOLE_MILLI))]
        return blocks, right

    def _pattern_blocks(self, shape: Ints, top: int, first: int) -> list[Block]:
        """Shares placed of a size are at most those of the patterns; patterns are at most the devices."""
        volumes, count = self.volumes, len(self.sizes)
        asking = np.flatnonzero(volumes.shapes[shape, DEVICES] > 0)
        size = np.searchsorted(self.sizes, volumes.shapes[shape[asking], MILLI])
        held = np.array(self.patterns)
        pattern, part = np.nonzero(held)
        return [
            (top + size, asking, volumes.shapes[shape[asking], DEVICES].astype(np.float64)),
            (top + part, first + pattern, -held[pattern, part].astype(np.float64)),
            (np.full(len(held), top + count), first + np.arange(len(held)), np.ones(len(held))),
        ]


def _best_pattern(sizes: Ints, prices: Floats) -> tuple[float, Ints]:
    """Return the worth and the make-up of the dearest filling of one device (an unbounded knapsack)."""
    steps = WHOLE_MILLI // STEP_MILLI
    worth, taken = np.zeros(steps + 1), np.full(steps + 1, -1, np.int64)
    length = -(-sizes // STEP_MILLI)
    for room in range(1, steps + 1):
        worth[room] = worth[room - 1]
        for at, price in enumerate(prices):
            if length[at] <= room and worth[room - length[at]] + price > worth[room] + 1e-12:
                worth[room], taken[room] = worth[room - length[at]] + price, at
    pattern, room = np.zeros(len(sizes), np.int64), steps
    while room > 0:
        if taken[room] < 0:
            room -= 1
            continue
        pattern[taken[room]] += 1
        room -= int(length[taken[room]])
    return float(worth[steps]), pattern
