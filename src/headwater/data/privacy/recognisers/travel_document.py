"""Passports, and permits for travel to and from Hong Kong, Macao and Taiwan."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Evidence, Label, Recogniser, Span

SHAPES = (
    ("passport", re.compile(rf"{BEFORE}(?:E[A-HJ-NP-Z]?|G|S[ED]?|D[E]?|P[E]?|K[A-Z]?|MA)[0-9]{{7,8}}{AFTER}")),
    ("permit", re.compile(rf"{BEFORE}(?:C[A-HJ-NP-Z]?|W|L|T|H|M)[0-9]{{7,10}}{AFTER}")),
    ("passport_abroad", re.compile(rf"{BEFORE}(?:[A-Z]{{1,2}}[0-9]{{6,8}}|[0-9]{{9}}){AFTER}")),
    ("permit_digits", re.compile(rf"{BEFORE}[0-9]{{8}}{AFTER}")),
)
PASSPORT_CUE = re.compile(r"护照|签证|passport|visa holder|travel document", re.IGNORECASE)
PERMIT_CUE = re.compile(r"通行证|回乡证|台胞证|港澳|往来|permit", re.IGNORECASE)
OTHER_NUMBER = re.compile(
    r"(?:单|单号|流水号?|编号|型号|批号|序列号|order|batch|serial|invoice|ticket|part|model|commit)(?: (?:no|number))?[ .:：#]*\Z",
    re.IGNORECASE,
)
REACH, REACH_BEHIND = 24, 6


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the document number at a code: by its own shape for Chinese ones, and near a word for the document for all."""
    before, after = text[max(0, start - REACH) : start], text[end : end + REACH_BEHIND]
    passport, permit = (any(cue.search(side) for side in (before, after)) for cue in (PASSPORT_CUE, PERMIT_CUE))
    if not (passport or permit) and OTHER_NUMBER.search(before):
        return
    for rule, shape in SHAPES:
        match = shape.match(text, start)
        if match is None or match.end() != end:
            continue
        cued = {"passport": passport or permit, "permit": permit or passport, "passport_abroad": passport, "permit_digits": permit}[rule]
        if cued or (rule == "passport" and text[start] in "EG" and end - start == 9):
            yield Span(start=start, end=end, label=Label.PASSPORT, score=0.95 if cued else 0.6, rule=rule, evidence=Evidence.SHAPE)
            return


RECOGNISER = Recogniser(name="travel_document", label=Label.PASSPORT, anchors=(Anchor.CODE, Anchor.NUMBER), look=look)
