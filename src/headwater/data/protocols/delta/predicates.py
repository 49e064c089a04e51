"""Which files of a table a reader can leave out: conditions weighed against each file's statistics.

Pure. A hint may only ever leave out files in which no row can match, so whatever is not understood
keeps the file. Sources: Delta Sharing protocol, "JSON predicates for Filtering" and "SQL Expressions
for Filtering"; Delta transaction log protocol, "Per-file Statistics" (text cut at 32 characters,
times cut to milliseconds).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from headwater.core.errors import BadInput

Operator = Literal["=", "<", "<=", ">", ">="]
Value = bool | int | float | str | date | datetime

LARGEST_HINT = 100_000
DEEPEST = 40
STEP_OF_TIME = timedelta(milliseconds=1)
CUT_TEXT = 32

_JSON_OPERATORS: dict[str, Operator] = {
    "equal": "=",
    "lessThan": "<",
    "lessThanOrEqual": "<=",
    "greaterThan": ">",
    "greaterThanOrEqual": ">=",
}
TURNED: dict[Operator, Operator] = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_DENIED: dict[Operator, Operator] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """A column against a value."""

    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class IsNull:
    """A column that is null, or is not."""

    column: str
    null: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Every part must hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Either:
    """One part must hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What is not understood: any file may match."""


Condition = Compare | IsNull | Both | Either | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is known of a column in one file; None where it is not."""

    least: Value | None = None
    most: Value | None = None
    nulls: int | None = None
    rows: int | None = None


def from_json(text: str) -> Condition:
    """Return the condition of a `jsonPredicateHints` text. Raises BadInput where it is not such a tree."""
    if len(text) > LARGEST_HINT:
        raise _malformed(f"it is longer than {LARGEST_HINT} characters")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed("it is not JSON") from error
    return _node(told, 0)


def keeps(condition: Condition, bounds: Mapping[str, Bounds]) -> bool:
    """Tell whether a file with these bounds may hold a row for which the condition is true."""
    match condition:
        case Both(parts=parts):
            return all(keeps(one, bounds) for one in parts)
        case Either(parts=parts):
            return any(keeps(one, bounds) for one in parts)
        case IsNull(column=column, null=null):
            return _may_be_null(bounds.get(column), null)
        case Compare(column=column) as compare:
            return _may_compare(compare, bounds.get(column))
        case _:
            return True


def denied(condition: Condition) -> Condition:
    """Return the condition that holds where this one is false; null is neither."""
    match condition:
        case Both(parts=parts):
            return Either(parts=tuple(denied(one) for one in parts))
        case Either(parts=parts):
            return Both(parts=tuple(denied(one) for one in parts))
        case IsNull(column=column, null=null):
            return IsNull(column=column, null=not null)
        case Compare(column=column, operator=operator, value=value) if operator != "=":
            return Compare(column=column, operator=_DENIED[operator], value=value)
        case _:
            return Unknown()  # of "not equal" little can be said from bounds


def typed(text: object, kind: str) -> Value | None:
    """Return a value written as text or JSON as its type's value, or None where it is none or the type is not known."""
    try:
        return _typed(text, kind)
    except (ValueError, TypeError, OverflowError):
        return None


def _typed(text: object, kind: str) -> Value | None:
    if kind in ("bool", "boolean"):
        return {"true": True, "false": False}.get(str(text).lower())
    if kind in ("byte", "short", "int", "integer", "long"):
        return int(str(text))
    if kind in ("float", "double"):
        number = float(str(text))
        return number if number == number and abs(number) != float("inf") else None
    if kind == "string":
        return text if isinstance(text, str) else None
    if kind == "date":
        return date.fromisoformat(str(text))
    if kind == "timestamp":
        at = datetime.fromisoformat(str(text))
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return None


def _node(told: Any, depth: int) -> Condition:
    if not isinstance(told, dict) or not isinstance(told.get("op"), str):
        raise _malformed("each node is an object with an `op`")
    if depth > DEEPEST:
        raise _malformed(f"it is nested deeper than {DEEPEST} levels")
    operator, children = told["op"], told.get("children", [])
    if not isinstance(children, list):
        raise _malformed(f"the children of `{operator[:40]}` are not a list")
    if operator in ("and", "or"):
        parts = tuple(_node(one, depth + 1) for one in children)
        return Both(parts=parts) if operator == "and" else Either(parts=parts) if parts else Unknown()
    if operator == "not" and len(children) == 1:
        return denied(_node(children[0], depth + 1))
    if operator == "isNull" and len(children) == 1 and isinstance(column := _column(children[0]), str):
        return IsNull(column=column)
    if operator in _JSON_OPERATORS and len(children) == 2:
        return _compared(_JSON_OPERATORS[operator], children[0], children[1])
    return Unknown()


def _compared(operator: Operator, left: Any, right: Any) -> Condition:
    column, literal = _column(left), right
    if column is None:
        column, literal, operator = _column(right), left, TURNED[operator]
    if column is None or not isinstance(literal, dict) or literal.get("op") != "literal":
        return Unknown()
    value = typed(literal.get("value"), str(literal.get("valueType")))
    return Unknown() if value is None else Compare(column=column, operator=operator, value=value)


def _column(node: Any) -> str | None:
    found = node.get("name") if isinstance(node, dict) and node.get("op") == "column" else None
    return found if isinstance(found, str) else None


def _may_be_null(bound: Bounds | None, null: bool) -> bool:
    if bound is None or bound.nulls is None:
        return True
    return bound.nulls > 0 if null else bound.rows is None or bound.nulls < bound.rows


def _may_compare(compare: Compare, bound: Bounds | None) -> bool:
    if bound is None:
        return True
    if bound.nulls is not None and bound.rows is not None and bound.nulls >= bound.rows:
        return False  # a comparison with null is never true
    low, high, value = bound.least, bound.most, compare.value
    try:
        return _overlaps(compare.operator, low, _widened(high), value)
    except TypeError:  # a text against a number, say: nothing can be told
        return True


def _overlaps(operator: Operator, low: Any, high: Any, value: Any) -> bool:
    if isinstance(value, float) or isinstance(low, float) or isinstance(high, float):
        high = None if operator in (">", ">=") else high  # NaN is above every number and in no statistic
    if operator in ("<", "<="):
        return low is None or (low < value if operator == "<" else low <= value)
    if operator in (">", ">="):
        return high is None or (high > value if operator == ">" else high >= value)
    return (low is None or low <= value) and (high is None or high >= value)


def _widened(most: Value | None) -> Value | None:
    """Return the largest value as it may truly be: writers cut long text and fractions of a millisecond."""
    if isinstance(most, datetime):
        return most + STEP_OF_TIME
    if isinstance(most, str) and len(most) >= CUT_TEXT:
        return None
    return most


def _malformed(why: str) -> BadInput:
    return BadInput(f"The predicate cannot be read: {why}.", "See `JSON predicates for Filtering` in the Delta Sharing protocol.")


def both(conditions: Sequence[Condition]) -> Condition:
    """Return the condition under which all of several hold."""
    return Both(parts=tuple(conditions))
