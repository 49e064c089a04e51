"""The part of Solr's query language that CKAN's clients use: `field:value`, ranges, groups, AND, OR, NOT, + and -.

Pure. A query is read into a test over a document's fields; what cannot be read is refused, not guessed.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headwater.core.errors import BadInput

LONGEST = 8000
DEEPEST = 30
FIELDS = frozenset(
    {
        "author", "capacity", "dataset_type", "extras_openness", "extras_frequency", "groups", "id", "isopen", "license", "license_id",
        "metadata_created", "metadata_modified", "name", "notes", "openness", "organization", "owner_org", "permission_labels",
        "private", "res_format", "res_name", "res_url", "site_id", "state", "tags", "title", "title_string", "type", "url", "version",
    }
)  # fmt: skip
DATES = frozenset({"metadata_created", "metadata_modified"})
SORTS = frozenset({"id", "name", "title", "title_string", "metadata_created", "metadata_modified", "organization", "score", "relevance"})

Document = Mapping[str, Sequence[str]]
Test = Callable[[Document], bool]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<range>[\[{][^\]}]{0,200}[\]}])
  | (?P<text>"(?:[^"\\]|\\.)*")
  | (?P<sign>[()+:-])
  | (?P<word>(?:[^\s()"\[\]{}:\\]|\\.)+)
    )""",
    re.VERBOSE,
)
_RANGE = re.compile(r"([\[{])\s*(\S+)\s+TO\s+(\S+?)\s*([\]}])")
_NOW = re.compile(r"NOW(?:/DAY)?(?:-([0-9]{1,6})(DAY|HOUR|MINUTE|MONTH|YEAR|WEEK)S?)?(?:/DAY)?")
_LENGTHS = {
    "MINUTE": timedelta(minutes=1),
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
    "WEEK": timedelta(weeks=1),
    "MONTH": timedelta(days=30),
    "YEAR": timedelta(days=365),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query read: words for the full-text index, and the test that the fields must pass."""

    words: str
    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of a query and where it stands."""

    kind: str
    text: str
    place: int


def read(text: str, *, now: datetime, words_allowed: bool) -> Query:
    """Return the query of a `q` (words allowed) or an `fq`. Raises BadInput, naming the place."""
    if len(text) > LONGEST:
        raise BadInput(f"The query is {len(text)} characters long; {LONGEST} are read.", "Shorten it.")
    reader = _Reader(_tokens(text), now=now, words_allowed=words_allowed)
    test = reader.whole()
    return Query(words=" ".join(reader.words), test=test)


def order(text: str) -> tuple[tuple[str, bool], ...]:
    """Return the fields of a `sort` and whether each is descending. Raises BadInput for a field that cannot be sorted by."""
    found = []
    for part in (one.split() for one in text.split(",") if one.strip()):
        direction = part[1].lower() if len(part) == 2 else "asc"
        if len(part) > 2 or part[0] not in SORTS or direction not in ("asc", "desc"):
            raise BadInput(f"'{text[:100]}' is not an order.", f"Give `field asc` or `field desc`; fields: {', '.join(sorted(SORTS))}.")
        found.append((part[0], direction == "desc"))
    return tuple(found)


def _tokens(text: str) -> list[Token]:
    tokens, place, whole = [], 0, text.rstrip()
    while place < len(whole):
        found = _TOKEN.match(whole, place)
        if found is None or found.lastgroup is None:
            raise _unreadable(whole, place)
        tokens.append(Token(kind=found.lastgroup, text=found[found.lastgroup], place=found.start(found.lastgroup)))
        place = found.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens: any of > all of > one clause."""

    def __init__(self, tokens: list[Token], *, now: datetime, words_allowed: bool) -> None:
        self.tokens, self.now, self.words_allowed = tokens, now, words_allowed
        self.place, self.depth = 0, 0
        self.words: list[str] = []

    def whole(self) -> Test:
        test = self.any_of(self.clause) if self.tokens else _always
        if self.place < len(self.tokens):
            raise self.wrong()
        return test

    def peek(self) -> Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def skip(self, *texts: str) -> bool:
        token = self.peek()
        there = token is not None and token.kind in ("sign", "word") and token.text in texts
        self.place += there
        return there

    def any_of(self, one: Callable[[], Test]) -> Test:
        tests = [self.all_of(one)]
        while self.skip("OR", "||"):
            tests.append(self.all_of(one))
        return tests[0] if len(tests) == 1 else lambda document: any(test(document) for test in tests)

    def all_of(self, one: Callable[[], Test]) -> Test:
        tests = [one()]
        while (token := self.peek()) is not None and token.text not in (")", "OR", "||"):
            self.skip("AND", "&&")
            tests.append(one())
        return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)

    def clause(self) -> Test:
        if self.skip("-", "NOT", "!"):
            denied = self.part()
            return lambda document: not denied(document)
        self.skip("+")
        return self.part()

    def part(self) -> Test:
        return self.group(self.clause) if self.at_group() else self.fielded()

    def at_group(self) -> bool:
        token = self.peek()
        return token is not None and token.kind == "sign" and token.text == "("

    def group(self, one: Callable[[], Test]) -> Test:
        self.depth += 1
        if self.depth > DEEPEST or not self.skip("("):
            raise self.wrong()
        test = self.any_of(one)
        if not self.skip(")"):
            raise self.wrong()
        self.depth -= 1
        return test

    def fielded(self) -> Test:
        token = self.take("word", "text")
        if not self.skip(":"):
            return self.word(token)
        name = _plain(token)
        if name == "*":
            self.take("word")
            return _always
        if name not in FIELDS:
            raise BadInput(f"There is no field '{name[:60]}' to search in.", f"Fields: {', '.join(sorted(FIELDS))}.")
        return self.values(name)

    def values(self, name: str) -> Test:
        if self.at_group():
            return self.group(lambda: self.values(name))
        if self.skip("-", "NOT"):
            denied = self.values(name)
            return lambda document: not denied(document)
        token = self.take("word", "text", "range")
        return self.between(name, token) if token.kind == "range" else _matches(name, token)

    def word(self, token: Token) -> Test:
        if not self.words_allowed or self.depth:
            raise BadInput(f"'{token.text[:60]}' names no field.", "Write field:value, such as organization:city or tags:weather.")
        self.words.append(_plain(token))
        return _always

    def take(self, *kinds: str) -> Token:
        token = self.peek()
        if token is None or token.kind not in kinds:
            raise self.wrong()
        self.place += 1
        return token

    def between(self, name: str, token: Token) -> Test:
        found = _RANGE.fullmatch(token.text)
        if found is None:
            raise self.wrong()
        low, high = (None if found[part] == "*" else self.bound(name, found[part]) for part in (2, 3))
        open_low, open_high = found[1] == "{", found[4] == "}"

        def test(document: Document) -> bool:
            return any(_within(_comparable(name, value), low, high, open_low, open_high) for value in document.get(name, ()))

        return test

    def bound(self, name: str, text: str) -> str:
        text = text.strip('"')
        if name not in DATES:
            return text
        relative = _NOW.fullmatch(text)
        if relative is not None:
            back = int(relative[1]) * _LENGTHS[relative[2]] if relative[1] else timedelta()
            return _moment(self.now - back)
        return _comparable(name, text)

    def wrong(self) -> BadInput:
        token = self.peek()
        return _unreadable(" ".join(one.text for one in self.tokens), token.place if token else -1)


def _always(_: Document) -> bool:
    return True


def _matches(name: str, token: Token) -> Test:
    wanted = _plain(token)
    if token.kind == "word" and ("*" in wanted or "?" in wanted):
        pattern = re.compile(fnmatch.translate(wanted), re.IGNORECASE)  # it backtracks into no star
        return lambda document: any(pattern.match(value) for value in document.get(name, ()))
    folded = wanted.casefold()
    if name in ("title", "notes", "author"):
        return lambda document: any(folded in value.casefold() for value in document.get(name, ()))
    return lambda document: any(folded == value.casefold() for value in document.get(name, ()))


def _plain(token: Token) -> str:
    text = token.text[1:-1] if token.kind == "text" else token.text
    return re.sub(r"\\(.)", r"\1", text)


def _within(value: str, low: str | None, high: str | None, open_low: bool, open_high: bool) -> bool:
    above = low is None or (value > low if open_low else value >= low)
    below = high is None or (value < high if open_high else value <= high)
    return above and below


def _comparable(name: str, text: str) -> str:
    if name not in DATES:
        return text
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"'{text[:60]}' is not a time.", "Write it as 2026-01-31T00:00:00Z, NOW-7DAYS or *.") from error
    return _moment(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _unreadable(text: str, place: int) -> BadInput:
    near = text[max(place, 0) : max(place, 0) + 30] if place >= 0 else "the end"
    return BadInput(f"The query cannot be read near '{near}'.", "Write field:value, field:[a TO b], joined by AND, OR, NOT.")
