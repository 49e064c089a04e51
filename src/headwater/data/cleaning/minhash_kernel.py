"""Shingles and MinHash (compiled): what proposes near duplicates. It only proposes; `jaccard_kernel` decides.

A shingle is five code points, lower-cased. A text shorter than that is one shingle, filled up with zeros.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Words32 = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]

SHINGLE = 5
BASE, MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
HIGH = np.uint64(32)
LARGEST = np.uint32(0xFFFFFFFF)


@compiled
def lowered(code: np.uint32, lower: Words32) -> np.uint32:
    """Return the lower-case form of a code point."""
    return np.uint32(lower[code]) if code < TABLED else code


@compiled_entry
def band_keys(points: Points, offsets: Offsets, lower: Words32, factors: Words32, shifts: Words32, rows: int, keys: Hashes) -> None:
    """Fill, per document and band, the hash of the band's `rows` least values; `factors` and `shifts` make the permutations."""
    least = np.empty(len(factors), dtype=np.uint32)
    window = np.zeros(SHINGLE, dtype=np.uint64)
    for document in range(len(offsets) - 1):
        least[:] = LARGEST
        begin, end = offsets[document], offsets[document + 1]
        window[:] = 0
        for place in range(begin, end):
            for one in range(SHINGLE - 1):
                window[one] = window[one + 1]
            window[SHINGLE - 1] = lowered(points[place], lower)
            if place - begin < SHINGLE - 1 and place < end - 1:
                continue
            hashed = np.uint64(0)
            for one in range(SHINGLE):
                hashed = (hashed ^ window[one]) * BASE
                hashed ^= hashed >> HIGH
            short = np.uint32((hashed * MIX) >> HIGH)
            for one in range(len(factors)):
                value = np.uint32(factors[one] * short + shifts[one])
                least[one] = min(least[one], value)
        for band in range(keys.shape[1]):
            key = np.uint64(band + 1)
            for row in range(rows):
                key = (key ^ np.uint64(least[band * rows + row])) * BASE
                key ^= key >> HIGH
            keys[document, band] = key
