"""What a person typed into a procedure's form, as values of its fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.programmes.definition import Definition, FieldSpec

PREFIX = "field-"
"""Stands before a field's name in a form and in an address that fills one in."""


def typed(definition: Definition, given: Mapping[str, str], *, blank: bool = False) -> dict[str, Any]:
    """Return the values of the fields that a form holds; with `blank`, what was left empty is emptied.

    A text that is no number stays a text, so that the procedure's own check says which field is wrong.
    """
    found: dict[str, Any] = {}
    for name, spec in definition.fields.items():
        text = given.get(PREFIX + name)
        if text is None:
            continue
        if text.strip():
            found[name] = _value(spec, text.strip())
        elif blank:
            found[name] = None
    return found


def _value(spec: FieldSpec, text: str) -> Any:
    try:
        if spec.type == "integer":
            return int(text) if text.isascii() and len(text) <= 19 else text
        if spec.type == "number":
            return float(text)
    except ValueError:
        return text
    if spec.type == "boolean" and text in ("true", "false"):
        return text == "true"
    return text
