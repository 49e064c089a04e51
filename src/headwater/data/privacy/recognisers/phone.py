"""Telephone numbers: Chinese mobiles and landlines, the North American plan, and international numbers with a plus.

Short service numbers and 400/800 lines belong to organisations and are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Evidence, Label, Recogniser, Span

GAP = r"[ \-.\u00a0·]?"
NOT_BEFORE = r"(?<![0-9A-Za-z])(?<![0-9][.\-])"
MOBILE = re.compile(
    rf"(?:(?<![0-9A-Za-z])(?:\+|00)86[ \-]?|(?<![0-9A-Za-z])86[ \-]|{BEFORE})1[3-9][0-9]{GAP}[0-9]{{4}}{GAP}[0-9]{{4}}{AFTER}"
)
AREA = "(?:10|2[0-9]|[3-9][0-9]{2})"
LANDLINE = re.compile(
    rf"(?:(?:\+|00)86[ \-]?{AREA}[ \-]?|{NOT_BEFORE}[(（]0{AREA}[)）][ \-]?|{NOT_BEFORE}0{AREA}[ \-]?)"
    rf"[2-9][0-9]{{2,3}}[ \-]?[0-9]{{4}}(?:(?:转|[ \-](?:ext\.?|分机)?[ ]?)[0-9]{{1,5}})?{AFTER}"
)
AMERICAN = re.compile(
    rf"(?:(?:(?<![0-9A-Za-z])\+?1[ \-.]|(?<![0-9]))\([2-9][0-9]{{2}}\)[ \-]?[2-9][0-9]{{2}}[ \-.]"
    rf"|(?:(?<![0-9A-Za-z])\+?1[ \-.]|{NOT_BEFORE})(?<!\()[2-9][0-9]{{2}}([ \-.])[2-9][0-9]{{2}}\1)[0-9]{{4}}"
    rf"(?:[ ]?(?:x|ext\.?)[ ]?[0-9]{{1,6}})?{AFTER}(?!-[0-9])"
)
ABROAD = re.compile(rf"(?<![0-9A-Za-z+])\+(?!86|1[ \-.(])[1-9][0-9]{{0,2}}(?:[ \-.]?\(?[0-9]{{1,4}}\)?){{2,5}}{AFTER}")
BACK = 3
"""How far before its first digit a number may begin: a bracket, a plus."""
MOST_DIGITS = 15
"""ITU-T E.164, section 6.2.1."""


def mobile(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield Chinese mobile numbers, with or without the country's code."""
    for match in MOBILE.finditer(text, max(0, start - BACK), min(len(text), end + 1)):
        yield _span(match, "mobile", 0.95)


def landline(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield Chinese landlines with their area code."""
    for match in LANDLINE.finditer(text, max(0, start - BACK), min(len(text), end + 8)):
        yield _span(match, "landline", 0.9)


def american(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield numbers of the North American plan that are written in groups."""
    for match in AMERICAN.finditer(text, max(0, start - BACK), min(len(text), end + 12)):
        yield _span(match, "nanp", 0.85)


def abroad(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield international numbers that begin with a plus."""
    if start == 0 or text[start - 1] != "+":
        return
    match = ABROAD.match(text, start - 1, min(len(text), end + 1))
    if match and 8 <= sum(one.isdigit() for one in match[0]) <= MOST_DIGITS:
        yield _span(match, "international", 0.8)


def _span(match: re.Match[str], rule: str, score: float) -> Span:
    return Span(start=match.start(), end=match.end(), label=Label.PHONE, score=score, rule=rule, evidence=Evidence.SHAPE)


MOBILE_RECOGNISER = Recogniser(name="mobile", label=Label.PHONE, anchors=(Anchor.NUMBER,), look=mobile)
LANDLINE_RECOGNISER = Recogniser(name="landline", label=Label.PHONE, anchors=(Anchor.NUMBER,), look=landline)
AMERICAN_RECOGNISER = Recogniser(name="nanp", label=Label.PHONE, anchors=(Anchor.NUMBER,), look=american)
ABROAD_RECOGNISER = Recogniser(name="international", label=Label.PHONE, anchors=(Anchor.NUMBER,), look=abroad)
