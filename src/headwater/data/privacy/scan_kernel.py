"""One pass over the code points of a text that marks every place where personal data may stand.

The pass decides nothing: it emits anchors (kind, start, end), and the recognisers of that kind look closer.
It is tuned to miss nothing that a recogniser would accept and to be cheap on everything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry

# What a code point is; a table gives the flags of each. Full-width letters and digits have the flags of the plain ones.
DIGIT, UPPER, LOWER, JOINER, SURNAME, GIVEN, PLATE, AT = 1, 2, 4, 8, 16, 32, 64, 128
UNIT, ROAD, CUE, COMPOUND, SECOND, COLON, HAN = 256, 512, 1024, 2048, 4096, 8192, 16384
WORD = DIGIT | UPPER | LOWER
MARKED = AT | COLON | SURNAME | COMPOUND | UNIT | ROAD | PLATE
BASIC = 1 << 16
"""How many code points the tables know; those beyond have no flags."""

# What a hashed Latin word is.
FIRST_NAME, PERSON_CUE, STREET = 1, 2, 4
HASHES = 1 << 16

# Kinds of anchor, in the order of `recogniser.Anchor`.
AT_SIGN, CODE, NUMBER, DOTTED, COLONS, PLATE_START, STREET_WORD, NAME_WORD, HAN_UNIT, HAN_NAME = range(10)

ROAD_REACH = 20
FEWEST_DIGITS = 7
SHORTEST_CODE, FEWEST_CODE_DIGITS = 7, 6
LONGEST_GROUP, IPV6_COLONS = 4, 7
DOT, COLON_SIGN = 46, 58
AFTER_NAME = (32, 45, 46, 58)
"""A blank, hyphen, full stop or colon: what may follow a first name or a word that announces a name."""
NUMERALS = (0x4E00, 0x4E8C, 0x4E09, 0x56DB, 0x4E94, 0x516D, 0x4E03, 0x516B, 0x4E5D, 0x5341)

Codes = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.uint16]
Anchors = npt.NDArray[np.int32]


@compiled_entry
def scan(codes: Codes, flags: Flags, words: npt.NDArray[np.uint8], anchors: Anchors) -> Any:
    """Fill `anchors` [kind, start, end] and return how many there are, and whether full-width letters or digits occur.

    Calls hand arrays on, which costs: the loop itself makes none for the ordinary word or character.
    """
    count, found, place, wide = len(codes), 0, 0, False
    number = np.array([-1, -1, 0, 0, 0])  # start, end, digits, groups, dots
    colons = np.array([-1, -1, 0])  # start, end, how many
    last_road = -ROAD_REACH - 1
    while place < count:
        flag = flags[codes[place]] if codes[place] < BASIC else np.uint16(0)
        if flag & WORD:
            end, digits, hashed = place, 0, np.uint32(2166136261)
            while flag & WORD:
                wide |= codes[end] > 127
                digits += int(flag & DIGIT)
                hashed = np.uint32((hashed ^ codes[end]) * np.uint32(16777619))
                end += 1
                flag = flags[codes[end]] if end < count and codes[end] < BASIC else np.uint16(0)
            length = end - place
            if digits == length:
                found = _group(codes, flags, number, place, end, anchors, found)
            elif digits:
                if length >= SHORTEST_CODE and digits >= FEWEST_CODE_DIGITS:
                    found = _emit(anchors, found, CODE, place, end)
            elif length > 1 and words[(hashed ^ (hashed >> np.uint32(16))) & np.uint32(HASHES - 1)]:
                kind = words[(hashed ^ (hashed >> np.uint32(16))) & np.uint32(HASHES - 1)]
                found = _named_word(codes, kind, place, end, anchors, found)
            if length <= LONGEST_GROUP and end < count and codes[end] == COLON_SIGN:
                found = _between_colons(colons, place, end, anchors, found)
            place = end
            continue
        if flag & MARKED:
            if flag & ROAD:
                last_road = place
            found = _mark(codes, flags, flag, place, last_road, anchors, found)
        place += 1
    return _close(number, anchors, found), wide


@compiled
def _flag(codes: Codes, flags: Flags, place: int) -> Any:
    code = codes[place]
    return flags[code] if code < BASIC else np.uint16(0)


@compiled
def _emit(anchors: Anchors, found: int, kind: int, start: int, end: int) -> Any:
    anchors[found, 0], anchors[found, 1], anchors[found, 2] = kind, start, end
    return found + 1


@compiled
def _group(codes: Codes, flags: Flags, number: Any, start: int, end: int, anchors: Anchors, found: int) -> Any:
    """Add a group of digits to the number that it continues, or close that number and begin another."""
    last = number[1]
    if last >= 0 and 1 <= start - last <= 2 and _joined(codes, flags, last, start):
        number[4] += codes[last] == DOT
        number[2] += end - start
        number[3] += 1
        number[1] = end
        return found
    found = _close(number, anchors, found)
    number[0], number[1], number[2], number[3], number[4] = start, end, end - start, 1, 0
    return found


@compiled
def _close(number: Any, anchors: Anchors, found: int) -> Any:
    """Emit a finished number if it is long enough to identify someone; a decimal fraction is none."""
    if number[0] < 0:
        return found
    if number[4] >= 3:
        found = _emit(anchors, found, DOTTED, number[0], number[1])
    if number[2] >= FEWEST_DIGITS and not (number[3] == 2 and number[4] == 1):
        found = _emit(anchors, found, NUMBER, number[0], number[1])
    return found


@compiled
def _joined(codes: Codes, flags: Flags, start: int, end: int) -> Any:
    """Tell whether only separators of numbers lie between two groups of digits."""
    for place in range(start, end):  # noqa: SIM110 - compiled code knows no generator
        if not _flag(codes, flags, place) & JOINER:
            return False
    return True


@compiled
def _named_word(codes: Codes, kind: Any, start: int, end: int, anchors: Anchors, found: int) -> Any:
    """Emit a word for a street, or one that begins or announces a name where something may follow it."""
    if kind & STREET:
        return _emit(anchors, found, STREET_WORD, start, end)
    if end + 1 < len(codes) and codes[end] in AFTER_NAME:
        return _emit(anchors, found, NAME_WORD, start, end)
    return found


@compiled
def _between_colons(colons: Any, start: int, end: int, anchors: Anchors, found: int) -> Any:
    """Count groups that colons part, and emit the seventh: an IPv6 address written in full."""
    if colons[1] == start:
        colons[2] += 1
    else:
        colons[0], colons[2] = start, 1
    colons[1] = end + 1
    return _emit(anchors, found, COLONS, colons[0], end + 1) if colons[2] == IPV6_COLONS else found


@compiled
def _mark(codes: Codes, flags: Flags, flag: Any, place: int, last_road: int, anchors: Anchors, found: int) -> Any:
    """Emit what a single marked character begins or ends."""
    following = place + 1 < len(codes)
    if flag & AT and place > 0 and following:
        return _emit(anchors, found, AT_SIGN, place, place + 1)
    if flag & COLON and following and codes[place + 1] == COLON_SIGN and (place == 0 or codes[place - 1] != COLON_SIGN):
        return _emit(anchors, found, COLONS, place, place + 2)
    if flag & UNIT and 0 < place <= last_road + ROAD_REACH and _counts(codes, flags, place - 1):
        found = _emit(anchors, found, HAN_UNIT, place, place + 1)
    if not following:
        return found
    after = _flag(codes, flags, place + 1)
    if flag & PLATE and after & UPPER:
        found = _emit(anchors, found, PLATE_START, place, place + 1)
    if (flag & COMPOUND and after & SECOND) or (flag & SURNAME and after & HAN and _named(codes, flags, place, after)):
        found = _emit(anchors, found, HAN_NAME, place, place + 1)
    return found


@compiled
def _counts(codes: Codes, flags: Flags, place: int) -> Any:
    """Tell whether a character may stand before 号, 栋 or 室: a digit, a capital or a Chinese numeral."""
    return _flag(codes, flags, place) & (DIGIT | UPPER) != 0 or codes[place] in NUMERALS


@compiled
def _named(codes: Codes, flags: Flags, place: int, following: Any) -> Any:
    """Tell whether a surname may begin a name: a given name's character follows, or a cue stands before."""
    return following & GIVEN != 0 or (place > 0 and _flag(codes, flags, place - 1) & CUE != 0)
