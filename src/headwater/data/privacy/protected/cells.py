"""Aggregates over groups, with cells left out that would give somebody away.

The rule, in this order (Hundepohl et al., "Statistical Disclosure Control", 2012, chapter 4):
1. a cell of fewer rows than the table's minimum is left out;
2. a cell in which one row makes up more than the dominance share of a sum is left out;
3. along each dimension, a line in which only one cell is left out, or cells of fewer rows than the minimum
   together, loses its next smallest cell too, until no line can be solved from its total.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.data.privacy.protected.holding import Protected
from headwater.data.privacy.protected.questions import AggregateQuestion

if TYPE_CHECKING:
    import polars as pl

COUNT = "count"
Key = tuple[str | float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One group of rows; `figures` is None where it is left out."""

    key: Key
    rows: int
    figures: Mapping[str, float] | None


def cells_of(frame: pl.DataFrame, question: AggregateQuestion, table: Protected) -> list[Cell]:
    """Return the cells of the rows that a question is about, in order of their keys, with those left out marked."""
    import polars as pl

    for name in question.group_by:
        table.column(name, "category")
    figures = [pl.len().alias(COUNT)]
    for place, measure in enumerate(question.measures):
        table.column(measure.column, "number")
        column = pl.col(measure.column)
        figures += [
            (column.sum() if measure.kind == "sum" else column.mean()).alias(f"figure {place}"),
            (column.abs().max() / column.abs().sum()).fill_nan(0).fill_null(0).alias(f"share {place}"),
            column.count().alias(f"known {place}"),
        ]
    grouped = frame.group_by(list(question.group_by)).agg(figures) if question.group_by else frame.select(figures)
    rows = sorted(grouped.iter_rows(named=True), key=lambda row: [(row[name] is None, row[name] or "") for name in question.group_by])
    keys = [tuple(row[name] for name in question.group_by) for row in rows]
    left_out = _primary(rows, question, table)
    left_out = complementary(keys, [row[COUNT] for row in rows], left_out, table.declared.minimum_cell)
    return [
        Cell(key=key, rows=row[COUNT], figures=None if out else _figures(row, question))
        for key, row, out in zip(keys, rows, left_out, strict=True)
    ]


def _primary(rows: Sequence[Mapping[str, Any]], question: AggregateQuestion, table: Protected) -> list[bool]:
    least, most = table.declared.minimum_cell, table.declared.dominance
    measures = range(len(question.measures))
    return [row[COUNT] < least or any(row[f"known {place}"] < least or row[f"share {place}"] > most for place in measures) for row in rows]


def _figures(row: Mapping[str, Any], question: AggregateQuestion) -> dict[str, float]:
    return {COUNT: row[COUNT]} | {f"{one.kind}({one.column})": row[f"figure {place}"] for place, one in enumerate(question.measures)}


def complementary(keys: Sequence[Key], sizes: Sequence[int], left_out: Sequence[bool], least: int) -> list[bool]:
    """Return which cells are left out once no line can be solved: each has none, or at least two with `least` rows together."""
    out = list(left_out)
    changed = True
    while changed:
        changed = False
        for line in _lines(keys):
            hidden = [place for place in line if out[place]]
            shown = sorted((place for place in line if not out[place]), key=lambda place: (sizes[place], place))
            if hidden and shown and (len(hidden) < 2 or sum(sizes[place] for place in hidden) < least):
                out[shown[0]] = changed = True
    return out


def _lines(keys: Sequence[Key]) -> Iterator[list[int]]:
    """Yield the cells of each line: equal in every dimension but one."""
    for dimension in range(len(keys[0]) if keys else 0):
        lines: dict[Key, list[int]] = {}
        for place, key in enumerate(keys):
            lines.setdefault(key[:dimension] + key[dimension + 1 :], []).append(place)
        yield from lines.values()
