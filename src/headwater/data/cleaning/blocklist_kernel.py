"""How often terms of a list stand in each text (compiled): a hash table of the terms and their prefixes, walked from every place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import DIGIT, HAN, LETTER, TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint16]
Hashes = npt.NDArray[np.uint64]
Kinds = npt.NDArray[np.uint8]
SEED, STEP = np.uint64(0x243F6A8885A308D3), np.uint64(0x9E3779B97F4A7C15)
TURN = np.uint64(29)
PREFIX, TERM = 1, 2


@compiled
def extended(hashed: np.uint64, code: np.uint32) -> np.uint64:
    """Return the hash of a text that is one code point longer."""
    mixed = (np.uint64(hashed) ^ np.uint64(code + 1)) * STEP
    return mixed ^ (mixed >> TURN)


@compiled
def slot_of(keys: Hashes, kinds: Kinds, bits: int, hashed: np.uint64) -> np.int64:
    """Return the slot of a hash, or of the empty one where it would go."""
    slot = np.int64(np.uint64(hashed) >> np.uint64(64 - bits))
    while kinds[slot] and keys[slot] != hashed:
        slot = (slot + 1) & ((1 << bits) - 1)
    return slot


@compiled_entry
def fill_terms(points: Points, offsets: Offsets, keys: Hashes, kinds: Kinds, bits: int) -> None:
    """Fill the table with terms, which are lower-cased, and all their prefixes."""
    for term in range(len(offsets) - 1):
        hashed = SEED
        for place in range(offsets[term], offsets[term + 1]):
            hashed = extended(hashed, points[place])
            slot = slot_of(keys, kinds, bits, hashed)
            keys[slot] = hashed
            kinds[slot] |= TERM if place == offsets[term + 1] - 1 else PREFIX


@compiled
def in_word(code: int, masks: Masks) -> bool:
    """Tell a letter or digit of a script that writes words apart."""
    return code < TABLED and masks[code] & (LETTER | DIGIT) != 0 and masks[code] & HAN == 0


@compiled_entry
def count_terms(
    points: Points, offsets: Offsets, masks: Masks, lower: Points, keys: Hashes, kinds: Kinds, bits: int, counts: npt.NDArray[np.int64]
) -> None:
    """Fill how often a term stands in each text; a term that begins or ends with a Latin letter or digit must do so at a word's edge."""
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        for start in range(begin, end):
            if start > begin and in_word(points[start], masks) and in_word(points[start - 1], masks):
                continue
            hashed = SEED
            for place in range(start, end):
                code = points[place]
                hashed = extended(hashed, lower[code] if code < TABLED else code)
                slot = slot_of(keys, kinds, bits, hashed)
                if kinds[slot] == 0:
                    break
                cut = place + 1 < end and in_word(code, masks) and in_word(points[place + 1], masks)
                if kinds[slot] & TERM and not cut:
                    counts[document] += 1
                    break
