"""How much of a document its most frequent character n-grams make up (compiled)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled_entry

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]

BASE = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xD6E8FEB86659FD93)
ONE = np.uint64(1)


@compiled_entry
def character_repetition(points: Points, offsets: Offsets, n: int, ratio: npt.NDArray[np.float64]) -> None:
    """Fill each document's ratio: the occurrences of its most frequent n-grams over all occurrences.

    Of d distinct n-grams the square root of d are looked at, or those that occur more than once where they are fewer.
    """
    largest = 1
    for document in range(len(offsets) - 1):
        largest = max(largest, offsets[document + 1] - offsets[document])
    size = 16
    while size < 2 * largest:
        size *= 2
    keys = np.zeros(size, dtype=np.uint64)
    times = np.zeros(size, dtype=np.int32)
    histogram = np.zeros(largest + 2, dtype=np.int32)
    lead = ONE
    for _ in range(n):
        lead *= BASE
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        total = end - begin - n + 1
        ratio[document] = 0.0
        if total <= 0:
            continue
        bits = 4
        while 1 << bits < 2 * total:
            bits += 1
        mask = (1 << bits) - 1
        times[: mask + 1] = 0
        shift = np.uint64(64 - bits)
        rolling = np.uint64(0)
        distinct = repeated = most = 0
        for place in range(begin, end):
            rolling = rolling * BASE + np.uint64(points[place] + 1)
            if place < begin + n - 1:
                continue
            if place >= begin + n:
                rolling -= lead * np.uint64(points[place - n] + 1)
            slot = np.int64((rolling * MIX) >> shift)
            while times[slot] and keys[slot] != rolling:
                slot = (slot + 1) & mask
            if times[slot] == 0:
                keys[slot] = rolling
                distinct += 1
            elif times[slot] == 1:
                repeated += 1
            times[slot] += 1
            most = max(most, int(times[slot]))
        if repeated == 0:
            continue
        histogram[: most + 1] = 0
        for place in range(mask + 1):
            histogram[times[place]] += 1
        left = min(int(np.sqrt(distinct)), repeated)
        covered = 0
        for count in range(most, 1, -1):
            taken = min(left, int(histogram[count]))
            covered += taken * count
            left -= taken
            if left == 0:
                break
        ratio[document] = covered / total
