"""IPv4 and IPv6 addresses. A dotted number after a word such as "version" is not one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span

OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
V4 = re.compile(rf"(?<![0-9A-Za-z.])(?:{OCTET}\.){{3}}{OCTET}(?![0-9A-Za-z]|\.[0-9])")
NOT_AN_ADDRESS = re.compile(r"(?:version|release|section|chapter|rev|build|v|版本|版本号|版|第|章|节)[ :：]?\Z", re.IGNORECASE)
V6_CHARACTERS = frozenset("0123456789abcdefABCDEF:.")
FEWEST_V6 = 4
SLICE = re.compile(r"[0-9]{0,4}::[0-9]{0,4}\Z")
"""A step in Python's slices, which reads like a short address."""


def look_v4(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the IPv4 addresses within a dotted number."""
    for match in V4.finditer(text, start, min(len(text), end + 2)):
        if not NOT_AN_ADDRESS.search(text, max(0, match.start() - 10), match.start()):
            yield _span(match.start(), match.end(), "ipv4")


def look_v6(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the IPv6 address around two colons, or of eight groups."""
    first, last = start, end
    while first > 0 and start - first < 40 and text[first - 1] in V6_CHARACTERS:
        first -= 1
    while last < len(text) and last - end < 40 and text[last] in V6_CHARACTERS:
        last += 1
    told = text[first:last].rstrip(".")
    last = first + len(told)
    if told.endswith(":") and not told.endswith("::"):
        told, last = told[:-1], last - 1
    beside = (text[first - 1] if first else " ") + (text[last] if last < len(text) else " ")
    if any(one.isascii() and (one.isalnum() or one == "_") for one in beside) or len(told) < FEWEST_V6:
        return
    if any(one.isdigit() for one in told) and (first == 0 or text[first - 1] not in "[, " or not SLICE.match(told)) and _is_v6(told):
        yield _span(first, last, "ipv6")


def _is_v6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _span(start: int, end: int, rule: str) -> Span:
    return Span(start=start, end=end, label=Label.IP_ADDRESS, score=0.9, rule=rule, evidence=Evidence.SHAPE)


V4_RECOGNISER = Recogniser(name="ipv4", label=Label.IP_ADDRESS, anchors=(Anchor.DOTTED,), look=look_v4)
V6_RECOGNISER = Recogniser(name="ipv6", label=Label.IP_ADDRESS, anchors=(Anchor.COLONS,), look=look_v6)
