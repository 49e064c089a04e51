"""One way to write a value as bytes, so that a digest or a signature over it is stable.

The rule is the sorted-key subset of RFC 8785 (JSON Canonicalization Scheme): UTF-8, no spaces,
keys sorted by code point. Floats are written by Python's shortest repr; NaN and infinities are refused.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring
from typing import Any

from headwater.core.errors import BadInput

ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def to_bytes(value: Any) -> bytes:
    """Return the canonical JSON bytes of a value made of dict, list, str, int, float, bool and None."""
    try:
        text = ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"A value cannot be written as canonical JSON: {error}.", "Use plain JSON values only.") from error
    return text.encode()


def written(text: str) -> str:
    """Return text as a canonical JSON string."""
    return encode_basestring(text)


def digest(value: Any) -> str:
    """Return `sha256:…` over the canonical bytes of a value."""
    return "sha256:" + hashlib.sha256(to_bytes(value)).hexdigest()
