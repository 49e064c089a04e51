"""Cells are checked against the card; rows that do not fit are set aside with their reasons."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.table import parse_csv
from headwater.data.validate import check, refuse_if_mostly_bad
from tests.unit.data.loans import HEADER, card, table

GOOD = "10.5,12,1,30,x,late"


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ("ten,12,1,30,x,late", "amount", "not a number"),
        ("nan,12,1,30,x,late", "amount", "not a number"),
        ("inf,12,1,30,x,late", "amount", "not a number"),
        ("1e9999,12,1,30,x,late", "amount", "not a number"),
        ("１２,12,1,30,x,late", "amount", "not a number"),
        (" 1,12,1,30,x,late", "amount", "not a number"),
        ("-0.1,12,1,30,x,late", "amount", "below 0.0"),
        ("1000.5,12,1,30,x,late", "amount", "above 1000.0"),
        ("1,1.5,1,30,x,late", "months", "not a whole number of at most 18 digits"),
        ("1,99999999999999999999,1,30,x,late", "months", "not a whole number of at most 18 digits"),
        ("1,0,1,30,x,late", "months", "below 1.0"),
        ("1,,1,30,x,late", "months", "missing"),
        ("1,?,1,30,x,late", "months", "missing"),
        ("1,2,3,30,x,late", "purpose", "not an allowed value"),
        ("1,2,a car,30,x,late", "purpose", "not an allowed value"),
        ("1,2,1,30,x,Late", "outcome", "not an allowed value"),
    ],
)
def test_a_bad_cell_sets_its_row_aside_with_reason_and_text(line: str, column: str, reason: str) -> None:
    checked = check(table(GOOD, line), card())
    (rejection,) = checked.rejected
    assert (rejection.row, rejection.line, rejection.column, rejection.reason) == (1, 3, column, reason)
    assert rejection.record == tuple(line.split(","))
    assert rejection.text == rejection.record[HEADER.split(",").index(column)]
    assert checked.frame["_row"].to_list() == [0]


def test_every_bad_cell_of_a_row_is_told() -> None:
    checked = check(table(GOOD, "x,x,x,30,x,x"), card())
    assert [one.column for one in checked.rejected] == ["amount", "months", "purpose", "outcome"]
    assert checked.rejected_rows == 1


def test_good_cells_become_typed_values_and_allowed_gaps_stay_gaps() -> None:
    checked = check(table("+1e2,7.0,2,?,=1+1,repaid"), card())
    assert checked.frame.row(0) == (100.0, 7, 2, None, "=1+1", "repaid", 0)


def test_a_repeated_row_is_set_aside_and_names_the_first_unless_all_are_to_be_kept() -> None:
    rows = table(GOOD, "10.50,12,1,30,x,late", "1,12,1,30,x,late")
    checked = check(rows, card())
    assert [(one.row, one.column, one.reason) for one in checked.rejected] == [(1, None, "the same as row 0")]
    assert check(rows, card(), duplicates="keep").frame.height == 3


def test_columns_that_differ_from_the_card_are_refused() -> None:
    with pytest.raises(BadInput, match="not in the table: age, note; not on the card: extra"):
        check(parse_csv("amount,months,purpose,outcome,extra\n1,2,1,late,x\n"), card())


def test_too_many_bad_rows_refuse_the_table_with_figures_and_examples() -> None:
    rows = table(GOOD, "1,0,1,30,x,late", "2,0,1,30,x,late", "3,3,1,30,x,late")
    checked = check(rows, card())
    with pytest.raises(BadInput, match=r"2 of 4 rows \(50\.0%\).*at most 5\.0%.*months: below 1\.0 \(2\).*line 3, months: '0' below 1\.0"):
        refuse_if_mostly_bad(checked, rows.source_rows, 0.05, "table")
    refuse_if_mostly_bad(checked, rows.source_rows, 0.5, "table")


def test_a_table_without_rows_or_without_good_rows_is_refused() -> None:
    with pytest.raises(BadInput, match="a header and no rows"):
        refuse_if_mostly_bad(check(table(), card()), 0, 1.0, "table")
    with pytest.raises(BadInput, match="1 of 1 rows"):
        refuse_if_mostly_bad(check(table("x,x,x,x,x,x"), card()), 1, 1.0, "table")


some_cells = st.sampled_from(["1", "2", "0", "-1", "late", "repaid", "", "?", "1.5", "=A1", "北京", "1e3"])
some_lines = st.lists(st.lists(some_cells, min_size=5, max_size=7).map(",".join), max_size=30)


@settings(max_examples=60, deadline=None)
@given(some_lines)
def test_every_row_of_the_source_is_either_kept_or_set_aside(lines: list[str]) -> None:
    rows = table(*lines)
    checked = check(rows, card())
    kept, aside = checked.frame["_row"].to_list(), {one.row for one in checked.rejected}
    assert sorted([*kept, *aside]) == list(range(len(lines)))
