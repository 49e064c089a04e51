"""Check a table's cells against its card: typed columns, and every row set aside with its reasons.

Pure: text and card in, typed rows and rejections out. Nothing is repaired or guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headwater.core.errors import BadInput
from headwater.data.card import ROW, Card, Column
from headwater.data.table import RawTable, Rejection

if TYPE_CHECKING:
    import polars as pl

INTEGER = r"^[+-]?[0-9]{1,18}(\.0*)?$"
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
EXAMPLES = 5

Duplicates = Literal["set_aside", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The typed rows that hold what the card says, in the source's order, and what was set aside.

    `frame` has the card's columns in the card's order, then `_row`, the row's number in the source.
    """

    frame: pl.DataFrame
    rejected: tuple[Rejection, ...]

    @property
    def rejected_rows(self) -> int:
        """How many rows were set aside."""
        return len({one.row for one in self.rejected})


def check(table: RawTable, card: Card, *, duplicates: Duplicates = "set_aside") -> Checked:
    """Return the table typed by its card. Raises BadInput where the columns themselves differ from the card's."""
    import polars as pl

    _check_columns(table, card)
    text = pl.DataFrame(table.records, schema=dict.fromkeys(table.names, pl.String), orient="row", strict=True)
    missing = list(card.missing_values)
    text = text.with_columns(pl.when(pl.all().is_in(missing)).then(None).otherwise(pl.all()).name.keep())
    reasons = text.select(_reason(column).alias(column.name) for column in card.columns)
    typed = text.select(_typed(column).alias(column.name) for column in card.columns)
    typed = typed.with_columns(pl.Series(ROW, table.rows, dtype=pl.Int64))
    good = reasons.select(pl.all_horizontal(pl.all().is_null())).to_series()
    rejected = [*table.ragged, *_bad_cells(table, card, reasons)]
    typed = typed.filter(good)
    if duplicates == "set_aside":
        first = typed.select(pl.col(ROW).first().over(list(card.by_name)).alias("first")).to_series()
        rejected += _repeats(table, typed[ROW].to_list(), first.to_list())
        typed = typed.filter(first == typed[ROW])
    return Checked(frame=typed, rejected=tuple(sorted(rejected, key=lambda one: one.row)))


def refuse_if_mostly_bad(checked: Checked, source_rows: int, largest_share: float, where: str) -> None:
    """Raise BadInput if more than the stated share of rows was set aside, or no row is left."""
    if source_rows == 0:
        raise BadInput("The table has a header and no rows.", "Give at least one row.", where=where)
    share = checked.rejected_rows / source_rows
    if share <= largest_share and checked.frame.height:
        return
    counts = Counter(f"{one.column}: {one.reason}" if one.column else one.reason for one in checked.rejected)
    examples = "; ".join(_example(one) for one in checked.rejected[:EXAMPLES])
    raise BadInput(
        f"{checked.rejected_rows} of {source_rows} rows ({share:.1%}) do not fit the card; at most {largest_share:.1%} may. "
        f"Most frequent: {'; '.join(f'{reason} ({times})' for reason, times in counts.most_common(3))}. First: {examples}.",
        "Correct the table or the card, or raise 'largest_rejected_share'.",
        where=where,
        rejected=checked.rejected_rows,
        rows=source_rows,
    )


def _example(one: Rejection) -> str:
    place = f"line {one.line}" if one.line is not None else f"row {one.row}"
    cell = f" '{one.text[:40]}'" if one.text is not None else ""
    return f"{place}{f', {one.column}' if one.column else ''}:{cell} {one.reason}"


def _check_columns(table: RawTable, card: Card) -> None:
    absent = [name for name in card.by_name if name not in table.names]
    unknown = [name for name in table.names if name not in card.by_name]
    if absent or unknown:
        lists = (("not in the table", absent), ("not on the card", unknown))
        parts = [f"{what}: {', '.join(names)}" for what, names in lists if names]
        raise BadInput(
            f"The columns of the table and of its card differ: {'; '.join(parts)}.",
            "Describe every column; give those that no model should see the role 'ignore'.",
        )


def _typed(column: Column) -> pl.Expr:
    """Return the expression for a column's typed values; null where the cell does not fit."""
    import polars as pl

    cell = pl.col(column.name)
    if column.type == "text" or (column.type == "category" and isinstance(column.allowed[0], str)):
        return cell
    if column.type == "number":
        return pl.when(cell.str.contains(NUMBER)).then(cell).str.replace(r"^\+", "").cast(pl.Float64, strict=False)
    return pl.when(cell.str.contains(INTEGER)).then(cell).str.replace(r"^\+", "").str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)


def _reason(column: Column) -> pl.Expr:
    """Return the expression for what is wrong with each cell of a column; null where nothing is."""
    import polars as pl

    cell, value = pl.col(column.name), _typed(column)
    absent = pl.when(cell.is_null()).then(None if column.missing else pl.lit("missing"))
    if column.type == "text":
        return absent
    if column.type == "category":
        return absent.when(~value.is_in(list(column.allowed)).fill_null(False)).then(pl.lit("not an allowed value"))
    wanted = "not a whole number of at most 18 digits" if column.type == "integer" else "not a number"
    lowest, highest = pl.lit(column.minimum, dtype=pl.Float64), pl.lit(column.maximum, dtype=pl.Float64)
    return (
        absent.when(value.is_null() | value.cast(pl.Float64).is_infinite())
        .then(pl.lit(wanted))
        .when(value < lowest)
        .then(pl.lit(f"below {column.minimum}"))
        .when(value > highest)
        .then(pl.lit(f"above {column.maximum}"))
    )


def _bad_cells(table: RawTable, card: Card, reasons: pl.DataFrame) -> Iterator[Rejection]:
    for column in card.columns:
        place = table.names.index(column.name)
        for number in reasons[column.name].is_not_null().arg_true():
            record = table.records[number]
            yield Rejection(
                row=table.rows[number],
                line=table.lines[number],
                column=column.name,
                reason=reasons[column.name][number],
                text=record[place],
                record=record,
            )


def _repeats(table: RawTable, rows: list[int], firsts: list[int]) -> Iterator[Rejection]:
    place_of = {row: place for place, row in enumerate(table.rows)}
    for row, first in zip(rows, firsts, strict=True):
        if row != first:
            place = place_of[row]
            yield Rejection(
                row=row, line=table.lines[place], column=None, reason=f"the same as row {first}", text=None, record=table.records[place]
            )
