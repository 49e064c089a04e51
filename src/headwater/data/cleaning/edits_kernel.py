"""Edits of text as code points: spaces, control characters, and the removal of marked spans (compiled)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import CONTROL, LINE_END, ODD_SPACE, SPACE, TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint16]
Marks = npt.NDArray[np.uint8]

NEWLINE, BLANK = 10, 32
UNSEEN = SPACE | ODD_SPACE | CONTROL


@compiled
def mask_of(code: int, masks: Masks) -> int:
    """Return what a code point is."""
    return masks[code] if code < TABLED else 0


@compiled_entry
def normalise(points: Points, offsets: Offsets, masks: Masks, *, lines: int, collapse: bool) -> Any:
    """Return texts trimmed, with spaces made plain and control characters dropped.

    `lines`: 0 leaves line ends alone, 1 makes each a newline, 2 makes runs of over two newlines two.
    `collapse` makes each run of plain spaces one.
    """
    kept = np.empty(len(points), dtype=np.uint32)
    starts = np.zeros_like(offsets)
    put = 0
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        while begin < end and mask_of(points[begin], masks) & UNSEEN:
            begin += 1
        while begin < end and mask_of(points[end - 1], masks) & UNSEEN:
            end -= 1
        first, newlines, previous = put, 0, 0
        for place in range(begin, end):
            code = points[place]
            mask = mask_of(code, masks)
            if lines and mask & LINE_END:
                if code == NEWLINE and previous == 13:
                    previous = code
                    continue
                previous, code = code, NEWLINE
                newlines += 1
                if lines == 2 and newlines > 2:
                    continue
            elif mask & CONTROL:
                continue
            else:
                previous = code
                if mask & ODD_SPACE:
                    code = BLANK
                if code != BLANK:
                    newlines = 0
            if collapse and code == BLANK and put > first and kept[put - 1] == BLANK:
                continue
            kept[put] = code
            put += 1
        starts[document + 1] = put
    return kept[:put].copy(), starts


@compiled_entry
def drop_marked(points: Points, offsets: Offsets, marks: Marks) -> Any:
    """Return texts without the marked code points."""
    kept = np.empty(len(points), dtype=np.uint32)
    starts = np.zeros_like(offsets)
    put = 0
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        if not marks[begin:end].any():
            kept[put : put + end - begin] = points[begin:end]
            put += end - begin
        else:
            for place in range(begin, end):
                if not marks[place]:
                    kept[put] = points[place]
                    put += 1
        starts[document + 1] = put
    return kept[:put].copy(), starts
