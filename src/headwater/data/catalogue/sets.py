"""Data sets and their versions: what they are, and how they are found. `publishing.py` changes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Literal, get_args

from sqlalchemy import Connection, Select, and_, false, func, or_, select
from sqlalchemy.engine import Row

from headwater.core.clock import to_text
from headwater.core.errors import NotFound
from headwater.core.store import Store
from headwater.data.catalogue.tables import data_sets, data_terms, data_versions
from headwater.data.catalogue.terms import keyword_term

Openness = Literal["open", "conditional", "authorised"]
"""Open to all; open under conditions that a grant states; used only in authorised operation."""
Rhythm = Literal["daily", "weekly", "monthly", "quarterly", "yearly", "irregular", "once"]
OPENNESS: tuple[Openness, ...] = get_args(Openness)
RHYTHMS: tuple[Rhythm, ...] = get_args(Rhythm)

ColumnType = Literal["integer", "number", "text", "boolean", "date", "time", "category"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a version's table."""

    name: str
    type: ColumnType
    about: Mapping[str, str]
    """What it holds, by language; may lack one or both."""
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a version. `table` marks the Parquet files that together make up its table."""

    name: str
    digest: str
    media_type: str
    bytes: int
    table: bool = False
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable version of a data set."""

    dataset: str
    number: int
    digest: str
    """The tree in the store that holds every file."""
    columns: tuple[Column, ...]
    rows: int | None
    """None where the version holds no table."""
    bytes: int
    files: tuple[File, ...]
    quality: Mapping[str, Any]
    """Scores by name; see `quality.py`."""
    note: str
    delta: int | None
    """The version of the data set's Delta table; None where there is no table."""
    statement: str
    """The statement that says what it was made from."""
    job: str | None
    created_by: str
    created_at: datetime

    @property
    def table(self) -> tuple[File, ...]:
        """The Parquet files that make up the table, in their order."""
        return tuple(file for file in self.files if file.table)

    def file(self, name: str) -> File:
        """Return one file. Raises NotFound."""
        for one in self.files:
            if one.name == name:
                return one
        raise NotFound(f"Version {self.number} has no file '{name[:200]}'.", f"Files: {', '.join(one.name for one in self.files[:20])}.")

    def as_json(self) -> dict[str, Any]:
        """Return the version as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__} | {"created_at": to_text(self.created_at)}
        told["columns"] = [{"name": one.name, "type": one.type, "about": dict(one.about), "unit": one.unit} for one in self.columns]
        told["files"] = [{name: getattr(one, name) for name in one.__slots__} for one in self.files]
        return told | {"quality": dict(self.quality)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set of the catalogue. It is *published* once it has a version and is not withdrawn."""

    id: str
    name: str
    title: Mapping[str, str]
    about: Mapping[str, str]
    organisation: str
    licence: str
    zone: str | None
    keywords: tuple[str, ...]
    openness: Openness
    rhythm: Rhythm
    contact: str
    spatial: str | None
    temporal: tuple[str, str | None] | None
    """First and last day that the data speak of; the last is None while it goes on."""
    created_by: str
    created_at: datetime
    issued_at: datetime | None
    """When the first version was published."""
    modified_at: datetime
    withdrawn_at: datetime | None
    withdrawn_because: str | None

    @property
    def published(self) -> bool:
        """Whether people may find it: it has a version, and is not withdrawn."""
        return self.issued_at is not None and self.withdrawn_at is None

    def as_json(self) -> dict[str, Any]:
        """Return the data set as JSON values."""
        told: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        for name in ("created_at", "issued_at", "modified_at", "withdrawn_at"):
            told[name] = to_text(told[name]) if told[name] is not None else None
        return told | {"title": dict(self.title), "about": dict(self.about), "keywords": list(self.keywords), "published": self.published}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which data sets are wanted; what is None does not matter."""

    zone: str | None = None
    openness: Openness | None = None
    organisation: str | None = None
    licence: str | None = None
    keyword: str | None = None
    published: bool | None = True
    modified_since: datetime | None = None
    scopes: tuple[str, ...] | None = None
    """Organisation paths; those of organisations below them count too."""


PUBLISHED = Filters()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of data sets and how many there are in all."""

    total: int
    found: tuple[DataSet, ...]


