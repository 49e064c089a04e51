"""What a protected table declares of itself: its columns with their public bounds, and the rules for asking it.

Bounds and categories are declared, never read from the data: an answer's noise depends on them, and what
depends on the data would give it away.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator
from sqlalchemy import Connection, insert, select
from sqlalchemy.engine import Row

from headwater.core import ledger
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.identity import covers
from headwater.core.platform import Platform
from headwater.core.store import Store, is_tree
from headwater.core.yaml_file import Part
from headwater.data.privacy.protected.tables import budgets, protected
from headwater.data.table import PARQUET_MAGIC, decode, parse_csv

if TYPE_CHECKING:
    import polars as pl

LARGEST_TABLE = 1 << 30
WHOLE = "*"
"""The grantee under which a table's budget as a whole stands."""


EXAMPLE: dict[str, JsonValue] = {
    "artifact": "sha256:" + "0" * 64,
    "columns": [{"name": "age", "kind": "number", "minimum": 0, "maximum": 120}, {"name": "sex", "kind": "category", "values": ["F", "M"]}],
}


class Column(Part):
    """A column that may be asked about: numbers with public bounds, or texts with their public values."""

    name: str = Field(min_length=1, max_length=200)
    kind: Literal["number", "category"]
    minimum: float | None = Field(None, allow_inf_nan=False)
    maximum: float | None = Field(None, allow_inf_nan=False)
    values: tuple[str, ...] = Field((), max_length=1000)

    @model_validator(mode="after")
    def _bounded(self) -> Column:
        if self.kind == "number" and (self.minimum is None or self.maximum is None or self.minimum >= self.maximum or self.values):
            raise ValueError(f"the number '{self.name}' needs a minimum below its maximum, and no values")
        if self.kind == "category" and (len(set(self.values)) < 1 or len(set(self.values)) < len(self.values) or self.minimum is not None):
            raise ValueError(f"the category '{self.name}' needs distinct values, and no bounds")
        return self


