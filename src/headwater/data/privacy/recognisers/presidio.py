"""Presidio's pattern recognisers of other countries, for those who install the extra `presidio`. Off by default.

Only recognisers that work without a language model and without the network are used; Presidio's own e-mail and
address-of-the-web recognisers fetch a list of domains, and are left out. Its entities map to our labels; what
has none is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from headwater.core.errors import Unavailable
from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span

LABELS: Mapping[str, str] = {
    "CREDIT_CARD": Label.BANK_CARD,
    "IP_ADDRESS": Label.IP_ADDRESS,
    "US_SSN": Label.US_SSN,
    "US_PASSPORT": Label.PASSPORT,
    "PHONE_NUMBER": Label.PHONE,
}
LEAST_SCORE = 0.4
CHECKED = 1.0
"""The score that Presidio gives where a check digit fits."""


def look(text: str, _start: int, _end: int) -> Iterator[Span]:
    """Yield what Presidio finds in the whole text."""
    for analyser in analysers():
        for found in analyser.analyze(text=text, entities=analyser.supported_entities, nlp_artifacts=None) or ():
            if found.entity_type in LABELS and found.score >= LEAST_SCORE:
                yield Span(
                    start=found.start,
                    end=found.end,
                    label=LABELS[found.entity_type],
                    score=float(found.score),
                    rule="presidio",
                    evidence=Evidence.CHECKSUM if found.score >= CHECKED and found.entity_type == "CREDIT_CARD" else Evidence.SHAPE,
                )


@cache
def analysers() -> tuple[Any, ...]:
    """Return Presidio's recognisers. Raises Unavailable where it is not installed."""
    try:
        from presidio_analyzer.predefined_recognizers import (
            CreditCardRecognizer,
            IpRecognizer,
            PhoneRecognizer,
            UsPassportRecognizer,
            UsSsnRecognizer,
        )
    except ImportError as error:
        raise Unavailable(f"Presidio is not installed: {error}.", "pip install 'headwater[presidio]'") from error
    return tuple(kind() for kind in (CreditCardRecognizer, IpRecognizer, PhoneRecognizer, UsPassportRecognizer, UsSsnRecognizer))


RECOGNISER = Recogniser(name="presidio", label=Label.PHONE, anchors=(Anchor.TEXT,), look=look, by_default=False)
