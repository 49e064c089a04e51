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
LEFT_BOUNDARY = frozenset("：:，,。；;、（(「“\"'\n\r\t 　【[|！？!?/<>《》")
RIGHT_BOUNDARY = frozenset("，,。；;、：:）)（(」”\"'\n\r\t 　】]|！？!?/<>《》")
LINKS = "和与及、跟同"
DOUBTFUL = frozenset("和于向由时从但那都来应能且同为以")
"""Surnames that are mostly other words: a surname right behind one means that it is the other word."""
CALLED = re.compile(r"(?:[：:]|为|是|叫|姓名|名叫)?[ 　]{0,2}\Z")
"""What may stand between a cue and the name."""


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the best name that begins at a surname, if its weight is enough."""
    best, chosen = 0.0, 0
    announced = _left(text, start)
    for length, surname in _lengths(text, start):
        weight = _weigh(text, start, surname, length, announced)
        if weight > best:
            best, chosen = weight, length
    if best >= LEAST:
        yield Span(
            start=start,
            end=start + chosen,
            label=Label.PERSON,
            score=min(0.95, 0.5 + 0.4 * best / SURE),
            rule="person_zh",
            evidence=Evidence.CONTEXT,
        )


def _lengths(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the lengths that a name here may have, with that of its surname; longer ones first."""
    surname = 2 if text[start : start + 2] in words("names_zh", "compound_surnames") else 1
    for given in (2, 1):
        if start + surname + given <= len(text) and all("\u4e00" <= one <= "\u9fff" for one in text[start : start + surname + given]):
            yield surname + given, surname


def _weigh(text: str, start: int, surname: int, length: int, announced: float) -> float:
    name = text[start : start + length]
    if surname == 1 and (name[:2] in words("names_zh", "words") or (length == 3 and name[1:] in _common())):
        return 0.0
    given = name[surname:]
    follows = _right(text, start + length)
    if follows < 0 and announced < 4:
        return 0.0
    typical = _typical(given)
    if typical == 0 and (announced < 4 or follows < 2):
        return 0.0
    doubt = 4.0 if name[0] in DOUBTFUL and name[1] in characters("names_zh", "surnames") and length == 3 else 0.0
    return typical + announced + follows + (1.5 if surname == 2 else 0.0) - doubt


def _typical(given: str) -> float:
    """Return how typical a given name is: 0 for characters that names seldom have."""
    known = sum(one in characters("names_zh", "strong") for one in given)
    if len(given) == 2:
        if given in words("names_zh", "given"):
            return 4.0
        return 3.0 if known == 2 or given[0] == given[1] else 0.0 if known == 0 else 1.0
    return 2.0 if known else 0.0


def _left(text: str, start: int) -> float:
    """Return how strongly what stands before announces a name: 4 after a word for a person, less after links and boundaries."""
    if start == 0:
        return 2.0
    between = CALLED.search(text, max(0, start - 5), start)
    before = between.start() if between else start
    for size in (5, 4, 3, 2, 1):
        if before >= size and text[before - size : before] in words("names_zh", "cues"):
            return 4.0
    last = text[start - 1]
    if last in LEFT_BOUNDARY:
        return 2.0
    return 1.5 if last in LINKS else 0.0 if "\u4e00" <= last <= "\u9fff" else 2.0


def _right(text: str, end: int) -> float:
    """Return how well what stands behind fits a name; negative where it makes a place or an organisation of it."""
    if end == len(text):
        return 2.0
    following = text[end : end + 4]
    if any(following.startswith(one) for one in _starts("organisations", following[0])):
        return -1.0
    if any(following.startswith(one) for one in _starts("titles", following[0])):
        return 4.0
    if following[0] in characters("names_zh", "not_people"):
        return -1.0
    if following[0] in RIGHT_BOUNDARY:
        return 2.0
    if any(following.startswith(one) for one in _starts("after", following[0])):
        return 2.0
    return 0.0 if "\u4e00" <= following[0] <= "\u9fff" else 1.5


@cache
def _starts(key: str, first: str) -> tuple[str, ...]:
    """Return the words of a list that begin with a character."""
    return tuple(word for word in words("names_zh", key) if word[0] == first)


@cache
def _common() -> frozenset[str]:
    """Return the words of two characters that no given name is, though a surname stands before them."""
    return frozenset(word for word in words("names_zh", "words") if len(word) == 2) - words("names_zh", "given")


RECOGNISER = Recogniser(name="person_zh", label=Label.PERSON, anchors=(Anchor.HAN_NAME,), look=look)
