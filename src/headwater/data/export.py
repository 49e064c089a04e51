"""A table as CSV text for people's spreadsheets, piece by piece, with cells that a spreadsheet would run made harmless.

A text cell that begins with one of = + - @ or a tab or line end gets a leading apostrophe, which
spreadsheets hide and take as "this is text" (OWASP, CSV injection). Numbers and dates are left alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from headwater.core.store import Store
from headwater.data.catalogue.sets import Version

BATCH_ROWS = 10_000
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n")
MARK = "\ufeff"
"""Tells spreadsheets that the text is UTF-8."""


def harmless(cell: Any) -> Any:
    """Return a cell as it may stand in a spreadsheet. Full-width forms of the signs count too: some programs fold them."""
    if not isinstance(cell, str) or not cell:
        return cell
    first = {"＝": "=", "＋": "+", "－": "-", "＠": "@"}.get(cell[0], cell[0])
    return f"'{cell}" if first in _RUN else cell


def csv_of(store: Store, version: Version, *, rows: int | None = None) -> Iterator[bytes]:
    """Yield a version's table as CSV in UTF-8, at most `rows` rows of it."""
    import pyarrow.parquet as pq

    names = [column.name for column in version.columns]
    yield (MARK + _lines([names])).encode()
    left = rows
    for file in version.table:
        with store.open(file.digest) as raw:
            for batch in pq.ParquetFile(raw).iter_batches(batch_size=BATCH_ROWS):
                columns = [batch.column(batch.schema.names.index(name)).to_pylist() for name in names]
                found = list(zip(*columns, strict=True))[:left]
                yield _lines(found).encode()
                left = None if left is None else left - len(found)
                if left == 0:
                    return


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([[harmless(cell) for cell in row] for row in rows])
    return buffer.getvalue()
