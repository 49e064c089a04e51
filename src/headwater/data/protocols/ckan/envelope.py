"""How CKAN says that a call went well or did not. Pure.

Source: CKAN documentation, "API guide", and the statuses that its clients tell apart.
"""

from __future__ import annotations

from typing import Any

from headwater.core.errors import Conflict, HeadwaterError, LimitExceeded, NotFound, NotSignedIn, Refused, TooMany
from headwater.data.protocols.ckan.params import Invalid, Unsearchable

KINDS: tuple[tuple[type[HeadwaterError], int, str], ...] = (
    (NotFound, 404, "Not Found Error"),
    (NotSignedIn, 403, "Authorization Error"),
    (Refused, 403, "Authorization Error"),
    (Unsearchable, 400, "Search Query Error"),
    (TooMany, 429, "Too Many Requests"),
    (LimitExceeded, 413, "Too Large"),
)


def success(help_url: str, result: Any) -> dict[str, Any]:
    """Return the envelope of a result."""
    return {"help": help_url, "success": True, "result": result}


def failure(help_url: str, error: HeadwaterError) -> tuple[int, dict[str, Any]]:
    """Return the status and envelope of an error; what fits no other kind is wrong in a field."""
    message = " ".join(part for part in (error.what, error.hint) if part)
    for kind, status, name in KINDS:
        if isinstance(error, kind):
            return status, {"help": help_url, "success": False, "error": {"__type": name, "message": message}}
    field = "name" if isinstance(error, Conflict) else error.where if isinstance(error, Invalid) else None
    told = {"__type": "Validation Error", "message": message} | ({field: [message]} if field else {})
    return 409, {"help": help_url, "success": False, "error": told}
