"""Rows that a model accepts, made from its signature alone: for the try-it form, the documentation, and a first question. Pure."""

from __future__ import annotations

import math

from headwater.core.tabular import Column, Signature


def example_row(signature: Signature) -> dict[str, int | float | str]:
    """Return one row that the model accepts: the typical values of its data, or else of each column a value in its range."""
    return {column.name: _middle(column) if column.example is None else column.example for column in signature.columns}


def _middle(column: Column) -> int | float | str:
    if column.type == "category":
        return column.values[0] if column.values else 0
    bounds = [bound for bound in (column.minimum, column.maximum) if bound is not None]
    middle = sum(bounds) / len(bounds) if bounds else 0.0
    if column.type == "number":
        return middle
    whole = math.floor(middle)
    return whole if column.minimum is None or whole >= column.minimum else math.ceil(middle)
