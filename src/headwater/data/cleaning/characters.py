"""What each code point is: one bit mask, looked up by the kernels.

From Python's own Unicode tables. Code points from 0x20000 on are all read as Han letters: nothing else is assigned there in use.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

TABLED = 0x20000
LETTER, DIGIT, SPACE, SPECIAL, HAN, LATIN, OTHER_LETTER, CONTROL, PUNCTUATION, LINE_END, ODD_SPACE = (1 << place for place in range(11))
"""The bits. SPECIAL: punctuation, symbols, separators, numbers, format and control characters. PUNCTUATION: punctuation, symbols
(but not numbers) and control characters. LINE_END: what `str.splitlines` splits on. ODD_SPACE: space-like, but not U+0020 or a line end."""

HAN_RANGES = ((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
INVISIBLE_SPACES = "\u200b\u200c\u200d\u2060\ufeff\ufffc"


@cache
def table() -> npt.NDArray[np.uint16]:
    """Return the masks of the first code points."""
    masks = np.zeros(TABLED, dtype=np.uint16)
    for code in range(TABLED):
        masks[code] = _mask(chr(code))
    return masks


def _mask(character: str) -> int:
    category = unicodedata.category(character)
    code = ord(character)
    mask = 0
    if category[0] == "L":
        mask |= LETTER | _script(code)
    if character.isdigit() or character.isnumeric():
        mask |= DIGIT
    if character.isspace():
        mask |= SPACE
    if category[0] in "PSZN" or category in ("Cc", "Cf"):
        mask |= SPECIAL
    if category[0] in "PS" or category == "Cc":
        mask |= PUNCTUATION
    if category in ("Cc", "Cn", "Cs") and character not in "\t\n\r":
        mask |= CONTROL
    if character in LINE_ENDS:
        mask |= LINE_END
    elif (category == "Zs" and character != " ") or character in INVISIBLE_SPACES or character == "\t":
        mask |= ODD_SPACE
    return mask


def _script(code: int) -> int:
    if any(first <= code <= last for first, last in HAN_RANGES):
        return HAN
    if code < 0x250 or 0x1E00 <= code < 0x1F00:
        return LATIN
    return OTHER_LETTER


@cache
def lower() -> npt.NDArray[np.uint32]:
    """Return the lower-case form of the first code points; one that lower-cases to several keeps the first of them."""
    folded = np.arange(TABLED, dtype=np.uint32)
    for code in range(TABLED):
        form = chr(code).lower()
        folded[code] = ord(form[0])
    return folded
