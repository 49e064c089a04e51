"""The card of a table: what it is, whose it is, and what each column may hold.

A card is a YAML file that a person writes (`docs/recipes/card.md`); `card.json` in a data set is the
same content, checked. A card that is wrong is refused with all its problems at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, StrictInt, StrictStr, ValidationError, field_validator, model_validator

from headwater.core.errors import BadFile, BadInput, Problem
from headwater.core.tabular import Column as SignatureColumn
from headwater.core.tabular import Signature
from headwater.core.yaml_file import Part, Words, parse
from headwater.core.yaml_lines import Located, Path

SCHEMA = "headwater.card/1"
ROW = "_row"
KIND = "card"


class Value(Part):
    """One allowed value of a category, and what it stands for."""

    value: StrictInt | StrictStr
    zh: str = ""
    en: str = ""


class Creator(Part):
    """Who made the table."""

    name: str = Field(min_length=1)
    organisation: bool = False
    url: str = ""


class Column(Part):
    """One column of the table."""

    name: str = Field(min_length=1, max_length=200)
    type: Literal["integer", "number", "category", "text"]
    role: Literal["feature", "target", "ignore"] = Field("feature", description="`ignore`: kept in the data set, not given to a model.")
    title: Words | None = None
    description: Words | None = None
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    values: tuple[Value, ...] = Field((), description="Allowed values of a category: a list, or a mapping of value to {zh, en}.")
    missing: bool = Field(False, description="Whether a cell may be empty.")
    immutable: bool = Field(False, description="The person concerned cannot change it.")

    @field_validator("values", mode="before")
    @classmethod
    def _spell_out(cls, given: Any) -> Any:
        """Turn `[a, b]` and `{a: {zh, en}}` into the full form. A Boolean is refused: YAML makes one of a bare yes or no."""
        if not isinstance(given, dict | list | tuple):
            return given
        pairs = list(given.items()) if isinstance(given, dict) else [(one, {}) for one in given]
        if any(isinstance(value, bool) for value, _ in pairs):
            raise ValueError("YAML reads a bare yes, no, on or off as true or false: put it in quotes")
        return [value if isinstance(value, dict | Value) else {"value": value, **(words or {})} for value, words in pairs]

    @property
    def allowed(self) -> tuple[int | str, ...]:
        """The values of a category, in the card's order."""
        return tuple(one.value for one in self.values)

    def label(self, value: int | str, language: Literal["zh", "en"]) -> str:
        """Return what a value stands for, or the value itself where the card does not say."""
        return next((getattr(one, language) or str(value) for one in self.values if one.value == value), str(value))


class Rule(Part):
    """Which rows belong to the protected group; exactly one of the four."""

    at_most: float | None = None
    at_least: float | None = None
    equals: StrictInt | StrictStr | None = None
    within: tuple[StrictInt | StrictStr, ...] | None = Field(None, alias="in")

    @model_validator(mode="after")
    def _one(self) -> Rule:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of at_most, at_least, equals, in")
        return self


class Sensitive(Part):
    """A sensitive attribute: a group of people who must not be treated worse.

    Without a rule, each value of the column is a group of its own. `gradable: false` says that no
    grade can be drawn from this table, and `reason` says why.
    """

    name: str = Field(min_length=1)
    column: str
    title: Words | None = None
    rule: Rule | None = None
    gradable: bool = True
    reason: Words | None = None


