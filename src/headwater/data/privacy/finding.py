"""Find personal data in a text: one scan for anchors, the recognisers at their anchors, one rule for overlaps.

The rule: a checksum beats a shape, a shape beats what only its context tells; then the longer span stays, then
the one that begins first, then the surer one, then the label that comes first in the alphabet. Pure, and the
same whatever the order of the recognisers.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from headwater.core.errors import BadInput
from headwater.data.privacy.recogniser import ALL, RECOGNISERS, Anchor, Recogniser, Span
from headwater.data.privacy.words import characters, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BLOCK = 1 << 20
OVERLAP = 128
"""Code points that are scanned at a time, and how many of them again with the next block, so that nothing is cut in two."""
WIDE = 0xFEE0
"""What a full-width form lies above its plain one."""

Recognisers = dict[int, tuple[Recogniser, ...]]


def find(text: str, labels: Collection[str] = ALL, *, also: Iterable[str] = ()) -> list[Span]:
    """Return the personal data in a text, in order and without overlaps; `also` names recognisers that are not on by default.

    Spans count code points. A lone surrogate or NUL is a character like any other. Raises BadInput for an unknown label.
    """
    if unknown := set(labels) - ALL:
        raise BadInput(f"There is no label '{sorted(unknown)[0]}'.", f"Labels: {', '.join(sorted(ALL))}.")
    chosen = _by_anchor(tuple(also))
    spans: set[Span] = set()
    for start in range(0, len(text), BLOCK):
        first = max(0, start - OVERLAP)
        block = text if len(text) <= BLOCK else text[first : start + BLOCK + OVERLAP]
        spans.update(_shifted(_spans(block, chosen), first))
    kept = resolve(spans)
    return kept if labels is ALL else [span for span in kept if span.label in labels]


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Return the spans that stay where some overlap, by the rule in the module's docstring."""
    ordered = sorted(spans, key=lambda span: (-span.evidence, span.start - span.end, span.start, -span.score, span.label, span.rule))
    kept: list[Span] = []
    for span in ordered:
        place = bisect(kept, span.start, key=lambda other: other.start)
        free = place == len(kept) or span.end <= kept[place].start
        if free and (place == 0 or kept[place - 1].end <= span.start):
            kept.insert(place, span)
    return kept


def _spans(text: str, chosen: Recognisers) -> Iterator[Span]:
    text, anchors = _scanned(text)
    for recogniser in chosen.get(Anchor.TEXT, ()):
        yield from recogniser.look(text, 0, len(text))
    for kind, start, end in anchors:
        for recogniser in chosen.get(kind, ()):
            yield from recogniser.look(text, start, end)


def _shifted(spans: Iterator[Span], by: int) -> Iterable[Span]:
    if by == 0:
        return spans
    return (
        Span(start=one.start + by, end=one.end + by, label=one.label, score=one.score, rule=one.rule, evidence=one.evidence)
        for one in spans
    )


def _scanned(text: str) -> tuple[str, Iterable[tuple[int, int, int]]]:
    """Return a text with plain digits and letters for full-width ones, and its anchors."""
    import numpy as np

    from headwater.data.privacy import scan_kernel

    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    room = 2 * len(codes) + 4
    kinds, starts, ends = np.empty(room, np.uint8), np.empty(room, np.int32), np.empty(room, np.int32)
    found, wide = scan_kernel.scan(codes, _flags(), _latin(), kinds, starts, ends)
    if wide:
        text = _plain(codes).tobytes().decode("utf-32-le", "surrogatepass")
    return text, zip(kinds[:found].tolist(), starts[:found].tolist(), ends[:found].tolist(), strict=True)


def _plain(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    import numpy as np

    from headwater.data.privacy import scan_kernel

    within = np.minimum(codes, 65535)
    turned = (codes > 127) & (codes < 65536) & ((_flags()[within] & (scan_kernel.WORD | scan_kernel.AT)) != 0)
    turned |= np.isin(codes, [0xFF0D, 0xFF0E, 0xFF0B])  # full-width hyphen, full stop and plus between the digits of a number
    return np.where(turned, codes - WIDE, codes).astype(np.uint32)


@cache
def _by_anchor(also: tuple[str, ...]) -> Recognisers:
    found: dict[int, list[Recogniser]] = {}
    for name in RECOGNISERS.names():
        recogniser = RECOGNISERS.get(name)
        if recogniser.by_default or name in also:
            for anchor in recogniser.anchors:
                found.setdefault(int(anchor), []).append(recogniser)
    if absent := [name for name in also if name not in RECOGNISERS.names()]:
        RECOGNISERS.get(absent[0])
    return {anchor: tuple(members) for anchor, members in found.items()}


@cache
def _flags() -> npt.NDArray[np.uint16]:
    """Return what each code point of the basic plane is to the scan."""
    import numpy as np

    from headwater.data.privacy import scan_kernel as k
    from headwater.data.privacy.recognisers.cn_licence_plate import PROVINCES

    flags = np.zeros(1 << 16, np.uint16)
    flags[0x4E00:0x9FFF] |= k.HAN
    for flag, first, last in ((k.DIGIT, "0", "9"), (k.UPPER, "A", "Z"), (k.LOWER, "a", "z")):
        flags[ord(first) : ord(last) + 1] |= flag
        flags[ord(first) + WIDE : ord(last) + WIDE + 1] |= flag
    compound = words("names_zh", "compound_surnames")
    for flag, members in (
        (k.JOINER, " -.()（）\u00a0·+－．＋"),
        (k.AT, "@＠"),
        (k.COLON, ":"),
        (k.SURNAME, characters("names_zh", "surnames")),
        (k.COMPOUND, {one[0] for one in compound}),
        (k.SECOND, {one[1] for one in compound}),
        (k.GIVEN, characters("names_zh", "strong")),
        (k.CUE, {one[-1] for one in words("names_zh", "cues")} | set("：:　 为是叫")),
        (k.PLATE, PROVINCES),
        (k.ROAD, "路街道巷弄里村镇乡区苑园城庄屯寨组胡"),
        (k.UNIT, "号弄栋幢座室组"),
    ):
        for member in members:
            flags[ord(member)] |= flag
    return flags


@cache
def _latin() -> npt.NDArray[np.uint8]:
    """Return what each hash of a Latin word may be."""
    import numpy as np

    from headwater.data.privacy import scan_kernel as k

    table = np.zeros(k.HASHES, np.uint8)
    for flag, key in ((k.FIRST_NAME, "first"), (k.PERSON_CUE, "strong_cues"), (k.STREET, "streets")):
        for word in words("names_en", key):
            table[_hash(word)] |= flag
    return table


def _hash(word: str) -> int:
    """Return FNV-1a of a word, folded to sixteen bits, as the scan does."""
    value = 2166136261
    for one in word:
        value = ((value ^ ord(one)) * 16777619) & 0xFFFFFFFF
    return (value ^ (value >> 16)) & 0xFFFF
