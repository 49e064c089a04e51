"""One pass over the code points of a text that marks every place where personal data may stand.

The pass decides nothing: it emits anchors (kind, start, end), and the recognisers of that kind look closer.
It is tuned to miss nothing that a recogniser would accept and to be cheap on everything else.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

# What a code point is; a table gives the flags of each. Full-width letters and digits have the flags of the plain ones.
DIGIT, UPPER, LOWER, JOINER, SURNAME, GIVEN, PLATE, AT = 1, 2, 4, 8, 16, 32, 64, 128
UNIT, ROAD, CUE, COMPOUND, SECOND, COLON, HAN = 256, 512, 1024, 2048, 4096, 8192, 16384
WORD = DIGIT | UPPER | LOWER

# What a hashed Latin word is.
FIRST_NAME, PERSON_CUE, STREET = 1, 2, 4
HASHES = 1 << 16

# Kinds of anchor, in the order of `recogniser.Anchor`.
AT_SIGN, CODE, NUMBER, DOTTED, COLONS, PLATE_START, STREET_WORD, NAME_WORD, HAN_UNIT, HAN_NAME = range(10)

ROAD_REACH = 20
FEWEST_DIGITS = 7


@numba.njit(cache=True, nogil=True)
def scan(
    codes: npt.NDArray[np.uint32],
    flags: npt.NDArray[np.uint16],
    words: npt.NDArray[np.uint8],
    kinds: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
) -> Any:
    """Fill the anchors and return how many there are, and whether full-width letters or digits occur."""
    n = len(codes)
    found = 0
    wide = False
    number_start = number_end = -1
    number_digits = number_groups = number_dots = 0
    colon_start = colon_end = -1
    colons = 0
    last_road = -ROAD_REACH - 1
    i = 0
    while i < n:
        code = codes[i]
        flag = flags[code] if code < 65536 else np.uint16(0)
        if flag & WORD:
            j, digits, hashed = i, 0, np.uint32(2166136261)
            shape = np.uint16(0)
            while j < n:
                code = codes[j]
                one = flags[code] if code < 65536 else np.uint16(0)
                if not one & WORD:
                    break
                if code > 127:
                    wide = True
                if one & DIGIT:
                    digits += 1
                shape |= one
                hashed = np.uint32((hashed ^ np.uint32(code)) * np.uint32(16777619))
                j += 1
            length = j - i
            if digits == length:
                gap = i - number_end
                if number_end >= 0 and 1 <= gap <= 2 and _joined(codes, flags, number_end, i):
                    number_dots += codes[number_end] == 46
                    number_digits += digits
                    number_groups += 1
                    number_end = j
                else:
                    found = _close(kinds, starts, ends, found, number_start, number_end, number_digits, number_groups, number_dots)
                    number_start, number_end, number_digits, number_groups, number_dots = i, j, digits, 1, 0
            elif length >= 7 and digits >= 6:
                kinds[found], starts[found], ends[found] = CODE, i, j
                found += 1
            elif digits == 0 and length >= 2:
                kind = words[(hashed ^ (hashed >> np.uint32(16))) & np.uint32(HASHES - 1)]
                if kind & STREET:
                    kinds[found], starts[found], ends[found] = STREET_WORD, i, j
                    found += 1
                elif kind and j + 1 < n and (codes[j] == 32 or codes[j] == 46 or codes[j] == 58 or codes[j] == 45):
                    kinds[found], starts[found], ends[found] = NAME_WORD, i, j
                    found += 1
            if length <= 4 and j < n and codes[j] == 58:
                if colon_end == i:
                    colons += 1
                else:
                    colon_start, colons = i, 1
                colon_end = j + 1
                if colons == 7:
                    kinds[found], starts[found], ends[found] = COLONS, colon_start, j + 1
                    found += 1
            i = j
            continue
        if flag & (AT | COLON | SURNAME | COMPOUND | UNIT | ROAD | PLATE):
            if flag & AT:
                if 0 < i < n - 1:
                    kinds[found], starts[found], ends[found] = AT_SIGN, i, i + 1
                    found += 1
            elif flag & COLON and i + 1 < n and codes[i + 1] == 58 and (i == 0 or codes[i - 1] != 58):
                kinds[found], starts[found], ends[found] = COLONS, i, i + 2
                found += 1
            if flag & ROAD:
                last_road = i
            if flag & UNIT and i - last_road <= ROAD_REACH and i > 0 and _counts(codes[i - 1], flags):
                kinds[found], starts[found], ends[found] = HAN_UNIT, i, i + 1
                found += 1
            if i + 1 < n:
                code = codes[i + 1]
                one = flags[code] if code < 65536 else np.uint16(0)
                if flag & PLATE and one & UPPER:
                    kinds[found], starts[found], ends[found] = PLATE_START, i, i + 1
                    found += 1
                if (flag & COMPOUND and one & SECOND) or (flag & SURNAME and one & HAN and _named(codes, flags, i, one)):
                    kinds[found], starts[found], ends[found] = HAN_NAME, i, i + 1
                    found += 1
        i += 1
    found = _close(kinds, starts, ends, found, number_start, number_end, number_digits, number_groups, number_dots)
    return found, wide


@numba.njit(cache=True, nogil=True)
def _joined(codes: npt.NDArray[np.uint32], flags: npt.NDArray[np.uint16], start: int, end: int) -> Any:
    """Tell whether only separators of numbers lie between two groups of digits."""
    for place in range(start, end):
        code = codes[place]
        if code >= 65536 or not flags[code] & JOINER:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _close(
    kinds: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
    found: int,
    start: int,
    end: int,
    digits: int,
    groups: int,
    dots: int,
) -> Any:
    """Emit a finished number if it is long enough to identify someone."""
    if start < 0:
        return found
    if dots >= 3:
        kinds[found], starts[found], ends[found] = DOTTED, start, end
        found += 1
    if digits >= FEWEST_DIGITS and not (groups == 2 and dots == 1):
        kinds[found], starts[found], ends[found] = NUMBER, start, end
        found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _counts(code: int, flags: npt.NDArray[np.uint16]) -> Any:
    """Tell whether a character may stand before 号, 栋 or 室: a digit, a capital or a Chinese numeral."""
    if code >= 65536:
        return False
    return flags[code] & (DIGIT | UPPER) != 0 or code in (0x4E00, 0x4E8C, 0x4E09, 0x56DB, 0x4E94, 0x516D, 0x4E03, 0x516B, 0x4E5D, 0x5341)


@numba.njit(cache=True, nogil=True)
def _named(codes: npt.NDArray[np.uint32], flags: npt.NDArray[np.uint16], place: int, following: Any) -> Any:
    """Tell whether a surname may begin a name: a given name's character follows, or a cue stands before."""
    if following & GIVEN:
        return True
    if place == 0:
        return False
    before = codes[place - 1]
    return before < 65536 and flags[before] & CUE != 0
