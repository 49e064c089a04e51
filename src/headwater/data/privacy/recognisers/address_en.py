"""Street addresses in English: house number, street, and where they follow, the unit, city, state or province, and postcode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span
from headwater.data.privacy.words import words

REACH = 60
NAME = r"(?:[A-Z][A-Za-z'’.-]*|[0-9]{1,3}(?:st|nd|rd|th))"
BEFORE_NUMBER = r"(?:(?:Flat|Unit|Apt\.?|Apartment|Suite) [0-9A-Z]{1,5},? )?"
HEAD = re.compile(rf"(?<![0-9A-Za-z.,/-]){BEFORE_NUMBER}[0-9]{{1,5}}[A-Za-z]?(?:-[0-9]{{1,4}})? (?:{NAME} ){{1,4}}\Z")
DIRECTION = re.compile(r"\.?(?: (?:North|South|East|West|N|S|E|W|NE|NW|SE|SW)(?![A-Za-z]))?")
UNIT = re.compile(
    r",? (?:(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|Rm)\.? ?#?[0-9A-Za-z-]{1,6}|#[0-9A-Za-z-]{1,6}|[0-9]{1,2}(?:st|nd|rd|th) Floor)"
)
CITY = r"[A-Z][A-Za-z.'’-]+(?: (?:[A-Z][A-Za-z.'’-]+|upon|on|of|de)){0,3}"
AMERICAN = "[A-Z]{2}\\.? [0-9]{5}(?:-[0-9]{4})?"
CANADIAN = "[A-Z]{2}\\.?,? [A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]"
BRITISH = "[A-Z]{1,2}[0-9][0-9A-Z]? [0-9][A-Z]{2}"
CODE = f"(?:{AMERICAN}|{CANADIAN}|{BRITISH}|[0-9]{{5}}(?:-[0-9]{{4}})?)"
TAIL = re.compile(rf",? {CITY},? {CODE}(?![0-9A-Za-z])|,? {CODE}(?![0-9A-Za-z])|, {CITY}, [A-Z]{{2}}(?![0-9A-Za-z])")


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the address around a word for a street."""
    if text[start:end] not in words("names_en", "streets") or start == 0 or text[start - 1] != " ":
        return
    head = HEAD.search(text, max(0, start - REACH), start)
    if head is None:
        return
    last = end
    for part in (DIRECTION, UNIT, TAIL):
        if match := part.match(text, last):
            last = match.end()
    if text[last - 1] == "." and text[start:end] not in ("St", "Rd", "Ave", "Blvd", "Ln", "Dr", "Ct", "Pl", "Sq", "Hwy", "Pkwy"):
        last -= 1
    yield Span(start=head.start(), end=last, label=Label.ADDRESS, score=0.85, rule="address_en", evidence=Evidence.CONTEXT)


RECOGNISER = Recogniser(name="address_en", label=Label.ADDRESS, anchors=(Anchor.STREET_WORD,), look=look)
