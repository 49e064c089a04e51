"""Names in Latin letters without a model: first names and surnames of several countries, and words that announce a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span
from headwater.data.privacy.words import words

PART = r"[A-Z](?:[a-z\u00c0-\u024f]+|['’][A-Z][a-z]+)(?:[-’'][A-Z][a-z]+)?(?:(?<=Mc)[A-Z][a-z]+|(?<=Mac)[A-Z][a-z]+)?"
NAME = re.compile(
    rf"({PART})(?: (?:[A-Z]\.|{PART}))?? (?:(?:van|von|de|da|del|der|den|al|bin) )?((?:De|Van|Mc|O['’]|El|Al-)? ?{PART})(?![0-9A-Za-z])"
)
AFTER_TITLE = re.compile(rf"\.? ({PART}(?: {PART})?)(?![0-9A-Za-z])")
AFTER_CUE = re.compile(rf"(?:[:：]| is| named)? ({PART}) ((?:Mc|O['’])?{PART})(?![0-9A-Za-z])")
CUE_BEFORE = re.compile(r"([A-Za-z]+)[.:]? \Z")


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the name at a first name, or behind a title or a word that announces one."""
    word = text[start:end]
    if start and (text[start - 1] in "_./-@" or (text[start - 1].isalnum() and text[start - 1].isascii())):
        return
    if word in words("names_en", "titles"):
        if (match := AFTER_TITLE.match(text, end)) and not set(match[1].split()) & words("names_en", "not_last"):
            yield _span(match.start(1), match.end(1), "person_title", 0.9)
    elif word in words("names_en", "strong_cues"):
        if (match := AFTER_CUE.match(text, end)) and _is_name(match[1], match[2], cued=True):
            yield _span(match.start(1), match.end(2), "person_cue", 0.8)
    elif (match := NAME.match(text, start)) and _is_name(match[1], match[2], cued=_cued(text, start)):
        yield _span(start, match.end(), "person_en", 0.9 if _is_surname(match[2]) else 0.7)


def _is_name(first: str, last: str, *, cued: bool) -> bool:
    """Tell whether two words are a first name and a surname: both known, or one known and a cue before."""
    if {first, last} & (words("names_en", "not_last") | words("names_en", "titles")):
        return False
    given, family = first.split("-")[0] in words("names_en", "first"), _is_surname(last)
    if given and family:
        return first not in words("names_en", "doubtful") or cued or last not in _words()
    return cued and (given or family)


def _is_surname(last: str) -> bool:
    """Tell whether a surname is known, with or without its particle (O'Connor, De Luca, Smith-Jones)."""
    last = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    return bool({last, last.split("-")[0], re.split("['’ ]", last)[-1]} & words("names_en", "last"))


@cache
def _words() -> frozenset[str]:
    """Return the surnames that are words or first names as well."""
    return words("names_en", "doubtful") | words("names_en", "worldly")


def _cued(text: str, start: int) -> bool:
    match = CUE_BEFORE.search(text, max(0, start - 16), start)
    return match is not None and match[1] in words("names_en", "cues")


def _span(start: int, end: int, rule: str, score: float) -> Span:
    return Span(start=start, end=end, label=Label.PERSON, score=score, rule=rule, evidence=Evidence.CONTEXT)


RECOGNISER = Recogniser(name="person_en", label=Label.PERSON, anchors=(Anchor.NAME_WORD,), look=look)
