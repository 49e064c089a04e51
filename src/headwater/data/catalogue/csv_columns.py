"""Read a CSV file as columns of text, a piece at a time, so that it takes little more memory than the file.

The same reading as `data.table`: UTF-8 with or without a mark, or GB18030; strict quotes; blank lines are
skipped. Ragged rows refuse the file here, since nothing that is published may be set aside unseen.
"""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import BadInput, LimitExceeded
from headwater.data.table import LARGEST_CELL, MIB, PARQUET_MAGIC, check_header, decode

if TYPE_CHECKING:
    import polars as pl

PIECE = 20_000
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table of texts: `lines[i]` is the line of the file, from 1, on which row `i` begins."""

    names: tuple[str, ...]
    frame: pl.DataFrame
    lines: array[int]


def read_columns(path: Path, *, where: str, delimiter: str = ",", largest_mib: int) -> TextTable:
    """Return a CSV file's columns as text. Raises BadInput with line and column, LimitExceeded past `largest_mib` MiB."""
    size = path.stat().st_size
    if size > largest_mib * MIB:
        raise LimitExceeded(f"The table has {size / MIB:.1f} MiB; the limit is {largest_mib}.", "Write it as Parquet.", where=where)
    if size == 0:
        raise BadInput("The table is empty: 0 bytes.", "Give a CSV file with a header line, or Parquet.", where=where)
    data = path.read_bytes()
    if data[:4] == PARQUET_MAGIC:
        raise BadInput("This is Parquet by its content.", "Name it .parquet.", where=where)
    _, encoding = decode(data, where)
    del data
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as text:
        rows = _rows(text, where, delimiter)
        line, header = next(rows, (0, []))
        if not header:
            raise BadInput("The table has no header.", "The first line must name the columns.", where=where)
        return _gathered(check_header(header, f"{where}:{line}"), rows, where)


def _rows(text: io.TextIOWrapper, where: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line on which it begins."""
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    before = 0
    try:
        for cells in reader:
            if cells:
                yield before + 1, cells
            before = reader.line_num
    except csv.Error as error:
        raise BadInput(f"This is not valid CSV: {error}.", "Look for an unclosed quote here.", where=f"{where}:{before + 1}") from error


def _gathered(names: tuple[str, ...], rows: Iterator[tuple[int, list[str]]], where: str) -> TextTable:
    import polars as pl

    pieces: list[pl.DataFrame] = []
    held: list[list[str]] = []
    lines: array[int] = array("q")
    ragged: list[tuple[int, int]] = []
    for line, cells in rows:
        if len(cells) != len(names):
            ragged.append((line, len(cells)))
            continue
        lines.append(line)
        held.append(cells)
        if len(held) == PIECE:
            pieces.append(_piece(names, held))
            held = []
    _refuse_ragged(ragged, len(names), len(lines) + len(ragged), where)
    if held:
        pieces.append(_piece(names, held))
    if not pieces:
        raise BadInput("The table has a header and no rows.", "Give at least one row.", where=where)
    return TextTable(names=names, frame=pl.concat(pieces), lines=lines)


def _piece(names: tuple[str, ...], rows: list[list[str]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame([pl.Series(name, cells, dtype=pl.String) for name, cells in zip(names, zip(*rows, strict=True), strict=True)])


def _refuse_ragged(ragged: list[tuple[int, int]], wanted: int, rows: int, where: str) -> None:
    if ragged:
        shown = "; ".join(f"line {line}: {count} cells, the header has {wanted}" for line, count in ragged[:SHOWN])
        raise BadInput(
            f"{len(ragged)} of {rows} rows have too few or too many cells. {shown}.",
            "Correct them, or look for an unquoted comma.",
            where=f"{where}:{ragged[0][0]}",
        )
