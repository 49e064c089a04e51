"""Chinese names without a model: a surname, what given names are made of, and what stands on either side.

Each possible name at a surname is weighed: its given name by how typical it is, its left side by words that
announce a name, its right side by titles, verbs and boundaries. The weights are set by hand and checked on
sentences of our own; they are not fitted to a corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span
from headwater.data.privacy.words import characters, words

LEAST = 5.0
"""The weight at which a name is accepted."""
SURE = 9.0
ANNOUNCED, TITLED = 4.0, 4.0
"""The weights of a word for a person before the name, and of a title behind it."""
LISTED = 4.0
"""The weight of a given name that is frequent as a whole."""
LEFT_BOUNDARY = frozenset("：:，,。；;、（(「“\"'\n\r\t 　【[|！？!?/<>《》")
RIGHT_BOUNDARY = frozenset("，,。；;、：:）)（(」”\"'\n\r\t 　】]|！？!?/<>《》")
LINKS = frozenset("和与及跟同给对向由请找让被把为是在据从经派")
CALLED = re.compile(r"(?:[：:]|为|是|叫|姓名|名叫)?[ 　]{0,2}\Z")
"""What may stand between a cue and the name."""
PARTICLES = frozenset("和于向由时从但那都来应能且同为以")
"""Surnames that are mostly other words: a surname right behind one means that it is the other word."""


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the best name that begins at a surname, if its weight is enough."""
    if text[start : start + 2] in words("names_zh", "words"):
        return
    surname = 2 if text[start : start + 2] in words("names_zh", "compound_surnames") else 1
    announced = _left(text, start)
    if surname == 1 and announced < ANNOUNCED and text[end : end + 1] not in characters("names_zh", "strong"):
        return
    best, chosen = 0.0, 0
    for length in (surname + 2, surname + 1):
        weight = _weigh(text, start, surname, length, announced)
        if weight > best:
            best, chosen = weight, length
    if best >= LEAST:
        score = min(0.95, 0.5 + 0.4 * best / SURE)
        yield Span(start=start, end=start + chosen, label=Label.PERSON, score=score, rule="person_zh", evidence=Evidence.CONTEXT)


def _weigh(text: str, start: int, surname: int, length: int, announced: float) -> float:
    """Return the weight of one reading of what begins at a surname; 0 for none."""
    given = text[start + surname : start + length]
    if len(given) < length - surname or not all("\u4e00" <= one <= "\u9fff" for one in given) or given in words("names_zh", "not_given"):
        return 0.0
    typical, follows, first = _typical(given), _right(text, start + length), text[start]
    if (typical == 0 or follows < 0) and (announced < ANNOUNCED or follows < 2):
        return 0.0
    if surname == 1 and first in characters("names_zh", "ambiguous"):
        if typical < LISTED and follows < TITLED and (announced == 0 or (typical < 2 and text[start - 1] not in "：:")):
            return 0.0
        announced -= 0.0 if typical >= LISTED else 2.0 if first in PARTICLES or announced < 2 else 1.0
    elif surname == 2 or first in characters("names_zh", "frequent"):
        announced += 1.0
    if len(given) == 2 and any(len(one) > 1 and text.startswith(one, start + length - 1) for one in _starting("after").get(given[1], ())):
        return 0.0
    if first in PARTICLES and len(given) == 2 and given[0] in characters("names_zh", "surnames"):
        return 0.0
    return typical + announced + follows


def _typical(given: str) -> float:
    """Return how typical a given name is: 0 for characters that names seldom have."""
    known = sum(one in characters("names_zh", "strong") for one in given)
    if len(given) == 1:
        return 2.0 * known
    return LISTED if given in words("names_zh", "given") else (0.0, 1.0, 3.0)[known]


def _left(text: str, start: int) -> float:
    """Return how strongly what stands before announces a name: most after a word for a person, less after boundaries and links."""
    if start == 0:
        return 2.0
    last = text[start - 1]
    if last in _cue_ends() or last in CALLED_ENDS:
        between = CALLED.search(text, max(0, start - 5), start)
        before = between.start() if between else start
        if text[max(0, before - 2) : before] != "或者" and any(
            text[max(0, before - size) : before] in words("names_zh", "cues") for size in (2, 3, 4, 5, 1)
        ):
            return ANNOUNCED
    if last in LEFT_BOUNDARY:
        return 2.0
    return 1.5 if last in LINKS else 0.0 if "\u4e00" <= last <= "\u9fff" else 2.0


def _right(text: str, end: int) -> float:
    """Return how well what stands behind fits a name; negative where it makes a place or an organisation of it."""
    if end >= len(text):
        return 2.0
    first = text[end]
    if first in RIGHT_BOUNDARY:
        return 2.0
    for key, weight in (("organisations", -1.0), ("titles", TITLED), ("after", 2.0)):
        if any(text.startswith(one, end) for one in _starting(key).get(first, ())):
            return weight
    if first in characters("names_zh", "not_people"):
        return -1.0
    return 0.0 if "\u4e00" <= first <= "\u9fff" else 1.5


CALLED_ENDS = frozenset("：:为是叫名 　")


@cache
def _cue_ends() -> frozenset[str]:
    return frozenset(word[-1] for word in words("names_zh", "cues"))


@cache
def _starting(key: str) -> dict[str, tuple[str, ...]]:
    """Return the words of a list by their first character."""
    firsts = {word[0] for word in words("names_zh", key)}
    return {first: tuple(word for word in words("names_zh", key) if word[0] == first) for first in firsts}


RECOGNISER = Recogniser(name="person_zh", label=Label.PERSON, anchors=(Anchor.HAN_NAME,), look=look)