def identity_of(dataset: str) -> str:
    """Return the digest that stands for a data set as such, whatever its versions: what an authorisation is about. Takes its id."""
    return "sha256:" + hashlib.sha256(f"urn:headwater:data-set:{dataset}".encode()).hexdigest()


def find(connection: Connection, name: str) -> DataSet:
    """Return a data set by its name or id, published or not. Raises NotFound."""
    row = connection.execute(select(data_sets).where(or_(data_sets.c.name == name, data_sets.c.id == name))).first()
    if row is None:
        raise NotFound(f"There is no data set '{name[:100]}'.", "Search with `headwater data search`.")
    return dataset_of(row)


def listed(connection: Connection, filters: Filters = PUBLISHED, *, start: int = 0, limit: int = 100) -> Page:
    """Return data sets by name, from the `start`-th on."""
    total = connection.execute(filtered(select(func.count()).select_from(data_sets), filters)).scalar_one()
    query = filtered(select(data_sets), filters).order_by(data_sets.c.name).offset(start).limit(limit)
    return Page(total=total, found=tuple(dataset_of(row) for row in connection.execute(query)))


def filtered(query: Select[Any], filters: Filters) -> Select[Any]:
    """Return a query over `data_set` with the filters added."""
    column = data_sets.c
    for name in ("zone", "openness", "organisation", "licence"):
        if (wanted := getattr(filters, name)) is not None:
            query = query.where(column[name] == wanted)
    if filters.keyword is not None:
        query = query.where(column.id.in_(select(data_terms.c.dataset).where(data_terms.c.term == keyword_term(filters.keyword))))
    if filters.published is not None:
        shown = and_(column.issued_at.is_not(None), column.withdrawn_at.is_(None))
        query = query.where(shown if filters.published else ~shown)
    if filters.modified_since is not None:
        query = query.where(column.modified_at >= filters.modified_since)
    if filters.scopes is not None:
        query = query.where(
            or_(
                false(),
                *(or_(column.organisation == one, column.organisation.startswith(one + "/", autoescape=True)) for one in filters.scopes),
            )
        )
    return query


def versions(connection: Connection, dataset: str) -> tuple[Version, ...]:
    """Return a data set's versions, newest first, by its id."""
    query = select(data_versions).where(data_versions.c.dataset == dataset).order_by(data_versions.c.number.desc())
    return tuple(_version(row) for row in connection.execute(query))


def version(connection: Connection, dataset: DataSet, number: int | None = None) -> Version:
    """Return one version, the newest where no number is given. Raises NotFound."""
    query = select(data_versions).where(data_versions.c.dataset == dataset.id).order_by(data_versions.c.number.desc()).limit(1)
    row = connection.execute(query if number is None else query.where(data_versions.c.number == number)).first()
    if row is None:
        which = f"version {number}" if number is not None else "published version"
        raise NotFound(f"The data set '{dataset.name}' has no {which}.", "See `headwater data versions`.")
    return _version(row)


def newest(connection: Connection, datasets: Iterable[str]) -> dict[str, Version]:
    """Return the newest version of each data set that has one, by the data set's id."""
    column = data_versions.c
    last = select(column.dataset, func.max(column.number).label("number")).where(column.dataset.in_(list(datasets)))
    newest_of = last.group_by(column.dataset).subquery()
    query = select(data_versions).join(newest_of, and_(newest_of.c.dataset == column.dataset, newest_of.c.number == column.number))
    return {row.dataset: _version(row) for row in connection.execute(query)}


def open_file(store: Store, version: Version, name: str) -> BinaryIO:
    """Open one file of a version for reading; the caller closes it. Raises NotFound."""
    return store.open(version.file(name).digest)


def dataset_of(row: Row[Any]) -> DataSet:
    """Return the data set that a row of `data_set` holds."""
    told = row._asdict()
    temporal = tuple(told["temporal"]) if told["temporal"] else None
    return DataSet(**(told | {"keywords": tuple(told["keywords"]), "temporal": temporal}))


def _version(row: Row[Any]) -> Version:
    told = row._asdict()
    columns = tuple(Column(**one) for one in told["columns"])
    return Version(**(told | {"columns": columns, "files": tuple(File(**one) for one in told["files"])}))
