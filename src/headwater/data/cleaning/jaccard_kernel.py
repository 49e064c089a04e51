"""Exact Jaccard similarity of two texts' shingle sets (compiled).

Exact to the letter: a shingle found in the table by its hash is compared code point by code point, so no collision counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import TABLED

Points = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int32]

SHINGLE = 5
BASE = np.uint64(0x9E3779B97F4A7C15)
HIGH = np.uint64(32)
FREE = np.int32(-1)


@compiled_entry
def shingled(text: npt.NDArray[np.uint8], lower: Points) -> Any:
    """Return a UTF-8 text as lower-cased code points, filled up with zeros to the length of a shingle."""
    points = np.zeros(max(len(text), SHINGLE), dtype=np.uint32)
    count = place = 0
    while place < len(text):
        lead = np.int64(text[place])
        size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        code = lead if size == 1 else lead & (0x7F >> size)
        for more in range(1, size):
            code = code << 6 | (text[place + more] & 0x3F)
        points[count] = lower[code] if code < TABLED else code
        count += 1
        place += size
    return points[: max(count, SHINGLE)].copy()


@compiled
def slot_of(table: Places, bits: int, points: Points, place: int, owner: Points) -> np.int64:
    """Return the slot of the shingle at `place` of `points` in the table over `owner`, or the free one where it would go."""
    hashed = np.uint64(0)
    for one in range(SHINGLE):
        hashed = (hashed ^ np.uint64(points[place + one])) * BASE
        hashed ^= hashed >> HIGH
    slot = np.int64(hashed >> np.uint64(64 - bits))
    mask = (1 << bits) - 1
    while table[slot] != FREE:
        kept, same = table[slot], True
        for one in range(SHINGLE):
            same = same and owner[kept + one] == points[place + one]
        if same:
            return slot
        slot = (slot + 1) & mask
    return slot


@compiled_entry
def shingle_set(points: Points) -> Any:
    """Return a table of the places of a text's distinct shingles, and how many there are."""
    bits = 4
    while 1 << bits < 2 * len(points):
        bits += 1
    table = np.full(1 << bits, FREE)
    distinct = 0
    for place in range(len(points) - SHINGLE + 1):
        slot = slot_of(table, bits, points, place, points)
        if table[slot] == FREE:
            table[slot] = place
            distinct += 1
    return table, distinct


@compiled_entry
def common(points: Points, table: Places, owner: Points, owned: Places, missing: int) -> int:
    """Return how many of a text's distinct shingles (`table` over `points`) are in another's set (`owned` over `owner`).

    Returns -1 as soon as more than `missing` of them are not: the rest need not be looked at.
    """
    bits = 0
    while 1 << bits < len(owned):
        bits += 1
    shared = missed = 0
    for slot in range(len(table)):
        if table[slot] != FREE:
            if owned[slot_of(owned, bits, points, table[slot], owner)] != FREE:
                shared += 1
            else:
                missed += 1
                if missed > missing:
                    return -1
    return shared
