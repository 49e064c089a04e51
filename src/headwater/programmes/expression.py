"""Guards of procedures: a closed expression language, checked before it is ever evaluated.

An expression is one line of comparisons, `and`, `or`, `not`, `in`, and arithmetic over named facts,
numbers, texts and lists of them. It is read with `ast`, and every node that is not in the list below
is refused: no call, attribute, subscript, comprehension, lambda, assignment or import can be written.
A name that has no value yet is *unknown*: whatever depends on it is unknown too, never false or 0.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headwater.core.errors import BadInput

LONGEST = 500
DEEPEST = 40
LARGEST_NUMBER = 10**15

Value = bool | int | float | str | None | tuple["Value", ...]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_HINT = "Use comparisons, and, or, not, in, + - * / // %, numbers, quoted texts, lists of them, and names of facts."


class Unknown(Exception):
    """A fact that the expression needs has no value yet."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A checked expression: its text, the names it reads, and its tree."""

    text: str
    names: frozenset[str]
    tree: ast.expr


def parse(text: str) -> Expression:
    """Return the checked expression that a text states. Raises BadInput saying what it may hold."""
    if len(text) > LONGEST:
        raise _bad(text, f"is {len(text)} characters long; {LONGEST} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _bad(text, f"cannot be read ({getattr(error, 'msg', None) or type(error).__name__})") from error
    names: set[str] = set()
    _check(tree, text, names, depth=0)
    return Expression(text=text.strip(), names=frozenset(names), tree=tree)


def evaluate(expression: Expression, facts: Mapping[str, Value]) -> Value:
    """Return the value for these facts. Raises Unknown for facts without a value, BadInput where the types do not fit."""
    try:
        return _value(expression.tree, facts)
    except ZeroDivisionError as error:
        raise _bad(expression.text, "divides by zero") from error
    except (TypeError, OverflowError) as error:
        raise _bad(expression.text, f"mixes kinds of values ({error})") from error


def holds(expression: Expression, facts: Mapping[str, Value]) -> bool:
    """Tell whether a guard is true. Raises Unknown as `evaluate` does, BadInput where it is not a yes or no."""
    value = evaluate(expression, facts)
    if not isinstance(value, bool):
        raise _bad(expression.text, f"gives {value!r}, not true or false")
    return value


def _check(node: ast.expr, text: str, names: set[str], depth: int) -> None:
    if depth > DEEPEST:
        raise _bad(text, f"is nested deeper than {DEEPEST}")
    match node:
        case ast.Name():
            names.add(node.id)
        case ast.Constant():
            _check_constant(node, text)
        case ast.BoolOp() | ast.Compare() | ast.UnaryOp() | ast.BinOp() | ast.List() | ast.Tuple():
            _check_operators(node, text)
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    _check(child, text, names, depth + 1)
        case _:
            raise _bad(text, f"holds a {type(node).__name__}, which is not part of the language")


def _check_constant(node: ast.Constant, text: str) -> None:
    if node.value is not None and not isinstance(node.value, bool | int | float | str):
        raise _bad(text, f"holds the value {node.value!r}")
    if isinstance(node.value, int | float) and abs(node.value) > LARGEST_NUMBER:
        raise _bad(text, f"holds a number above {LARGEST_NUMBER:.0e}")


def _check_operators(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) not in _ARITHMETIC:
        raise _bad(text, f"uses the operator {type(node.op).__name__}")
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not | ast.USub):
        raise _bad(text, f"uses the operator {type(node.op).__name__}")
    if isinstance(node, ast.Compare):
        for op in node.ops:
            if not isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) and type(op) not in _ORDER:
                raise _bad(text, f"uses the comparison {type(op).__name__}")


def _value(node: ast.expr, facts: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant():
            return node.value  # type: ignore[return-value]  # _check_constant has narrowed it
        case ast.Name():
            return _fact(node.id, facts)
        case ast.List() | ast.Tuple():
            return tuple(_value(one, facts) for one in node.elts)
        case ast.BoolOp():
            return _bool_op(node, facts)
        case ast.UnaryOp(op=ast.Not()):
            return not _yes_no(_value(node.operand, facts))
        case ast.UnaryOp():
            return -_number(_value(node.operand, facts))
        case ast.BinOp():
            left, right = _number(_value(node.left, facts)), _number(_value(node.right, facts))
            result: Value = _ARITHMETIC[type(node.op)](left, right)
            return result
        case ast.Compare():
            return _compare(node, facts)
    raise AssertionError(type(node).__name__)


def _fact(name: str, facts: Mapping[str, Value]) -> Value:
    if facts.get(name) is None:
        raise Unknown(frozenset({name}))
    return facts[name]


def _bool_op(node: ast.BoolOp, facts: Mapping[str, Value]) -> bool:
    """Three-valued: `false and unknown` is false, `true or unknown` is true, otherwise unknown wins."""
    decisive = isinstance(node.op, ast.Or)
    unknown: frozenset[str] = frozenset()
    for one in node.values:
        try:
            if _yes_no(_value(one, facts)) is decisive:
                return decisive
        except Unknown as error:
            unknown |= error.names
    if unknown:
        raise Unknown(unknown)
    return not decisive


def _compare(node: ast.Compare, facts: Mapping[str, Value]) -> bool:
    left = _value(node.left, facts)
    for op, other in zip(node.ops, node.comparators, strict=True):
        right = _value(other, facts)
        if not _one_comparison(op, left, right):
            return False
        left = right
    return True


def _one_comparison(op: ast.cmpop, left: Value, right: Value) -> bool:
    match op:
        case ast.Eq():
            return _same(left, right)
        case ast.NotEq():
            return not _same(left, right)
        case ast.In() | ast.NotIn():
            if not isinstance(right, tuple):
                raise TypeError(f"'in' needs a list, not {right!r}")
            return any(_same(left, one) for one in right) is isinstance(op, ast.In)
    if isinstance(left, str) and isinstance(right, str):
        return _ORDER[type(op)](left, right)
    return _ORDER[type(op)](_number(left), _number(right))


def _same(left: Value, right: Value) -> bool:
    """Tell whether two values are equal; true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _number(value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _yes_no(value: Value) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value


def _bad(text: str, what: str) -> BadInput:
    return BadInput(f"The expression '{text[:80]}' {what}.", _HINT)
