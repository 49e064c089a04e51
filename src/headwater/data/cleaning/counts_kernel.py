"""Counts of each class of code points per document, in one pass (compiled)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled_entry
from headwater.data.cleaning.characters import TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint16]
BITS = 11
HAN_LETTER = 0b10001


@compiled_entry
def count_classes(points: Points, offsets: Offsets, masks: Masks, counts: npt.NDArray[np.int64], alnum: npt.NDArray[np.int64]) -> None:
    """Fill, per document, how many code points have each bit of their mask, and how many are a letter or a digit."""
    seen = np.zeros(1 << BITS, dtype=np.int64)
    for document in range(len(offsets) - 1):
        seen[:] = 0
        for place in range(offsets[document], offsets[document + 1]):
            code = points[place]
            seen[masks[code] if code < TABLED else HAN_LETTER] += 1
        for mask in range(1 << BITS):
            if seen[mask]:
                for bit in range(BITS):
                    if mask >> bit & 1:
                        counts[document, bit] += seen[mask]
                if mask & 0b11:
                    alnum[document] += seen[mask]


@compiled_entry
def gather(points: Points, offsets: Offsets, chosen: npt.NDArray[np.int64]) -> Any:
    """Return the code points and offsets of the chosen documents alone."""
    starts = np.zeros(len(chosen) + 1, dtype=np.int64)
    for place in range(len(chosen)):
        starts[place + 1] = starts[place] + offsets[chosen[place] + 1] - offsets[chosen[place]]
    kept = np.empty(starts[-1], dtype=np.uint32)
    for place in range(len(chosen)):
        kept[starts[place] : starts[place + 1]] = points[offsets[chosen[place]] : offsets[chosen[place] + 1]]
    return kept, starts
