"""Reads the SQL conditions that Delta Sharing readers send as hints: comparisons joined by AND, OR, NOT.

Pure. A condition outside this small language is a hint not taken: `Unknown`, never an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.data.protocols.delta.predicates import (
    DEEPEST,
    TURNED,
    Both,
    Compare,
    Condition,
    Either,
    IsNull,
    Operator,
    Unknown,
    Value,
    denied,
    typed,
)

TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?)
  | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<quoted>`(?:[^`]|``)+`)
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<sign><=>|<=|>=|!=|<>|==|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
LARGEST = 10_000
"""Characters of one hint that are read."""


class NotTaken(Exception):
    """The hint is outside the language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of a condition."""

    kind: str
    text: str


def from_sql(text: str, types: dict[str, str]) -> Condition:
    """Return the condition of one hint, given the columns' Delta types; Unknown where it is not understood."""
    try:
        reader = _Reader(_tokens(text), types)
        found = reader.either(0)
        reader.end()
    except NotTaken:
        return Unknown()
    return found


def _tokens(text: str) -> list[Token]:
    if len(text) > LARGEST:
        raise NotTaken
    tokens, place = [], 0
    stripped = text.rstrip()
    while place < len(stripped):
        found = TOKEN.match(stripped, place)
        if found is None or found.lastgroup is None:
            raise NotTaken
        tokens.append(Token(kind=found.lastgroup, text=found[found.lastgroup]))
        place = found.end()
    return tokens


class _Reader:
    """Recursive descent: either > both > not > one comparison."""

    def __init__(self, tokens: list[Token], types: dict[str, str]) -> None:
        self.tokens, self.types, self.place = tokens, types, 0

    def peek(self, *words: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place].text.upper() in words

    def take(self) -> Token:
        if self.place >= len(self.tokens):
            raise NotTaken
        self.place += 1
        return self.tokens[self.place - 1]

    def skip(self, *words: str) -> bool:
        there = self.peek(*words)
        self.place += there
        return there

    def end(self) -> None:
        if self.place < len(self.tokens):
            raise NotTaken

    def either(self, depth: int) -> Condition:
        parts = [self.both(depth)]
        while self.skip("OR"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Either(parts=tuple(parts))

    def both(self, depth: int) -> Condition:
        parts = [self.one(depth)]
        while self.skip("AND"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else Both(parts=tuple(parts))

    def one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise NotTaken
        if self.skip("NOT"):
            return denied(self.one(depth + 1))
        if self.skip("("):
            inner = self.either(depth + 1)
            if not self.skip(")"):
                raise NotTaken
            return inner
        return self.comparison()

    def comparison(self) -> Condition:
        left = self.take()
        if left.kind not in ("word", "quoted"):
            operator = self.operator()
            return self.compare(self.take(), TURNED[operator], left)
        if self.skip("IS"):
            null = not self.skip("NOT")
            if not self.skip("NULL"):
                raise NotTaken
            return IsNull(column=_name(left), null=null)
        if self.skip("IN"):
            return self.among(left)
        return self.compare(left, self.operator(), self.take())

    def operator(self) -> Operator:
        found = self.take().text
        known: dict[str, Operator] = {"=": "=", "==": "=", "<=>": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
        if found not in known:
            raise NotTaken
        return known[found]

    def among(self, column: Token) -> Condition:
        if not self.skip("("):
            raise NotTaken
        parts = [self.compare(column, "=", self.take())]
        while self.skip(","):
            parts.append(self.compare(column, "=", self.take()))
        if not self.skip(")"):
            raise NotTaken
        return Either(parts=tuple(parts))

    def compare(self, column: Token, operator: Operator, literal: Token) -> Condition:
        if column.kind not in ("word", "quoted"):
            raise NotTaken
        name = _name(column)
        value = self.value(literal, self.types.get(name, ""))
        return Unknown() if value is None else Compare(column=name, operator=operator, value=value)

    def value(self, literal: Token, kind: str) -> Value | None:
        if literal.kind == "number":
            return typed(literal.text, kind if kind in ("byte", "short", "integer", "long", "float", "double") else "")
        if literal.kind == "text":
            quote = literal.text[0]
            return typed(literal.text[1:-1].replace(quote * 2, quote), kind)
        if literal.kind == "word" and literal.text.lower() in ("true", "false"):
            return typed(literal.text, kind)
        raise NotTaken


def _name(token: Token) -> str:
    return token.text[1:-1].replace("``", "`") if token.kind == "quoted" else token.text
