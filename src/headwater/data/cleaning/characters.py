"""What each code point is: one bit mask, looked up by the kernels.

From Python's own Unicode tables. Code points from 0x20000 on are all read as Han letters: nothing else is assigned there in use.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

TABLED = 0x20000
LETTER, DIGIT, SPACE, SPECIAL, HAN, LATIN, OTHER_LETTER, CONTROL, PUNCTUATION, LINE_END, ODD_SPACE = (1 << place for place in range(11))
"""The bits. SPECIAL: punctuation, symbols, separators, numbers, format and control characters. PUNCTUATION: punctuation, symbols
(but not numbers) and control characters. LINE_END: what `str.splitlines` splits on. ODD_SPACE: space-like, but not U+0020 or a line end."""

HAN_RANGES = ((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
LATIN_RANGES = ((0, 0x24F), (0x1E00, 0x1EFF))
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
INVISIBLE_SPACES = "\u200b\u200c\u200d\u2060\ufeff\ufffc"


@cache
def table() -> npt.NDArray[np.uint16]:
    """Return the masks of the first code points."""
    characters = [chr(code) for code in range(TABLED)]
    category = np.array([unicodedata.category(one) for one in characters], dtype="U2")
    general = category.astype("U1")
    letter, space = general == "L", _told(str.isspace, characters)
    han, latin = np.zeros(TABLED, dtype=bool), np.zeros(TABLED, dtype=bool)
    for first, last in HAN_RANGES:
        han[first : last + 1] = True
    for first, last in LATIN_RANGES:
        latin[first : last + 1] = True
    line_end, plain = _among(LINE_ENDS), _among("\t\n\r")
    bits = {
        LETTER: letter,
        DIGIT: _told(str.isnumeric, characters),
        SPACE: space,
        SPECIAL: np.isin(general, list("PSZN")) | np.isin(category, ["Cc", "Cf"]),
        HAN: letter & han,
        LATIN: letter & latin & ~han,
        OTHER_LETTER: letter & ~latin & ~han,
        CONTROL: np.isin(category, ["Cc", "Cn", "Cs"]) & ~plain,
        PUNCTUATION: np.isin(general, list("PS")) | (category == "Cc"),
        LINE_END: line_end,
        ODD_SPACE: ~line_end & ((category == "Zs") | _among(INVISIBLE_SPACES + "\t")) & ~_among(" "),
    }
    masks = np.zeros(TABLED, dtype=np.uint16)
    for bit, holds in bits.items():
        masks[holds] |= np.uint16(bit)
    return masks


def _told(question: Callable[[str], bool], characters: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.fromiter(map(question, characters), dtype=bool, count=TABLED)


def _among(characters: str) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(TABLED, dtype=bool)
    chosen[[ord(one) for one in characters]] = True
    return chosen


@cache
def lower() -> npt.NDArray[np.uint32]:
    """Return the lower-case form of the first code points; one that lower-cases to several keeps the first of them."""
    return np.fromiter((ord(chr(code).lower()[0]) for code in range(TABLED)), dtype=np.uint32, count=TABLED)
