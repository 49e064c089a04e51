"""CSV read in pieces is the CSV that the whole-table reader reads: same cells, same lines, same refusals."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput, LimitExceeded
from headwater.data.catalogue import csv_columns
from headwater.data.catalogue.csv_columns import read_columns
from headwater.data.table import read_table

cells = st.text(st.sampled_from('ab,"\n\r 中;'), max_size=5)


def columns_of(data: bytes) -> csv_columns.TextTable:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(data)
        return read_columns(path, where="t.csv", largest_mib=1)


def whole(data: bytes) -> object:
    """Return what the whole-table reader makes of it: names, rows, lines, or that it cannot be a published table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(data)
        try:
            table = read_table(path)
        except BadInput as error:
            return str(error)
        return "refused" if table.ragged or not table.records else (table.names, list(table.records), list(table.lines))


def written(cell: str) -> str:
    """Return a cell as a CSV writer puts it, or, where its length is even, as it stands: a fault as often as not."""
    return '"' + cell.replace('"', '""') + '"' if len(cell) % 2 else cell


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_both_readers_read_the_same_or_both_refuse(rows: list[list[str]], end: str) -> None:
    data = end.join(["h,甲", *(",".join(map(written, row)) for row in rows)]).encode()
    wanted = whole(data)
    if isinstance(wanted, str):
        with pytest.raises(BadInput):
            columns_of(data)
        return
    table = columns_of(data)
    assert wanted == (table.names, table.frame.rows(), list(table.lines))


def test_rows_beyond_one_piece_keep_their_order_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_columns, "PIECE", 3)
    table = columns_of(b"n\n" + b"".join(b"%d\n" % number for number in range(10)))
    assert table.frame["n"].to_list() == [str(number) for number in range(10)]
    assert list(table.lines) == list(range(2, 12))


def test_every_ragged_row_is_counted_and_the_first_are_shown() -> None:
    with pytest.raises(BadInput, match=r"t.csv:3: 2 of 3 rows have too few or too many cells. line 3: 1 cells.*line 4: 3 cells"):
        columns_of(b"a,b\n1,2\n3\n4,5,6\n")


def test_a_file_above_the_limit_is_not_read() -> None:
    with pytest.raises(LimitExceeded, match="the limit is 1"):
        columns_of(b"n\n" + b"1\n" * (1 << 20))