class Card(Part):
    """A table's card; see the module's docstring."""

    schema_: Literal["headwater.card/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")
    version: str = Field("1.0.0", pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")
    title: Words
    description: Words
    licence: str = Field(min_length=1, description="SPDX identifier, such as CC-BY-4.0.")
    licence_url: str = Field("", pattern=r"^(https?://\S+)?$")
    citation: str = ""
    source: str = Field(pattern=r"^https?://\S+$", description="Where the table comes from.")
    published: str | None = Field(None, pattern=r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$", description="Year, month or day.")
    creators: tuple[Creator, ...] = Field(min_length=1)
    missing_values: tuple[str, ...] = Field(("",), description="Texts that stand for a missing value.")
    columns: tuple[Column, ...] = Field(min_length=2)
    positive: StrictInt | StrictStr = Field(description="The label of the target whose probability a model gives as its score.")
    sensitive: tuple[Sensitive, ...] = ()

    @field_validator("published", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """Take what YAML makes of a bare year or day."""
        return str(given) if isinstance(given, int | date) and not isinstance(given, bool) else given

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    @property
    def target(self) -> Column:
        """The column that a model learns to tell."""
        return next(column for column in self.columns if column.role == "target")

    def signature(self) -> Signature:
        """Return what a model of this table takes and gives back."""
        return Signature(
            columns=tuple(_signature_column(column) for column in self.columns if column.role == "feature"),
            target=self.target.name,
            classes=self.target.allowed,
            positive=self.positive,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the card as plain JSON; what is not given is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _signature_column(column: Column) -> SignatureColumn:
    if column.type == "text":
        raise BadInput(f"The text column '{column.name}' cannot be a feature.", "Give it the role 'ignore'.")
    return SignatureColumn(
        name=column.name,
        type=column.type,
        minimum=column.minimum,
        maximum=column.maximum,
        values=column.allowed,
        immutable=column.immutable,
        description=column.description.en if column.description else "",
    )


def read_card(data: bytes, file: str = "card") -> Card:
    """Return the card in a YAML file's bytes. Raises BadFile with every problem, each with its line and key path."""
    located = parse(data, file, KIND)
    try:
        card = Card.model_validate(located.value)
    except ValidationError as error:
        raise BadFile(tuple(_from_pydantic(error, located, file)), KIND) from error
    if problems := tuple(Problem(where=_where(located, path, file), what=what, hint=hint) for path, what, hint in _contradictions(card)):
        raise BadFile(problems, KIND)
    return card


def _from_pydantic(error: ValidationError, located: Located, file: str) -> Iterator[Problem]:
    """Yield one problem per place; a union reports each of its members, which are joined."""
    by_place: dict[Path, list[str]] = {}
    for one in error.errors():
        path = _as_written(tuple(part for part in one["loc"] if part not in ("int", "str")), located)
        by_place.setdefault(path, []).append(one["msg"].removeprefix("Value error, "))
    for path, messages in by_place.items():
        yield Problem(where=_where(located, path, file), what=" or ".join(dict.fromkeys(messages)) + ".")


def _as_written(path: Path, located: Located) -> Path:
    """Return the path as it stands in the file, where a category's values may be a mapping rather than a list."""
    found: Any = located.value
    written: list[str | int] = []
    for part in path:
        if isinstance(found, dict) and written and written[-1] == "values" and isinstance(part, int):
            part = list(found)[part]
        written.append(part)
        known = part in found if isinstance(found, dict) else isinstance(found, list) and isinstance(part, int) and part < len(found)
        found = found[part] if known else None
    return tuple(written)


def _where(located: Located, path: Path, file: str) -> str:
    """Return `file:line columns[3].minimum`."""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return f"{file}:{located.line(path)} {dotted}".strip()


Finding = tuple[Path, str, str]


def _contradictions(card: Card) -> Iterator[Finding]:
    """Yield what single fields cannot show: path, what is wrong, what to do."""
    names = Counter(column.name for column in card.columns)
    for place, column in enumerate(card.columns):
        path: Path = ("columns", place)
        if names[column.name] > 1:
            yield (*path, "name"), f"The column '{column.name}' is described {names[column.name]} times.", "Keep one."
        if column.name == ROW:
            yield (*path, "name"), f"'{ROW}' is the name under which Headwater keeps the row number.", "Rename the column."
        yield from (((*path, *rest), what, hint) for rest, what, hint in _of_column(column))
    yield from _of_target(card)
    for place, sensitive in enumerate(card.sensitive):
        yield from ((("sensitive", place, *rest), what, hint) for rest, what, hint in _of_sensitive(sensitive, card))
    attributes = Counter(one.name for one in card.sensitive)
    for name in (name for name, times in attributes.items() if times > 1):
        yield ("sensitive",), f"The sensitive attribute '{name}' is declared {attributes[name]} times.", "Keep one."


def _of_column(column: Column) -> Iterator[Finding]:
    bounds = [bound for bound in (column.minimum, column.maximum) if bound is not None]
    if column.type == "category":
        kinds = {type(value) for value in column.allowed}
        if len(column.values) < 2:
            yield ("values",), f"The category '{column.name}' needs at least two values, it has {len(column.values)}.", "List them."
        if len(kinds) > 1:
            yield ("values",), f"The values of '{column.name}' mix numbers and texts.", "Quote all of them, or none."
        if len(set(column.allowed)) < len(column.allowed):
            yield ("values",), f"A value of '{column.name}' stands twice.", "Keep one."
    elif column.values:
        yield ("values",), f"'{column.name}' is {column.type} and cannot list values.", "Use the type 'category', or drop them."
    if bounds and column.type not in ("integer", "number"):
        yield (), f"'{column.name}' is {column.type} and cannot have a minimum or maximum.", "Drop them."
    if any(not math.isfinite(bound) for bound in bounds) or (len(bounds) == 2 and bounds[0] > bounds[1]):
        yield ("minimum",), f"The range of '{column.name}', {column.minimum} to {column.maximum}, holds nothing.", "Swap or correct it."
    if column.type == "text" and column.role == "feature":
        yield ("role",), f"The text column '{column.name}' cannot be a feature.", "Give it the role 'ignore', or describe it as a category."


def _of_target(card: Card) -> Iterator[Finding]:
    targets = [(place, column) for place, column in enumerate(card.columns) if column.role == "target"]
    if len(targets) != 1:
        names = ", ".join(column.name for _, column in targets) or "none"
        yield ("columns",), f"One column must have the role 'target'; there are {len(targets)} ({names}).", "Mark exactly one."
        return
    place, target = targets[0]
    if target.type != "category":
        yield ("columns", place, "type"), f"The target '{target.name}' is {target.type}.", "Only categories can be targets."
    elif card.positive not in target.allowed:
        yield ("positive",), f"{card.positive!r} is not a value of the target '{target.name}'.", f"Values: {target.allowed}."
    if target.missing:
        yield ("columns", place, "missing"), f"The target '{target.name}' may not be missing.", "Rows without it cannot be learnt from."
    if not any(column.role == "feature" for column in card.columns):
        yield ("columns",), "No column has the role 'feature'.", "A model needs at least one."


def _of_sensitive(sensitive: Sensitive, card: Card) -> Iterator[Finding]:
    column = card.by_name.get(sensitive.column)
    if column is None:
        yield ("column",), f"There is no column '{sensitive.column}'.", f"Columns: {', '.join(card.by_name)}."
        return
    if not sensitive.gradable and sensitive.reason is None:
        yield ("gradable",), f"'{sensitive.name}' is not gradable, and no reason is given.", "Add 'reason:' with zh and en."
    rule = sensitive.rule
    if rule is None:
        if sensitive.gradable and column.type != "category":
            yield ("rule",), f"'{sensitive.name}' needs a rule: '{column.name}' is {column.type}.", "Use at_most or at_least."
        return
    if (rule.at_most is not None or rule.at_least is not None) and column.type not in ("integer", "number"):
        yield ("rule",), f"at_most and at_least need numbers; '{column.name}' is {column.type}.", "Use equals or in."
    chosen = ((rule.equals,) if rule.equals is not None else ()) + (rule.within or ())
    if column.type == "category" and (unknown := [value for value in chosen if value not in column.allowed]):
        yield ("rule",), f"{unknown[0]!r} is not a value of '{column.name}'.", f"Values: {column.allowed}."
