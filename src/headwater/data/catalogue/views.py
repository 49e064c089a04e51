"""The catalogue as answers of the API and values of the pages."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from headwater.core import identity
from headwater.core.platform import Platform
from headwater.data import lineage
from headwater.data.cards import Shown
from headwater.data.catalogue import opening, quality, sets
from headwater.data.catalogue.opening import Planned, State
from headwater.data.catalogue.sets import ColumnType, DataSet, Openness, Rhythm, Version, identity_of
from headwater.data.catalogue.vocabulary import Vocabulary


class DataSetOut(BaseModel):
    """A data set of the catalogue."""

    id: str
    name: str = Field(examples=["bus-stops"])
    title: dict[str, str] = Field(examples=[{"zh": "公交站点", "en": "Bus stops"}])
    about: dict[str, str]
    organisation: str = Field(examples=["city"])
    licence: str = Field(examples=["CC-BY-4.0"])
    zone: str | None = Field(examples=["transport"])
    keywords: list[str]
    openness: Openness
    rhythm: Rhythm
    contact: str
    spatial: str | None
    temporal: list[str | None] | None = Field(description="First and last day; the last is null while it goes on.")
    published: bool = Field(description="Whether people may find it.")
    created_by: str
    created_at: datetime
    issued_at: datetime | None
    modified_at: datetime
    withdrawn_at: datetime | None
    withdrawn_because: str | None


class PageOut(BaseModel):
    """Data sets that were found, and how many there are in all."""

    total: int
    found: list[DataSetOut]


class ColumnOut(BaseModel):
    """A column of a version's table."""

    name: str
    type: ColumnType
    about: dict[str, str]
    unit: str


class FileOut(BaseModel):
    """A file of a version."""

    name: str
    digest: str
    media_type: str
    bytes: int
    table: bool = Field(description="Whether it is one of the Parquet files that make up the table.")
    rows: int | None


class ScoreOut(BaseModel):
    """A quality score from 0 to 1; null where it is unknown."""

    value: float | None
    good: int | None
    of: int | None
    because: str


class VersionOut(BaseModel):
    """An immutable version of a data set."""

    dataset: str
    number: int
    digest: str = Field(description="The tree of its files.", examples=["sha256:" + "0" * 64 + "/"])
    columns: list[ColumnOut]
    rows: int | None
    bytes: int
    files: list[FileOut]
    quality: dict[str, ScoreOut]
    note: str
    delta: int | None = Field(description="Its commit in the data set's Delta table.")
    statement: str = Field(description="The statement that says what it was made from.")
    job: str | None
    created_by: str
    created_at: datetime


class CommitmentOut(BaseModel):
    """What was promised of a data set."""

    dataset: str
    due: date
    owner: str
    rhythm: Rhythm
    revision: int = Field(description="Name it when you change the commitment.")
    changed_by: str
    changed_at: datetime
    reason: str


class StandingOut(BaseModel):
    """How a commitment stands now, computed from the versions and the clock."""

    state: State
    next_due: date | None
    working_days_late: int
    opened_on: date | None
    working_days_opened_late: int
    provisional: bool = Field(description="Whether the due date lies beyond the last year whose days off are published.")


class PlannedOut(BaseModel):
    """A line of the opening plan."""

    name: str
    title: dict[str, str]
    organisation: str
    zone: str | None
    openness: Openness
    commitment: CommitmentOut
    standing: StandingOut


class DataSetDetailOut(DataSetOut):
    """A data set with its newest version, its scores now, and its place in the opening plan."""

    identity: str = Field(description="The digest that stands for the data set as such: what an authorisation is about.")
    versions: list[int] = Field(description="Numbers, newest first.")
    newest: VersionOut | None
    timeliness: ScoreOut
    planned: PlannedOut | None


def detail(connection: Connection, dataset: DataSet, now: datetime) -> DataSetDetailOut:
    """Return a data set with what belongs to it."""
    versions = sets.versions(connection, dataset.id)
    newest = versions[0] if versions else None
    score = quality.timeliness(dataset.rhythm, newest.created_at if newest else None, now)
    planned = opening.of(connection, dataset, now)
    more: dict[str, Any] = {
        "identity": identity_of(dataset.id),
        "versions": [one.number for one in versions],
        "newest": newest.as_json() if newest else None,
        "timeliness": score.as_json(),
        "planned": planned_out(planned) if planned else None,
    }
    return DataSetDetailOut.model_validate(dataset.as_json() | more)


def planned_out(one: Planned) -> PlannedOut:
    """Return a line of the opening plan."""
    return PlannedOut.model_validate(one.as_json())


def title_of(connection: Connection, organisation: str) -> str:
    """Return an organisation's title, or its path where it has none."""
    column = identity.organisations.c
    return connection.execute(select(column.title).where(column.path == organisation)).scalar_one_or_none() or organisation


def shown(platform: Platform, dataset: DataSet, version: Version, page: str) -> Shown:
    """Return a version with all that its card says of it."""
    vocabulary = Vocabulary(platform.settings.data_folder)
    with platform.db.read() as connection:
        publisher = title_of(connection, dataset.organisation)
        made = lineage.ancestry(connection, platform.keyring, version, now=platform.clock.now())
    return Shown(
        dataset=dataset,
        version=version,
        licence=vocabulary.licence(dataset.licence),
        publisher=publisher,
        page=page,
        zone=vocabulary.zones.get(dataset.zone or ""),
        lineage=made,
        sensitive=_sensitive(platform, version),
    )


def _sensitive(platform: Platform, version: Version) -> tuple[str, ...]:
    """Return what the table's own card declares as sensitive, where the version holds one."""
    if all(file.name != "card.json" for file in version.files):
        return ()
    told = json.loads(platform.store.read(version.file("card.json").digest, limit=1 << 20))
    found = told.get("sensitive", []) if isinstance(told, dict) else []
    return tuple(f"{one.get('name')} (column {one.get('column')})" for one in found if isinstance(one, dict))
