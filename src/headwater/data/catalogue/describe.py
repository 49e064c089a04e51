"""What a person writes about a data set: a YAML file (`docs/data.md`), checked whole, every problem with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from headwater.core.errors import BadFile, BadInput, Problem
from headwater.core.yaml_file import Part, Words, parse, validated
from headwater.data.card import Card
from headwater.data.card import Column as CardColumn
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import Openness, Rhythm
from headwater.data.catalogue.vocabulary import Vocabulary

KIND = "data set's description"
NAME = r"^[a-z0-9][a-z0-9-]{0,98}[a-z0-9]$"
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


class ColumnRule(Part):
    """A column: what it holds, and what its cells must keep to. Rules make the score `validity`."""

    name: str = Field(min_length=1, max_length=200)
    type: sets.ColumnType
    about: Words | None = None
    unit: str = Field("", max_length=40)
    required: bool = Field(False, description="Whether every row must have a value.")
    values: tuple[str, ...] = Field((), max_length=1000, description="The only values allowed, as text.")
    minimum: float | None = None
    maximum: float | None = None
    pattern: str = Field("", max_length=300, description="A regular expression that each whole value must fit.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, given: str) -> str:
        import polars as pl

        try:
            pl.select(pl.lit("").str.contains(given))
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"this is not a regular expression: {error}") from error
        return given

    @property
    def ruled(self) -> bool:
        """Whether the column says anything that a cell could break."""
        return self.required or bool(self.values or self.pattern) or self.minimum is not None or self.maximum is not None

    def column(self) -> sets.Column:
        """Return the column as the catalogue shows it."""
        return sets.Column(name=self.name, type=self.type, about=self.about.model_dump() if self.about else {}, unit=self.unit)


class Description(Part):
    """A data set as its owner describes it."""

    schema_: Literal["headwater.data-set/1"] = Field("headwater.data-set/1", alias="schema")
    name: str = Field(pattern=NAME, description="The name in addresses.")
    title: Words
    about: Words
    licence: str = Field(min_length=1, max_length=64, description="A licence of the vocabulary, by SPDX identifier where it has one.")
    zone: str | None = Field(None, max_length=64)
    openness: Openness = "open"
    rhythm: Rhythm = "irregular"
    keywords: tuple[str, ...] = Field((), max_length=50)
    contact: str = Field("", max_length=300)
    spatial: str | None = Field(None, max_length=64, description="The place that it is about (ISO 3166-2).")
    temporal: tuple[str, str | None] | None = Field(None, description="First and last day that it speaks of.")
    table: str | None = Field(None, max_length=300, description="Patterns of the files of the table, such as `data/*.csv`; or `none`.")
    columns: tuple[ColumnRule, ...] = Field((), max_length=5000)

    @field_validator("keywords")
    @classmethod
    def _words(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if any(not 0 < len(word.strip()) <= 60 for word in given):
            raise ValueError("a keyword has 1 to 60 characters")
        return tuple(dict.fromkeys(word.strip() for word in given))

    @field_validator("temporal", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """Take what YAML makes of a bare day."""
        return [one.isoformat() if isinstance(one, date) else one for one in given] if isinstance(given, list) else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for day in self.temporal or ():
            if day is not None and not _is_day(day):
                raise ValueError(f"'{day[:40]}' is not a day such as 2026-03-09")
        if self.temporal and self.temporal[1] is not None and self.temporal[1] < self.temporal[0]:
            raise ValueError(f"the last day, {self.temporal[1]}, is before the first, {self.temporal[0]}")
        names = Counter(column.name for column in self.columns)
        if twice := [name for name, times in names.items() if times > 1]:
            raise ValueError(f"the column '{twice[0]}' is described {names[twice[0]]} times")
        return self

    def check_words(self, vocabulary: Vocabulary) -> None:
        """Raise BadInput unless zone and licence are known and the licence fits the openness."""
        licence = vocabulary.licence(self.licence)
        if self.zone is not None:
            vocabulary.zone(self.zone)
        if self.openness == "open" and not licence.open:
            raise BadInput(f"'{self.name}' is to be open, and the licence {licence.id} is not an open one.", "Change one of the two.")


def read(data: bytes, where: str = "description") -> Description:
    """Return the description in a YAML file's bytes. Raises BadFile with every problem and its line."""
    return validated(Description, parse(data, where, KIND), where, KIND)


def from_json(told: Any, where: str = "description") -> Description:
    """Return the description that JSON values hold. Raises BadFile with every problem."""
    try:
        return Description.model_validate(told)
    except ValidationError as error:
        found = [Problem(where=f"{where}, {'.'.join(map(str, one['loc']))}", what=one["msg"]) for one in error.errors()]
        raise BadFile(found, KIND) from error


def from_card(card: Card, **more: Any) -> Description:
    """Return the description that a table's card gives; `more` names the catalogue's own fields (zone, openness, …)."""
    told: dict[str, Any] = {
        "name": card.name,
        "title": card.title.model_dump(),
        "about": card.description.model_dump(),
        "licence": card.licence,
        "columns": [*(_from_card(column) for column in card.columns), ROW_COLUMN],
    }
    return from_json(told | {key: value for key, value in more.items() if value is not None})


ROW_COLUMN = {
    "name": "_row",
    "type": "integer",
    "about": {"zh": "源表中的行号，从 0 开始。", "en": "The row's number in the source table, counted from 0."},
    "required": True,
}


def _from_card(column: CardColumn) -> dict[str, Any]:
    words = column.description or column.title
    told: dict[str, Any] = {"name": column.name, "type": column.type, "unit": column.unit, "required": not column.missing}
    if column.type == "category" and isinstance(column.allowed[0], int):
        told["type"] = "integer"
    told |= {"values": tuple(str(one) for one in column.allowed), "minimum": column.minimum, "maximum": column.maximum}
    return told | ({"about": words.model_dump()} if words else {})


def _is_day(text: str) -> bool:
    try:
        return bool(re.match(DAY, text)) and date.fromisoformat(text) is not None
    except ValueError:
        return False


def problems_of_columns(described: Sequence[ColumnRule], names: tuple[str, ...]) -> Iterator[str]:
    """Yield how the described columns differ from those of the table."""
    known = [column.name for column in described]
    if absent := [name for name in known if name not in names]:
        yield f"described and not in the table: {', '.join(absent[:10])}"
    if unknown := [name for name in names if name not in known]:
        yield f"in the table and not described: {', '.join(unknown[:10])}"
