"""The search's inner loop: for each node of the lattice, how many rows lie in classes below k, and the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled_entry


@compiled_entry
def weigh_nodes(
    tuples: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int32],
    losses: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    nodes: npt.NDArray[np.int32],
    k: int,
) -> Any:
    """Return per node: rows in classes smaller than k, classes of at least k, and the loss summed over rows.

    `tuples` are the distinct combinations of values [tuples, columns] with their `counts`; `groups` and `losses`
    hold, from `offsets[column, level]` on, the group of each value and its loss; `sizes[column, level]` counts groups.
    A row in a class below k counts as lost whole (1).
    """
    many, columns = tuples.shape
    room = 1
    while room < 2 * many + 2:
        room *= 2
    keys, totals, whole = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.float64)
    stamps, used = np.zeros(room, np.int32), np.empty(many, np.int64)
    suppressed, classes = np.zeros(len(nodes), np.int64), np.zeros(len(nodes), np.int64)
    lost = np.zeros(len(nodes), np.float64)
    for node in range(len(nodes)):
        filled = 0
        for row in range(many):
            key, loss = np.int64(0), 0.0
            for column in range(columns):
                level = nodes[node, column]
                place = offsets[column, level] + tuples[row, column]
                key = key * sizes[column, level] + groups[place]
                loss += losses[place]
            mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
            slot = np.int64((mixed >> np.uint64(32)) & np.uint64(room - 1))
            while stamps[slot] == node + 1 and keys[slot] != key:
                slot = (slot + 1) & (room - 1)
            if stamps[slot] != node + 1:
                stamps[slot], keys[slot], totals[slot], whole[slot] = node + 1, key, 0, 0.0
                used[filled] = slot
                filled += 1
            totals[slot] += counts[row]
            whole[slot] += counts[row] * loss
        for place in range(filled):
            slot = used[place]
            if totals[slot] < k:
                suppressed[node] += totals[slot]
                lost[node] += totals[slot]
            else:
                classes[node] += 1
                lost[node] += whole[slot] / columns
    return suppressed, classes, lost
