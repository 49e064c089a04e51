"""The words of a batch's texts. The Chinese dictionary and its model come from the installed `jieba`; nothing is downloaded."""

from __future__ import annotations

import math
import runpy
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headwater.core.errors import Unavailable
from headwater.data.cleaning import words_kernel
from headwater.data.cleaning.characters import table
from headwater.data.cleaning.words_kernel import BEGIN, END, FIRST_HAN, LAST_HAN, MIDDLE, NEVER, SINGLE, Dictionary, Hidden

Tokeniser = Literal["jieba", "plain"]
TABLE_BITS = 20
STATES = {"B": BEGIN, "E": END, "M": MIDDLE, "S": SINGLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Where each word begins and its length, in code points; document d has the words from `ends[d]` to `ends[d + 1]`."""

    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    def chosen(self, documents: npt.NDArray[np.int64], before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> Words:
        """Return the words of some documents, whose texts were at the offsets `before` and are now alone at the offsets `after`."""
        counts = np.diff(self.ends)[documents]
        ends = np.zeros(len(documents) + 1, dtype=np.int64)
        np.cumsum(counts, out=ends[1:])
        places = np.arange(ends[-1]) + np.repeat(self.ends[documents] - ends[:-1], counts)
        moved = np.repeat(after[:-1] - before[documents], counts)
        return Words(starts=self.starts[places] + moved, lengths=self.lengths[places], ends=ends)


def find_words(points: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], tokeniser: Tokeniser) -> Words:
    """Return the words of all documents."""
    starts, lengths = np.empty(len(points), dtype=np.int64), np.empty(len(points), dtype=np.int64)
    ends = np.zeros(len(offsets), dtype=np.int64)
    if tokeniser == "jieba":
        words_kernel.chinese_words(points, offsets, table(), dictionary(), hidden(), starts, lengths, ends)
    else:
        words_kernel.plain_words(points, offsets, table(), starts, lengths, ends)
    return Words(starts=starts[: ends[-1]], lengths=lengths[: ends[-1]], ends=ends)


@cache
def dictionary() -> Dictionary:
    """Return jieba's dictionary as a hash table."""
    data = np.frombuffer((_jieba() / "dict.txt").read_bytes(), dtype=np.uint8)
    keys, values = np.zeros(1 << TABLE_BITS, dtype=np.uint64), np.full(1 << TABLE_BITS, np.nan)
    total = math.log(words_kernel.fill_dictionary(data, keys, values, TABLE_BITS))
    return Dictionary(keys, np.log(values) - total, TABLE_BITS, -total)


@cache
def hidden() -> Hidden:
    """Return jieba's model of unknown words."""
    start, step = np.full(4, NEVER), np.full((4, 4), NEVER)
    emit = np.full((4, LAST_HAN - FIRST_HAN + 1), NEVER)
    for state, value in _model("start").items():
        start[STATES[state]] = value
    for state, follows in _model("trans").items():
        for other, value in follows.items():
            step[STATES[state], STATES[other]] = value
    for state, emitted in _model("emit").items():
        for character, value in emitted.items():
            if FIRST_HAN <= ord(character) <= LAST_HAN:
                emit[STATES[state], ord(character) - FIRST_HAN] = value
    return Hidden(start, step, emit)


def _model(part: str) -> dict[str, Any]:
    return dict(runpy.run_path(str(_jieba() / "finalseg" / f"prob_{part}.py"))["P"])


def _jieba() -> Path:
    spec = find_spec("jieba")
    if spec is None or spec.origin is None:
        raise Unavailable("The Chinese dictionary is not installed.", "pip install jieba==0.42.1, or choose 'tokeniser: plain'.")
    return Path(spec.origin).parent
