"""Unified social credit codes of organisations and sole traders (GB 32100-2015)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.checksums import is_credit_code
from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Evidence, Label, Recogniser, Span

CODE = re.compile(rf"{BEFORE}[1-9ANY][0-9A-HJ-NPQRTUWXY][0-9]{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{AFTER}")


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the credit codes at a code or number."""
    if end - start < 18:
        return
    for match in CODE.finditer(text, start, min(len(text), end + 1)):
        if is_credit_code(match[0]):
            yield Span(
                start=match.start(), end=match.end(), label=Label.CN_USCC, score=0.99, rule="credit_code", evidence=Evidence.CHECKSUM
            )


RECOGNISER = Recogniser(name="cn_credit_code", label=Label.CN_USCC, anchors=(Anchor.CODE, Anchor.NUMBER), look=look)
