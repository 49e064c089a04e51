"""Bank cards: a known issuer prefix, its lengths, and the Luhn check digit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.data.privacy.checksums import is_luhn
from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Evidence, Label, Recogniser, Span

GROUPED = r"([ \-])(?:[0-9]{4}\1){2}[0-9]{1,4}(?:\1[0-9]{1,3})?|([ \-])[0-9]{6}\2[0-9]{5}"
CARD = re.compile(rf"{BEFORE}[2-69][0-9]{{3}}(?:[0-9]{{9,15}}|{GROUPED}){AFTER}")
ISSUERS: tuple[tuple[re.Pattern[str], frozenset[int]], ...] = (
    (re.compile("62"), frozenset({16, 17, 18, 19})),
    (re.compile("4(?:36742|56351|05512|01200|27020)"), frozenset({16, 19})),
    (re.compile("4"), frozenset({13, 16})),
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), frozenset({16})),
    (re.compile("3[47]"), frozenset({15})),
    (re.compile("352[89]|35[3-8]"), frozenset({16})),
    (re.compile("30[0-5]|36|38"), frozenset({14})),
    (re.compile("6011|64[4-9]|65"), frozenset({16, 19})),
    (re.compile("955880|955881|955888|60326[5-9]|603367|603694|690755|685800|621"), frozenset({16, 17, 18, 19})),
)
"""Prefix and lengths: UnionPay, older Chinese prefixes, Visa, Mastercard, American Express, JCB, Diners, Discover, Chinese debit."""
OTHER_NUMBER = re.compile(r"(?:单号|流水号|序列号|批号|order|serial|invoice|tracking)(?: (?:no|number))?[ .:：#]*\Z", re.IGNORECASE)


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the card numbers at a number."""
    if end - start < 13:
        return
    for match in CARD.finditer(text, start, min(len(text), end + 1)):
        digits = match[0].replace(" ", "").replace("-", "")
        if _is_issued(digits) and is_luhn(digits) and not OTHER_NUMBER.search(text, max(0, match.start() - 18), match.start()):
            yield Span(
                start=match.start(), end=match.end(), label=Label.BANK_CARD, score=0.98, rule="bank_card", evidence=Evidence.CHECKSUM
            )


def _is_issued(digits: str) -> bool:
    return any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in ISSUERS)


RECOGNISER = Recogniser(name="bank_card", label=Label.BANK_CARD, anchors=(Anchor.NUMBER,), look=look)
