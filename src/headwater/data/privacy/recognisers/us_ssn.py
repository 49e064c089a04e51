"""United States social security numbers in groups of 3-2-4, without the ranges that were never issued."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Evidence, Label, Recogniser, Span

NUMBER = re.compile(rf"{BEFORE}(?<![0-9]-)(?!000|666|9)[0-9]{{3}}([ \-])(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}{AFTER}(?!-[0-9])")
CUE = re.compile(r"ssn|social|security|社会安全|社安", re.IGNORECASE)
REACH = 30


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the numbers at a number: with hyphens anywhere, with blanks only near a word for them."""
    for match in NUMBER.finditer(text, start, min(len(text), end + 2)):
        cued = CUE.search(text, max(0, match.start() - REACH), match.start()) is not None
        if match[1] == "-" or cued:
            score = 0.95 if cued else 0.8
            yield Span(start=match.start(), end=match.end(), label=Label.US_SSN, score=score, rule="us_ssn", evidence=Evidence.SHAPE)


RECOGNISER = Recogniser(name="us_ssn", label=Label.US_SSN, anchors=(Anchor.NUMBER,), look=look)
