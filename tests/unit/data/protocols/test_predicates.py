"""A hint never leaves out a file in which a row matches; what it cannot weigh keeps the file."""

from __future__ import annotations

import json
import operator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.protocols.delta.predicates import Both, Bounds, Compare, Condition, Either, IsNull, Unknown, denied, from_json, keeps
from headwater.data.protocols.delta.sql_hints import from_sql

OPERATORS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
JSON_NAMES = {"=": "equal", "<": "lessThan", "<=": "lessThanOrEqual", ">": "greaterThan", ">=": "greaterThanOrEqual"}
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"n": "long", "text": "string", "speed": "double", "day": "date", "at": "timestamp", "open": "boolean"}

values = st.one_of(st.none(), st.integers(-5, 5))
rows = st.lists(st.fixed_dictionaries({"n": values, "m": values}), min_size=1, max_size=6)
compares = st.builds(Compare, column=st.sampled_from(["n", "m"]), operator=st.sampled_from(sorted(OPERATORS)), value=st.integers(-6, 6))
leaves = st.one_of(compares, st.builds(IsNull, column=st.sampled_from(["n", "m"]), null=st.booleans()), st.just(Unknown()))
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: Both(parts=tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: Either(parts=tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        inner.map(denied),
    ),
    max_leaves=8,
)


def truth(condition: Condition, row: dict[str, Any]) -> bool | None:
    """Return what SQL says of a row: true, false or null; Unknown may be true."""
    match condition:
        case Compare(column=column, operator=sign, value=value):
            return None if row[column] is None else OPERATORS[sign](row[column], value)
        case IsNull(column=column, null=null):
            return (row[column] is None) == null
        case Both(parts=parts):
            found = [truth(one, row) for one in parts]
            return False if False in found else None if None in found else True
        case Either(parts=parts):
            found = [truth(one, row) for one in parts]
            return True if True in found else None if None in found else False
    return True


def bounds(table: list[dict[str, Any]]) -> dict[str, Bounds]:
    """Return what a footer tells of these rows."""
    found = {}
    for name in ("n", "m"):
        held = [row[name] for row in table if row[name] is not None]
        nulls = len(table) - len(held)
        found[name] = Bounds(least=min(held, default=None), most=max(held, default=None), nulls=nulls, rows=len(table))
    return found


@given(rows, conditions)
def test_a_file_with_a_matching_row_is_never_left_out(table: list[dict[str, Any]], condition: Condition) -> None:
    if any(truth(condition, row) for row in table):
        assert keeps(condition, bounds(table))


@given(conditions, st.fixed_dictionaries({"n": values, "m": values}))
def test_a_denied_condition_is_never_true_together_with_it(condition: Condition, row: dict[str, Any]) -> None:
    if Unknown() not in parts(condition) and Unknown() not in parts(denied(condition)):
        assert not (truth(condition, row) and truth(denied(condition), row))


def parts(condition: Condition) -> list[Condition]:
    """Return a condition with all conditions inside it."""
    inner = condition.parts if isinstance(condition, Both | Either) else ()
    return [condition, *(one for part in inner for one in parts(part))]


def weigh(name: str, sign: str, value: str, kind: str, bound: Bounds) -> bool:
    told = {"op": JSON_NAMES[sign], "children": [{"op": "column", "name": name}, {"op": "literal", "value": value, "valueType": kind}]}
    return keeps(from_json(json.dumps(told)), {name: bound})


@pytest.mark.parametrize(
    ("sign", "value", "kind", "bound", "kept"),
    [
        ("=", "2026-02-01", "date", Bounds(least=date(2026, 1, 1), most=date(2026, 1, 31)), False),
        ("=", "b", "string", Bounds(least="a", most="c"), True),
        ("=", "z", "string", Bounds(least="a", most="c"), False),
        ("=", "z" * 40, "string", Bounds(least="a", most="y" * 32), True),  # long text is cut in statistics
        (">", "5.0", "double", Bounds(least=0.0, most=1.0), True),  # NaN is above all and in no statistic
        ("<", "0.0", "double", Bounds(least=0.5, most=1.0), False),
        (">", "2026-01-01T00:00:00.000500Z", "timestamp", Bounds(least=NEW_YEAR, most=NEW_YEAR), True),
        (">", "2026-01-01T00:00:01Z", "timestamp", Bounds(most=NEW_YEAR), False),
        ("=", "true", "bool", Bounds(least=False, most=False), False),
        ("<", "5", "int", Bounds(least="a", most="b"), True),  # another type than the statistics'
        ("<", "nan", "double", Bounds(least=5.0), True),
        ("=", "1", "int", Bounds(nulls=3, rows=3), False),  # all null
        ("=", "1", "int", Bounds(), True),
        ("=", "1", "decimal(3,1)", Bounds(least=5, most=6), True),
    ],
)  # fmt: skip
def test_values_are_weighed_by_their_type(sign: str, value: str, kind: str, bound: Bounds, kept: bool) -> None:
    assert weigh("c", sign, value, kind, bound) is kept


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"op": 3}', '{"op": "and", "children": 3}', '{"op":"not","children":[' * 50, "[" * 100_000]
)
def test_a_tree_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"^The predicate cannot be read"):
        from_json(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_readers(text: str) -> None:
    from_sql(text, TYPES)
    try:
        from_json(text)
    except BadInput:
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n >= 5", Compare(column="n", operator=">=", value=5)),
        ("5 > `n`", Compare(column="n", operator="<", value=5)),
        ("text = 'it''s'", Compare(column="text", operator="=", value="it's")),
        ("day < '2026-01-02' AND n <> 3", Unknown()),
        ("n IN (1, 2)", Either(parts=(Compare(column="n", operator="=", value=1), Compare(column="n", operator="=", value=2)))),
        ("n IS NOT NULL", IsNull(column="n", null=False)),
        ("NOT (n < 5 AND open = true)", Either(parts=(Compare(column="n", operator=">=", value=5), Unknown()))),
        ("speed < 1e3", Compare(column="speed", operator="<", value=1000.0)),
        ("n < '5'", Compare(column="n", operator="<", value=5)),
        ("unknown_column < 5", Unknown()),
        ("upper(text) = 'X'", Unknown()),
        ("n < 5; DROP TABLE x", Unknown()),
        ("n <", Unknown()),
        ("(" * 100 + "n < 5" + ")" * 100, Unknown()),
        ("", Unknown()),
    ],
)
def test_sql_hints_are_taken_where_they_are_understood(text: str, expected: Condition) -> None:
    assert from_sql(text, TYPES) == expected
