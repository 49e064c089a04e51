"""Chinese licence plates (GA 36-2018): common plates, plates of new-energy vehicles, and those that end in a use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
LETTER = "[A-HJ-NP-Z]"
PLATE = re.compile(
    rf"[{PROVINCES}]{LETTER}[ ·•・\-]?"
    rf"(?:[A-HJK][A-HJ-NP-Z0-9][0-9]{{4}}|[0-9]{{5}}[A-HJK]|(?=[A-Z0-9]*[0-9])[A-HJ-NP-Z0-9]{{5}}|(?=[A-Z0-9]*[0-9])[A-HJ-NP-Z0-9]{{4}}[学警港澳挂领试超])"
    r"(?![0-9A-Za-z])"
)


def look(text: str, start: int, _end: int) -> Iterator[Span]:
    """Yield the plate that begins at a province's short name."""
    if match := PLATE.match(text, start):
        yield Span(start=start, end=match.end(), label=Label.CN_LICENSE_PLATE, score=0.9, rule="licence_plate", evidence=Evidence.SHAPE)


RECOGNISER = Recogniser(name="cn_licence_plate", label=Label.CN_LICENSE_PLATE, anchors=(Anchor.PLATE_START,), look=look)
