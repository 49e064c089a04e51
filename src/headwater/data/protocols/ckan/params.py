"""What a call of a CKAN action brings: texts of a query or values of a JSON body, read alike. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater.core.errors import BadInput

LONGEST_LIST = 1000


class Invalid(BadInput):
    """A field of a CKAN call is missing or wrong."""

    code = "data.ckan_invalid"

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what, where=field)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.where, self.what)


class Unsearchable(BadInput):
    """A CKAN search cannot be read."""

    code = "data.ckan_search"


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """The parameters of one call."""

    values: Mapping[str, Any]

    def text(self, *names: str, otherwise: str | None = None) -> str:
        """Return the first of these that is given. Raises Invalid where none is and there is no default."""
        for name in names:
            value = self.values.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return str(value)
            if value not in (None, ""):
                raise Invalid(name, "Must be a text")
        if otherwise is None:
            raise Invalid(names[0], "Missing value")
        return otherwise

    def whole(self, name: str, otherwise: int, *, most: int) -> int:
        """Return a whole number from 0; one above `most` counts as `most`. Raises Invalid."""
        value = self.values.get(name)
        if value in (None, ""):
            return otherwise
        digits = str(value)
        if isinstance(value, bool) or not digits.isascii() or not digits.isdecimal() or len(digits) > 12:
            raise Invalid(name, "Must be a natural number")
        return min(int(digits), most)

    def flag(self, name: str, *, otherwise: bool = False) -> bool:
        """Return a yes or no, as CKAN reads them."""
        value = self.values.get(name)
        return otherwise if value in (None, "") else str(value).lower() in ("true", "1", "yes", "t", "y", "on")

    def names(self, name: str) -> list[str]:
        """Return a list of texts: a JSON list, one in a text, or a single text. Raises Invalid."""
        value = self.values.get(name)
        if isinstance(value, str) and value.strip().startswith("["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise Invalid(name, "Not a JSON list") from error
        found = [] if value in (None, "") else value if isinstance(value, list) else [value]
        if len(found) > LONGEST_LIST or not all(isinstance(one, str) for one in found):
            raise Invalid(name, f"Must be a list of at most {LONGEST_LIST} texts")
        return list(found)
