"""A data set, read from the folder that `data.prepare` wrote, as a measure needs it.

From `card.json` only the declared sensitive attributes are read; columns and classes come from the model's signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.core.errors import BadInput
from headwater.core.tabular import Signature
from headwater.core.yaml_file import Words
from headwater.trust.examination import Attribute, Part
from headwater.trust.measurement import Text

CARD_FILE = "card.json"
MOST_GROUPS = 50
"""More values than this without a rule are not groups of people."""
Value = int | float | str


class _Read(BaseModel):
    """A part of the card; other keys are the data room's."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Rule(_Read):
    at_most: float | None = None
    at_least: float | None = None
    equals: int | str | None = None
    within: tuple[int | str, ...] | None = Field(None, alias="in")


class _Sensitive(_Read):
    name: str
    column: str
    title: Words | None = None
    rule: _Rule | None = None
    gradable: bool = True
    reason: Words | None = None


class _Card(_Read):
    title: Words | None = None
    sensitive: tuple[_Sensitive, ...] = ()


Table = Mapping[str, Sequence[Any]]


class Dataset:
    """A data set's test part, training part (if it is there) and sensitive attributes, coded for one model."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        """Read the folder. Raises BadInput where a file, column or value does not fit the signature."""
        card = _read_card(folder)
        test = _read_table(folder / "test.parquet")
        self.title = _text(card.title) if card.title else Text(en=folder.name, zh=folder.name)
        self.test = _part(test, signature, "test.parquet")
        self.train = None
        if (folder / "train.parquet").exists():
            self.train = _part(_read_table(folder / "train.parquet"), signature, "train.parquet")
        self.attributes = tuple(_attribute(one, test) for one in card.sensitive)


def _read_card(folder: Path) -> _Card:
    try:
        return _Card.model_validate_json((folder / CARD_FILE).read_bytes())
    except FileNotFoundError as error:
        raise BadInput("The data set has no card.", "Make it with data.prepare.", where=CARD_FILE) from error
    except ValidationError as error:
        raise BadInput(f"The data set's card cannot be read: {error}.", "Make the data set again.", where=CARD_FILE) from error


def _read_table(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: Table = pq.read_table(path, use_threads=False).to_pydict()
    except FileNotFoundError as error:
        raise BadInput("The data set has no test part.", "Make it with data.prepare.", where=path.name) from error
    except pa.ArrowInvalid as error:
        raise BadInput(f"This is not a Parquet file: {error}.", "Make the data set again.", where=path.name) from error
    return table


def _part(table: Table, signature: Signature, where: str) -> Part:
    if absent := [name for name in (*signature.names, signature.target) if name not in table]:
        raise BadInput(f"The column '{absent[0]}' is missing.", "Use the data set that the model was made for.", where=where)
    targets = table[signature.target]
    if not targets:
        raise BadInput("This part has no rows.", "Give the data set a test and a training part.", where=where)
    if unknown := sorted({repr(value) for value in targets if value not in signature.classes}):
        classes = ", ".join(map(str, signature.classes))
        raise BadInput(f"'{signature.target}' holds {unknown[0]}.", f"The model knows the classes {classes}.", where=where)
    try:
        columns = [table[name] for name in signature.names]
        rows = signature.matrix([dict(zip(signature.names, values, strict=True)) for values in zip(*columns, strict=True)])
    except BadInput as error:
        raise BadInput(error.what, error.hint, where=f"{where}, {error.where}") from error
    return Part(rows=rows, labels=np.array([signature.classes.index(value) for value in targets], dtype=np.int64))


def _attribute(told: _Sensitive, table: Table) -> Attribute:
    title = _text(told.title) if told.title else Text(en=told.name, zh=told.name)
    reason = (_text(told.reason) if told.reason else _NO_REASON) if not told.gradable else None
    if told.column not in table:
        raise BadInput(f"The sensitive column '{told.column}' is not in the test part.", "Keep it with the role 'ignore'.", where=CARD_FILE)
    values = table[told.column]
    groups = _groups(told, values)
    if len(groups) > MOST_GROUPS:
        if told.gradable:
            what = f"'{told.name}' divides people into {len(groups)} groups, more than {MOST_GROUPS}."
            raise BadInput(what, "Give it a rule in the card.", where=CARD_FILE)
        return Attribute(name=told.name, title=title, groups=(), member=np.full(len(values), -1), not_gradable=reason)
    member = np.array([_place(told, groups, value) for value in values], dtype=np.int64)
    return Attribute(name=told.name, title=title, groups=tuple(groups), member=member, not_gradable=reason)


def _groups(told: _Sensitive, values: Sequence[Any]) -> list[str]:
    """Return the groups' names, in a notation that needs no language; the protected group first."""
    column, rule = told.column, told.rule
    if rule is None:
        held = {value for value in values if value is not None}
        return [f"{column} = {value}" for value in sorted(held, key=lambda one: (isinstance(one, str), one))]
    if rule.at_most is not None:
        return [f"{column} ≤ {rule.at_most:g}", f"{column} > {rule.at_most:g}"]
    if rule.at_least is not None:
        return [f"{column} ≥ {rule.at_least:g}", f"{column} < {rule.at_least:g}"]
    if rule.within is not None:
        chosen = ", ".join(map(str, rule.within))
        return [f"{column} ∈ {{{chosen}}}", f"{column} ∉ {{{chosen}}}"]
    return [f"{column} = {rule.equals}", f"{column} ≠ {rule.equals}"]


def _place(told: _Sensitive, groups: Sequence[str], value: Value | None) -> int:
    if value is None:
        return -1
    if told.rule is None:
        return groups.index(f"{told.column} = {value}")
    return 0 if _protected(told.rule, value) else 1


def _protected(rule: _Rule, value: Value) -> bool:
    if rule.at_most is not None:
        return float(value) <= rule.at_most
    if rule.at_least is not None:
        return float(value) >= rule.at_least
    return value in rule.within if rule.within is not None else value == rule.equals


_NO_REASON = Text(en="Declared as not gradable by the data's owner, without a reason.", zh="数据所有者声明不可评级，未说明原因。")


def _text(words: Words) -> Text:
    return Text(en=words.en, zh=words.zh)
