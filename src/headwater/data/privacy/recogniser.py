"""What a recogniser is, and what it finds.

A recogniser names its label and the anchors at which it wants to look. One pass over the text
(`scan_kernel.py`) marks all anchors; a recogniser is called for its own only, so that adding one costs
nothing where nothing of its kind stands. A third party declares one in the entry-point group
`headwater.recognisers`; where no anchor fits, `Anchor.TEXT` hands it the whole text once.

Patterns must not use `\\b` or `\\w`: to Python a Chinese character is a word character, so that a number
beside one would not be found. `BEFORE` and `AFTER` are the ASCII look-arounds to use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from headwater.core.registry import Family

BEFORE = r"(?<![0-9A-Za-z])"
AFTER = r"(?![0-9A-Za-z])"


class Label(StrEnum):
    """The kinds of personal data."""

    PERSON = "PERSON"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    ADDRESS = "ADDRESS"
    CN_ID_CARD = "CN_ID_CARD"
    CN_USCC = "CN_USCC"
    BANK_CARD = "BANK_CARD"
    CN_LICENSE_PLATE = "CN_LICENSE_PLATE"
    PASSPORT = "PASSPORT"
    IP_ADDRESS = "IP_ADDRESS"
    US_SSN = "US_SSN"


ALL: frozenset[str] = frozenset(Label)


class Anchor(IntEnum):
    """Where a recogniser looks; the numbers are those of the scan."""

    AT_SIGN = 0
    CODE = 1
    """A run of letters and digits with at least six digits."""
    NUMBER = 2
    """Groups of digits with single separators, at least seven digits in all."""
    DOTTED = 3
    COLONS = 4
    PLATE_START = 5
    STREET_WORD = 6
    NAME_WORD = 7
    """A first name, a form of address or a word that announces a name, in Latin letters."""
    HAN_UNIT = 8
    """A unit of an address, such as 号, after a numeral and near a road."""
    HAN_NAME = 9
    """A surname that may begin a name."""
    TEXT = 255
    """The whole text, once."""


class Evidence(IntEnum):
    """How a finding is known; where two overlap, the stronger stays."""

    CONTEXT = 1
    SHAPE = 2
    CHECKSUM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Personal data in a text: code points `start` to `end`, what it is, how sure (0 to 1), and by which rule."""

    start: int
    end: int
    label: str
    score: float
    rule: str
    evidence: Evidence = Evidence.SHAPE


Look = Callable[[str, int, int], Iterable[Span]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """One recogniser: `look(text, start, end)` yields what it accepts at an anchor; in `text`, full-width digits and letters are plain."""

    name: str
    label: str
    anchors: tuple[Anchor, ...]
    look: Look
    by_default: bool = True


RECOGNISERS: Family[Recogniser] = Family("recognisers", Recogniser)
