"""What is done with personal data that was found: redact, mask, pseudonymise, or put a surrogate in its place.

- `redact`: the label in brackets. Nothing of the value stays.
- `mask`: stars, with the few characters that people need to tell records apart. Not anonymous.
- `pseudonymise`: a keyed value (HMAC-SHA-256). The same value under the same key always gives the same
  pseudonym, however it was written (blanks, hyphens, full-width digits); numbers keep their layout. Who holds
  the key can test guesses: keep it apart from the data.
- `surrogate`: an invented value of the same kind with valid check digits, also determined by key and value.

Pure: text, spans and key in, text out.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum

from headwater.core.errors import BadInput
from headwater.data.privacy.recogniser import ALL, Label, Span
from headwater.data.privacy.surrogates import SURROGATES, Draw

SHORTEST_KEY = 16
TOKEN_DIGITS = 12


class Action(StrEnum):
    """What to do with one kind of personal data."""

    REDACT = "redact"
    MASK = "mask"
    PSEUDONYMISE = "pseudonymise"
    SURROGATE = "surrogate"
    KEEP = "keep"


KEYED = frozenset({Action.PSEUDONYMISE, Action.SURROGATE})
KEPT: Mapping[str, tuple[int, int]] = {
    Label.PHONE: (3, 4),
    Label.CN_ID_CARD: (3, 2),
    Label.BANK_CARD: (0, 4),
    Label.CN_USCC: (2, 4),
    Label.PASSPORT: (1, 2),
    Label.US_SSN: (0, 4),
    Label.CN_LICENSE_PLATE: (2, 1),
    Label.IP_ADDRESS: (2, 0),
    Label.EMAIL: (1, 0),
    Label.PERSON: (1, 0),
    Label.ADDRESS: (3, 0),
}
"""How many characters at the beginning and at the end a mask leaves, separators not counted; never more than half of them."""


def act(text: str, spans: Iterable[Span], actions: Mapping[str, str] | str, key: bytes = b"") -> str:
    """Return the text with each span replaced as `actions` says for its label: one action for all, or one per label.

    A label that is not named is redacted. Raises BadInput for an unknown label or action, and where a keyed action has no key.
    """
    chosen = check_actions(actions)
    if KEYED & set(chosen.values()) and len(key) < SHORTEST_KEY:
        raise BadInput(f"The key has {len(key)} bytes.", f"Give at least {SHORTEST_KEY} random bytes, kept apart from the data.")
    parts, last = [], 0
    for span in sorted(spans, key=lambda one: one.start):
        parts += [text[last : span.start], replaced(text[span.start : span.end], span.label, chosen[span.label], key)]
        last = span.end
    return "".join([*parts, text[last:]])


def check_actions(actions: Mapping[str, str] | str) -> dict[str, Action]:
    """Return an action for every label. Raises BadInput, saying what there is."""
    given = dict.fromkeys(ALL, actions) if isinstance(actions, str) else dict(actions)
    if unknown := sorted(set(given) - ALL):
        raise BadInput(f"There is no label '{unknown[0]}'.", f"Labels: {', '.join(sorted(ALL))}.")
    try:
        return {label: Action(given.get(label, Action.REDACT)) for label in ALL}
    except ValueError as error:
        raise BadInput(f"There is no action: {error}.", f"Actions: {', '.join(Action)}.") from None


def replaced(value: str, label: str, action: Action, key: bytes) -> str:
    """Return what stands in a value's place."""
    if action is Action.KEEP:
        return value
    if action is Action.REDACT:
        return f"[{label}]"
    if action is Action.MASK:
        return masked(value, label)
    draw = Draw(key, f"{action}/{label}", canonical(value))
    if action is Action.SURROGATE:
        return SURROGATES[label](value, draw)
    return _pseudonym(value, label, draw)


def canonical(value: str) -> str:
    """Return a value as it is compared: plain width, no separators, lower case."""
    return "".join(one for one in unicodedata.normalize("NFKC", value).casefold() if one.isalnum() or one in "@:")


def masked(value: str, label: str) -> str:
    """Return a value with stars for all but the characters that `KEPT` leaves; separators stay, an address of mail keeps its domain."""
    body, at, domain = value.partition("@") if label == Label.EMAIL else (value, "", "")
    places = [place for place, one in enumerate(body) if one.isalnum()]
    front, back = KEPT.get(label, (0, 0))
    room = len(places) // 2
    front, back = min(front, room), min(back, max(0, room - min(front, room)))
    hidden = set(places[front : len(places) - back])
    return "".join("*" if place in hidden else one for place, one in enumerate(body)) + at + domain


def _pseudonym(value: str, label: str, draw: Draw) -> str:
    if label in (Label.PERSON, Label.ADDRESS):
        return f"{label.lower()}-{draw.token(TOKEN_DIGITS)}"
    if label == Label.EMAIL:
        return f"{draw.token(TOKEN_DIGITS)}@pseudonym.invalid"
    if label == Label.IP_ADDRESS:
        return f"ip-{draw.token(TOKEN_DIGITS)}"
    return "".join(_same_class(one, draw) for one in value)


def _same_class(character: str, draw: Draw) -> str:
    """Return a drawn character of the same class: digit for digit, letter for letter; others stay."""
    for alphabet in ("0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"):
        if unicodedata.normalize("NFKC", character) in alphabet:
            return alphabet[draw.below(len(alphabet))]
    return character


def fingerprint(key: bytes) -> str:
    """Return what names a key in reports without giving it away."""
    return hmac.new(key, b"headwater.privacy key", hashlib.sha256).hexdigest()[:16] if key else ""
