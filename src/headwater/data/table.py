"""Read a table as raw text, before anything is decided about its cells.

CSV (UTF-8 with or without a byte-order mark, or GB18030) and Parquet. Nothing is repaired: a line with
too few or too many cells is set aside whole, and a file that cannot be read at all is refused.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, LimitExceeded

PARQUET_MAGIC = b"PAR1"
LARGEST_CELL = 1 << 17
MIB = 1 << 20
_HAN = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a row of the source is not in the data set. One row may have several."""

    row: int
    """Counted from 0, as in a split file."""
    line: int | None
    """Where the row begins in a CSV file, counted from 1."""
    column: str | None
    reason: str
    text: str | None
    """The cell as it stood; None for a missing cell or a fault of the whole row."""
    record: tuple[str | None, ...]
    """The whole row as it stood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """A table as text: `records[i]` came from row `rows[i]` and line `lines[i]` of the source."""

    names: tuple[str, ...]
    records: tuple[tuple[str | None, ...], ...]
    rows: tuple[int, ...]
    lines: tuple[int | None, ...]
    ragged: tuple[Rejection, ...]
    source_rows: int
    form: str
    encoding: str | None
    blank_lines: int = 0


def read_table(path: Path, *, delimiter: str = ",", largest_mib: int = 256) -> RawTable:
    """Return a CSV or Parquet file as text. Raises BadInput, or LimitExceeded past `largest_mib` MiB."""
    size = path.stat().st_size
    if size > largest_mib * MIB:
        raise LimitExceeded(
            f"The table has {size / MIB:.1f} MiB; the limit is {largest_mib}.", "Split it, or raise 'largest_table_mib'.", where=path.name
        )
    if size == 0:
        raise BadInput("The table is empty: 0 bytes.", "Give a CSV file with a header line, or Parquet.", where=path.name)
    data = path.read_bytes()
    if data[:4] == PARQUET_MAGIC:
        return _parquet(data, path.name, largest_mib)
    text, encoding = decode(data, path.name)
    return parse_csv(text, where=path.name, delimiter=delimiter, encoding=encoding)


def decode(data: bytes, where: str) -> tuple[str, str]:
    """Return a file's text and its encoding: `utf-8`, `utf-8-sig` or `gb18030`. Raises BadInput for any other."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadInput("The file is UTF-16.", "Save it as UTF-8 (in Excel: 'CSV UTF-8').", where=where)
    if (place := data.find(b"\0")) >= 0:
        raise BadInput(f"Byte {place} is NUL: this is not a text file.", "Give CSV or Parquet.", where=where)
    encoding = "utf-8-sig" if data[:3] == b"\xef\xbb\xbf" else "utf-8"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as not_utf8:
        at = not_utf8.start + (3 if encoding == "utf-8-sig" else 0)  # that decoder counts from after the mark
        text = _gb18030(data, at, where)
    return text, "gb18030"


def _gb18030(data: bytes, not_utf8: int, where: str) -> str:
    """Return a file that is not UTF-8 as GB18030, unless some of its lines are: such a file was pasted together."""
    stranger = data.count(b"\n", 0, not_utf8) + 1
    if data[:3] == b"\xef\xbb\xbf" or (mixed := _first_utf8_line(data)) is not None:
        other = "it begins with a UTF-8 mark" if data[:3] == b"\xef\xbb\xbf" else f"line {mixed} is"
        raise BadInput(
            f"Line {stranger} is not UTF-8, and {other}: the file mixes encodings.",
            "Save the whole file as UTF-8.",
            where=f"{where}:{stranger}",
        )
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"Byte {not_utf8} (line {stranger}) is not UTF-8, and byte {error.start} is not GB18030.",
            "Save the file as UTF-8.",
            where=where,
        ) from error


def _first_utf8_line(data: bytes) -> int | None:
    """Return the first line with two Chinese characters in UTF-8. GB18030 text reads like that once in a billion such lines."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.isascii():
            continue
        with contextlib.suppress(UnicodeDecodeError):
            if len(_HAN.findall(line.decode())) >= 2:
                return number
    return None


def parse_csv(text: str, *, where: str = "table", delimiter: str = ",", encoding: str | None = None) -> RawTable:
    """Return CSV text as a table; the first line that is not blank is the header. Raises BadInput."""
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[tuple[int, list[str]]] = []
    blank = before = 0
    try:
        for cells in reader:
            if cells:
                records.append((before + 1, cells))
            else:
                blank += 1
            before = reader.line_num
    except csv.Error as error:
        raise BadInput(f"This is not valid CSV: {error}.", "Look for an unclosed quote here.", where=f"{where}:{before + 1}") from error
    if not records:
        raise BadInput("The table has no header.", "The first line must name the columns.", where=where)
    names = check_header(records[0][1], f"{where}:{records[0][0]}")
    return _straighten(names, records[1:], encoding=encoding, blank=blank)


def _straighten(names: tuple[str, ...], body: Sequence[tuple[int, list[str]]], *, encoding: str | None, blank: int) -> RawTable:
    whole = [(row, line, tuple(cells)) for row, (line, cells) in enumerate(body) if len(cells) == len(names)]
    ragged = tuple(
        Rejection(
            row=row, line=line, column=None, reason=f"{len(cells)} cells, the header has {len(names)}", text=None, record=tuple(cells)
        )
        for row, (line, cells) in enumerate(body)
        if len(cells) != len(names)
    )
    return RawTable(
        names=names,
        records=tuple(cells for _, _, cells in whole),
        rows=tuple(row for row, _, _ in whole),
        lines=tuple(line for _, line, _ in whole),
        ragged=ragged,
        source_rows=len(body),
        form="csv",
        encoding=encoding,
        blank_lines=blank,
    )


def check_header(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names of a header's columns. Raises BadInput for one that is missing or stands twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise BadInput(f"The column '{twice[0]}' stands {list(names).count(twice[0])} times in the header.", "Rename one.", where=where)
    if any(not name.strip() for name in names):
        place = next(place for place, name in enumerate(names) if not name.strip())
        raise BadInput(f"Column {place + 1} has no name in the header.", "Name it.", where=where)
    return tuple(names)


def _parquet(data: bytes, where: str, largest_mib: int) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        unpacked = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        if unpacked > 4 * largest_mib * MIB:
            raise LimitExceeded(
                f"The table unpacks to {unpacked / MIB:.0f} MiB; the limit is {4 * largest_mib}.", "Split the file.", where=where
            )
        names = check_header(file.schema_arrow.names, where)
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"The Parquet file cannot be read: {error}.", "It may be cut short: copy it again.", where=where) from error
    columns = [[_as_text(cell, name, where) for cell in table.column(name).to_pylist()] for name in names]
    records = tuple(zip(*columns, strict=True))
    return RawTable(
        names=names,
        records=records,
        rows=tuple(range(len(records))),
        lines=(None,) * len(records),
        ragged=(),
        source_rows=len(records),
        form="parquet",
        encoding=None,
    )


def _as_text(cell: Any, name: str, where: str) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        return repr(cell)
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    raise BadInput(
        f"The column '{name}' holds values of the kind {type(cell).__name__}.",
        "Numbers, texts, Booleans and dates can be read; flatten it first.",
        where=where,
    )