class Declared(Part):
    """The whole declaration of a protected table."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    artifact: str = Field(pattern=r"^sha256:[0-9a-f]{64}/?$", description="The rows: a Parquet or CSV file, or a tree that holds it.")
    file: str = Field("", max_length=400, description="The file within a tree.")
    title: str = Field("", max_length=400)
    columns: tuple[Column, ...] = Field(min_length=1, max_length=200)
    rows_per_person: int = Field(1, ge=1, le=1000, description="Most rows that belong to one person; the noise grows with it.")
    minimum_cell: int = Field(10, ge=3, le=100_000, description="Aggregates over fewer rows are not given.")
    dominance: float = Field(0.75, gt=0, le=1, description="A sum is not given where one row makes up more than this share of it.")
    epsilon: float = Field(10.0, gt=0, le=1000, allow_inf_nan=False, description="What all grantees together may spend.")

    @field_validator("columns")
    @classmethod
    def _distinct(cls, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        if len({one.name for one in columns}) < len(columns):
            raise ValueError("a column is declared twice")
        return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """A protected table."""

    name: str
    organisation: str
    declared: Declared
    rows: int
    created_by: str
    created_at: datetime

    def column(self, name: str, kind: str | None = None) -> Column:
        """Return a declared column. Raises BadInput for one that is not declared, or of another kind."""
        for one in self.declared.columns:
            if one.name == name and kind in (None, one.kind):
                return one
        known = ", ".join(f"{one.name} ({one.kind})" for one in self.declared.columns)
        raise BadInput(f"There is no {kind or 'column'} '{name}' that may be asked about.", f"Columns: {known}.")


def register(platform: Platform, name: str, organisation: str, declared: Declared, *, actor: str) -> Protected:
    """Put a table under protection. Raises BadInput where its rows do not fit the declaration, Conflict where the name is taken."""
    rows = read(platform.store, declared).height
    at = platform.clock.now()
    made = Protected(name=name, organisation=organisation, declared=declared, rows=rows, created_by=actor, created_at=at)

    def work(connection: Connection) -> None:
        if connection.execute(select(protected.c.name).where(protected.c.name == name)).one_or_none() is not None:
            raise Conflict(
                f"There is a protected table '{name}' already.", "A table's rules do not change: register it under another name."
            )
        told = declared.model_dump(mode="json")
        connection.execute(
            insert(protected).values(name=name, organisation=organisation, declared=told, rows=rows, created_by=actor, created_at=at)
        )
        connection.execute(
            insert(budgets).values(
                table=name,
                grantee=WHOLE,
                total_micro=round(declared.epsilon * 1e6),
                spent_micro=0,
                most_questions=0,
                questions=0,
                changed_at=at,
            )
        )
        ledger.append(
            connection, "privacy.registered", subject=name, actor=actor, at=at, body={"organisation": organisation, "declared": told}
        )

    platform.db.write(work)
    return made


def get(connection: Connection, name: str) -> Protected:
    """Return a protected table. Raises NotFound."""
    row = connection.execute(select(protected).where(protected.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no protected table '{name}'.", "headwater data protected list")
    return _table(row)


def listed(connection: Connection, *, scopes: Iterable[str], grantee: str | None) -> list[Protected]:
    """Return the tables of some organisations and those that a grantee has a budget for, by name."""
    granted = set(connection.execute(select(budgets.c.table).where(budgets.c.grantee == grantee)).scalars())
    within = list(scopes)
    rows = connection.execute(select(protected).order_by(protected.c.name))
    return [_table(row) for row in rows if row.name in granted or any(covers(scope, row.organisation) for scope in within)]


def read(store: Store, declared: Declared) -> pl.DataFrame:
    """Return the declared columns of a table, numbers as Float64 and categories as text. Raises BadInput naming row and column."""
    import polars as pl

    where = declared.file or declared.artifact
    if is_tree(declared.artifact) != bool(declared.file):
        raise BadInput("A tree needs the name of a file in it, and a file none.", "Give 'file' with a tree only.", where=where)
    data = store.read(declared.artifact, declared.file, limit=LARGEST_TABLE)
    if data[:4] == PARQUET_MAGIC:
        try:
            frame = pl.read_parquet(io.BytesIO(data))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise BadInput(f"The Parquet file cannot be read: {error}.", "Store it again.", where=where) from error
    else:
        text, encoding = decode(data, where)
        raw = parse_csv(text, where=where, encoding=encoding)
        if raw.ragged:
            raise BadInput(f"A row has {raw.ragged[0].reason}.", "Correct it.", where=f"{where}:{raw.ragged[0].line}")
        frame = pl.DataFrame(list(raw.records), schema=dict.fromkeys(raw.names, pl.String), orient="row")
    return pl.DataFrame([_cast(frame, column, where) for column in declared.columns])


def _cast(frame: pl.DataFrame, column: Column, where: str) -> pl.Series:
    import polars as pl

    if column.name not in frame.columns:
        raise BadInput(f"There is no column '{column.name}'.", f"Columns: {', '.join(frame.columns)}.", where=where)
    cells = frame[column.name]
    if column.kind == "category":
        return _known(cells.cast(pl.String), column, where)
    if cells.dtype == pl.String:
        cells = cells.replace("", None)
    numbers = cells.cast(pl.Float64, strict=False)
    wrong = (cells.is_not_null() & numbers.is_null()).arg_true()
    if len(wrong):
        raise BadInput(
            f"'{str(cells[wrong[0]])[:40]}' is not a number.",
            "Declare a category.",
            where=f"{where}, row {wrong[0]}, column '{column.name}'",
        )
    return numbers.fill_nan(None)


def _known(cells: pl.Series, column: Column, where: str) -> pl.Series:
    """Return a category's cells, an empty text as missing. Raises BadInput for a value that is not declared: answers would tell it."""
    cells = cells.replace("", None) if "" not in column.values else cells
    wrong = (cells.is_not_null() & ~cells.is_in([*column.values])).arg_true()
    if len(wrong):
        raise BadInput(
            f"'{str(cells[wrong[0]])[:40]}' is not a declared value.",
            "Declare it.",
            where=f"{where}, row {wrong[0]}, column '{column.name}'",
        )
    return cells


def _table(row: Row[tuple[object, ...]]) -> Protected:
    return Protected(**(row._asdict() | {"declared": Declared.model_validate(row.declared)}))
