"""JSON by the interpreter's own scanner and encoder. The module `json` takes longer to import than all else that a runner needs.

Standard library only: a runner imports it.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False  # typing takes long to import, and a runner has no use for it
if TYPE_CHECKING:
    from typing import Any


class _Reading:
    """How the scanner is to read: as `json.loads` does."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _foreign(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is no JSON")


_scan = _json.make_scanner(_Reading())  # type: ignore[arg-type]
_encode = _json.make_encoder(None, _foreign, _json.encode_basestring, None, ": ", ", ", False, False, True)


def read(path: str) -> Any:
    """Return what a file holds that begins with JSON. Raises ValueError."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        return _scan(text, 0)[0]
    except StopIteration as error:
        raise ValueError(f"{path} holds no JSON") from error


def told(value: Any) -> bytes:
    """Return a value of plain types as JSON in UTF-8."""
    return "".join(_encode(value, 0)).encode("utf-8", "replace")
