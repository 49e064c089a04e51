"""Resident identity numbers (GB 11643-1999): 18 characters with a check character, and the 15 digits of before 1999."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.checksums import is_date, is_region, is_resident_id
from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Evidence, Label, Recogniser, Span

GAP = r"[ \-]?"
LONG = re.compile(rf"{BEFORE}[1-9][0-9]{{5}}{GAP}(?:19|20)[0-9]{{2}}{GAP}[01][0-9]{GAP}[0-3][0-9]{GAP}[0-9]{{3}}{GAP}[0-9Xx]{AFTER}")
SHORT = re.compile(rf"{BEFORE}[1-9][0-9]{{5}}[0-9]{{2}}[01][0-9][0-3][0-9][0-9]{{3}}{AFTER}")
CUE = re.compile(r"身份证|证件|身份|居民|ID|identity", re.IGNORECASE)
OTHER_NUMBER = re.compile(r"(?:单号|流水号|编号|序号|批号|order|serial|invoice)[ :：#]*\Z", re.IGNORECASE)
REACH = 12
REST = 6
"""What may follow the last digit group: a separator, and the last group where it ends in X."""


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the identity numbers at a number or code. The short form has no check character: it must not follow another number's name."""
    last = min(len(text), end + REST)
    for match in LONG.finditer(text, start, last):
        if is_resident_id(match[0].replace(" ", "").replace("-", "")):
            yield _span(match, "resident_id", 0.99, Evidence.CHECKSUM)
    if end - start < 15:
        return
    for match in SHORT.finditer(text, start, last):
        before = text[max(0, match.start() - REACH) : match.start()]
        if is_region(match[0][:6]) and is_date("19" + match[0][6:12]) and not OTHER_NUMBER.search(before):
            yield _span(match, "resident_id_15", 0.9 if CUE.search(before) else 0.6, Evidence.SHAPE)


def _span(match: re.Match[str], rule: str, score: float, evidence: Evidence) -> Span:
    return Span(start=match.start(), end=match.end(), label=Label.CN_ID_CARD, score=score, rule=rule, evidence=evidence)


RECOGNISER = Recogniser(name="cn_resident_id", label=Label.CN_ID_CARD, anchors=(Anchor.CODE, Anchor.NUMBER), look=look)
