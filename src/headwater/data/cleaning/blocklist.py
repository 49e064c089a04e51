"""Remove texts that hold terms of a list."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from headwater.data.cleaning import blocklist_kernel
from headwater.data.cleaning.batch import Batch, Texts
from headwater.data.cleaning.characters import lower, table
from headwater.data.cleaning.stages import Judge


class Blocklist(Judge):
    """Keep texts in which the terms stand at most so many times. Case does not count; a Latin term matches whole words only."""

    name: ClassVar[str] = "blocklist"
    rules: ClassVar[tuple[str, str]] = ("low", "terms")

    terms: tuple[str, ...] = Field(min_length=1, max_length=100_000)
    most: int = Field(0, ge=0)

    def figures(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return how often terms stand in each text."""
        keys, kinds, bits = _filled(self.terms)
        counts = np.zeros(len(batch), dtype=np.int64)
        texts = batch.texts
        blocklist_kernel.count_terms(texts.points, texts.offsets, table(), lower(), keys, kinds, bits, counts)
        return counts.astype(np.float64)

    def bounds(self) -> tuple[float, float]:
        """Return the bounds."""
        return 0, self.most


@cache
def _filled(terms: tuple[str, ...]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], int]:
    texts = Texts.of([term.lower() for term in terms])
    bits = max(8, int(2 * len(texts.points)).bit_length())
    keys, kinds = np.zeros(1 << bits, dtype=np.uint64), np.zeros(1 << bits, dtype=np.uint8)
    blocklist_kernel.fill_terms(texts.points, texts.offsets, keys, kinds, bits)
    return keys, kinds, bits
