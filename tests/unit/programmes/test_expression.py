"""Guards: what may be written, what it gives, and what is unknown."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.programmes.expression import Unknown, Value, evaluate, holds, parse

FACTS: dict[str, Value] = {"grade": "B", "missing": 0, "votes": 5, "present": 7, "agreed": True, "day": "2026-03-09", "empty": None}

HOSTILE = [
    "__import__('os').system('true')",
    "open('/etc/passwd')",
    "grade.upper()",
    "grade.__class__",
    "grade[0]",
    "[x for x in (1, 2)]",
    "{x for x in (1,)}",
    "(lambda: 1)()",
    "(a := 1)",
    "1 if agreed else 2",
    "f'{grade}'",
    "2 ** 99999999",
    "1 << 99",
    "votes is 5",
    "~votes",
    "+votes",
    "{'a': 1}",
    "await votes",
    "yield votes",
    "*votes",
    "b'bytes'",
    "1j",
    "...",
    "votes; present",
    "import os",
    "not " * 200 + "agreed",
    "-" * 400 + "1",
    "(" * 300 + "1" + ")" * 300,
    "9" * 400,
    "",
    "a" * 501,
    "'\x00'",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_in_the_language_is_refused_when_it_is_read(text: str) -> None:
    with pytest.raises(BadInput):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("missing == 0", True),
        ("votes * 3 >= present * 2", True),
        ("votes / present >= 2 / 3", True),
        ("grade in ['A', 'B']", True),
        ("grade not in ['A', 'B']", False),
        ("2 <= votes < 5", False),
        ("not (votes > 5 or missing > 0)", True),
        ("day >= '2026-03-01'", True),
        ("votes // 2 + votes % 2 == 3", True),
        ("-votes < 0", True),
        ("agreed == True", True),
        ("agreed == 1", False),
        ("missing == False", False),
    ],
)
def test_an_expression_gives_what_it_says(text: str, value: bool) -> None:
    assert holds(parse(text), FACTS) is value


@pytest.mark.parametrize(
    "text", ["votes / missing > 1", "grade > 3", "votes and agreed", "votes in 3", "agreed + 1 > 1", "-grade == 1", "votes"]
)
def test_values_that_do_not_fit_are_an_error_and_never_a_yes(text: str) -> None:
    with pytest.raises(BadInput):
        holds(parse(text), FACTS)


def test_what_depends_on_an_unknown_fact_is_unknown() -> None:
    with pytest.raises(Unknown) as found:
        holds(parse("empty > 3 and other == 1"), FACTS)
    assert found.value.names == {"empty", "other"}


def test_a_fact_that_cannot_change_the_answer_may_be_unknown() -> None:
    assert holds(parse("missing > 0 and empty > 3"), FACTS) is False
    assert holds(parse("empty > 3 or missing == 0"), FACTS) is True


def test_an_expression_names_the_facts_that_it_reads() -> None:
    assert parse("votes > present or 'x' == grade").names == {"votes", "present", "grade"}


ALLOWED = (
    ast.Name,
    ast.Constant,
    ast.BoolOp,
    ast.Compare,
    ast.UnaryOp,
    ast.BinOp,
    ast.List,
    ast.Tuple,
    ast.And,
    ast.Or,
    ast.Not,
    ast.USub,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.In,
    ast.NotIn,
    ast.Load,
)

PIECES = [
    "votes",
    "grade",
    "1",
    "'B'",
    "(",
    ")",
    "[",
    "]",
    ".",
    ",",
    "+",
    "-",
    "*",
    "**",
    "/",
    "<",
    "==",
    " and ",
    " or ",
    " not ",
    " in ",
    "lambda",
    ":",
    "for",
    "()",
    "=",
    "{",
    "}",
    "@",
    "|",
    "import ",
    "if ",
    "else ",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_whatever_is_accepted_holds_nothing_but_the_listed_parts(text: str) -> None:
    try:
        expression = parse(text)
    except BadInput:
        return
    assert all(isinstance(node, ALLOWED) for node in ast.walk(expression.tree))


@given(st.text(max_size=60))
def test_any_text_is_either_refused_or_evaluated_without_surprise(text: str) -> None:
    try:
        evaluate(parse(text), FACTS)
    except (BadInput, Unknown):
        pass


leaves = st.sampled_from(["votes > 3", "missing == 0", "agreed", "votes < present", "grade == 'A'"])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})")
        | inner.map(lambda t: f"(not {t})")
    ),
    max_leaves=6,
)


@given(trees)
def test_boolean_expressions_agree_with_python(text: str) -> None:
    plain = {name: value for name, value in FACTS.items() if value is not None}
    assert holds(parse(text), FACTS) is eval(text, {"__builtins__": {}}, plain)
