"""E-mail addresses (the dot-atom form of RFC 5322 with a domain of RFC 1035 labels)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span

LONGEST_LOCAL = 64
DOMAIN = re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}([A-Za-z]{2,24})(?![A-Za-z0-9-]|\.[A-Za-z0-9])")
FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "html", "json", "md", "py", "txt"})
ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-'")


def look(text: str, start: int, _end: int) -> Iterator[Span]:
    """Yield the address around an at sign."""
    domain = DOMAIN.match(text, start)
    if domain is None or domain[1].lower() in FILE_ENDINGS:
        return
    first = start
    while first > 0 and start - first < LONGEST_LOCAL and text[first - 1] in ALLOWED:
        first -= 1
    while first < start and text[first] in ".'-":
        first += 1
    if first < start and text[start - 1] != "." and ".." not in text[first:start]:
        yield Span(start=first, end=domain.end(), label=Label.EMAIL, score=0.95, rule="email", evidence=Evidence.SHAPE)


RECOGNISER = Recogniser(name="email", label=Label.EMAIL, anchors=(Anchor.AT_SIGN,), look=look)
