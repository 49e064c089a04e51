"""A table is read as text first; nothing is repaired, nothing is lost."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.table import decode, parse_csv


@pytest.mark.parametrize(
    ("data", "encoding"),
    [("名称\n北京".encode(), "utf-8"), ("名称\n北京".encode("utf-8-sig"), "utf-8-sig"), ("名称\n北京".encode("gb18030"), "gb18030")],
)
def test_the_encodings_of_chinese_tables_are_told_apart(data: bytes, encoding: str) -> None:
    assert decode(data, "t.csv") == ("名称\n北京", encoding)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfea\x00", "UTF-16"),
        (b"a,b\n\x00", "Byte 4 is NUL"),
        (b"a\n\xff\xff", r"Byte 2 \(line 2\) is not UTF-8, and byte 2 is not GB18030"),
    ],
)
def test_other_bytes_are_refused_with_their_place(data: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        decode(data, "t.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header"),
        ("\n\n", "no header"),
        ("a,b,a\n1,2,3\n", "'a' stands 2 times in the header"),
        ("a,,c\n1,2,3\n", "Column 2 has no name"),
        ('a,b\n1,2\n"3,4\n', "t.csv:3: This is not valid CSV"),
        ('a,b\n1,"2"x\n', "t.csv:2: This is not valid CSV"),
        ("a\n" + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_a_broken_csv_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_csv(text, where="t.csv")


def test_ragged_lines_are_set_aside_whole_and_rows_keep_their_numbers() -> None:
    table = parse_csv('a,b\n1,2\n\n3\n"4\n4",5\n6,7,8\n9,9\n')
    assert table.records == (("1", "2"), ("4\n4", "5"), ("9", "9"))
    assert table.rows == (0, 2, 4)
    assert table.lines == (2, 5, 8)
    assert [(one.row, one.line, one.reason, one.record) for one in table.ragged] == [
        (1, 4, "1 cells, the header has 2", ("3",)),
        (3, 7, "3 cells, the header has 2", ("6", "7", "8")),
    ]
    assert (table.source_rows, table.blank_lines) == (5, 1)


def test_text_that_looks_like_a_formula_stays_text() -> None:
    assert parse_csv("a\n\"=cmd|' /C calc'!A0\"\n+1\n@x\n").records == (("=cmd|' /C calc'!A0",), ("+1",), ("@x",))


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=20))
def test_whatever_a_csv_writer_wrote_is_read_back(rows: list[list[str]]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([["a", "b"], *rows])
    table = parse_csv(written.getvalue())
    assert [list(record) for record in table.records] == rows
    assert table.source_rows == len(rows)
