"""Words of a text that are in given sets of function words (compiled)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import LETTER, TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint16]
Hashes = npt.NDArray[np.uint64]
BASE = np.uint64(0x9E3779B97F4A7C15)
HIGH = np.uint64(32)
LONGEST = 6


@compiled
def extended(hashed: np.uint64, code: np.uint32) -> np.uint64:
    """Return the hash of a word that is one code point longer."""
    mixed = (np.uint64(hashed) ^ np.uint64(code + 1)) * BASE
    return mixed ^ (mixed >> HIGH)


@compiled_entry
def word_hash(points: Points) -> np.uint64:
    """Return the hash of one word."""
    hashed = np.uint64(0)
    for place in range(len(points)):
        hashed = extended(hashed, points[place])
    return hashed


@compiled_entry
def function_words(
    points: Points, offsets: Offsets, masks: Masks, lower: Points, hashes: Hashes, groups: Offsets, counts: npt.NDArray[np.int64]
) -> None:
    """Fill how many words of each document are in each group; `hashes` is sorted, `groups` says the group of each."""
    for document in range(len(offsets) - 1):
        place, end = offsets[document], offsets[document + 1]
        while place < end:
            hashed, length = np.uint64(0), 0
            while place < end and points[place] < TABLED and masks[points[place]] & LETTER:
                if length <= LONGEST:
                    hashed = extended(hashed, lower[points[place]])
                length += 1
                place += 1
            if 0 < length <= LONGEST:
                low, high = 0, len(hashes)
                while low < high:
                    middle = (low + high) // 2
                    if hashes[middle] < hashed:
                        low = middle + 1
                    else:
                        high = middle
                if low < len(hashes) and hashes[low] == hashed:
                    counts[document, groups[low]] += 1
            if length == 0:
                place += 1
