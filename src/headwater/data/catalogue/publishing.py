"""Declaring, publishing and withdrawing data sets: each one transaction with its statement and ledger entry.

A version is laid out and checked in a scratch folder, goes into the store, and only then into the
catalogue: whatever fails leaves the catalogue as it was. Publishing what is published already, or
again for the same job, returns the version that is there.
"""

from __future__ import annotations

import contextlib
import mimetypes
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.core import evidence, identity, ledger
from headwater.core.errors import BadInput, Conflict, NotFound, Refused
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.core.statement import DATA_VERSION, Statement, Subject
from headwater.data.catalogue import delta, quality, search, sets
from headwater.data.catalogue.describe import Description
from headwater.data.catalogue.intake import Limits, take_in
from headwater.data.catalogue.sets import DataSet, File, Version
from headwater.data.catalogue.tables import data_sets, data_versions
from headwater.data.catalogue.tabulate import Table, tabulate
from headwater.data.catalogue.vocabulary import Vocabulary

MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".yaml": "application/yaml",
    ".md": "text/markdown",
}
LARGEST_TABLE_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be published: files under a description, for an organisation, by whom, and for which job."""

    description: Description
    source: Path
    organisation: str
    actor: str
    job: str | None = None
    note: str = ""
    called: str | None = None
    """The file's own name, where `source` is a copy under another."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Artifacts that it was made from, by name: its lineage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A version's files as they lie in the store, with what was found in them."""

    digest: str
    files: tuple[File, ...]
    table: Table | None
    scores: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.bytes for file in self.files)


def declare(platform: Platform, description: Description, organisation: str, *, actor: str) -> DataSet:
    """Put a data set into the catalogue, or change its description; it is published with its first version.

    Raises BadInput for an unknown zone or licence, Refused for another organisation's name.
    """
    description.check_words(Vocabulary(platform.settings.data_folder))
    now = platform.clock.now()
    return platform.db.write(lambda connection: declared(connection, description, organisation, actor=actor, at=now))


def declared(connection: Connection, description: Description, organisation: str, *, actor: str, at: datetime) -> DataSet:
    """Declare in the caller's transaction; see `declare`."""
    _check_organisation(connection, organisation)
    values = _values(description)
    name = description.name
    row = connection.execute(select(data_sets).where(data_sets.c.name == name).with_for_update()).one_or_none()
    if row is None:
        made: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "organisation": organisation,
            "created_by": actor,
            "created_at": at,
            "modified_at": at,
        }
        try:
            with connection.begin_nested():
                connection.execute(insert(data_sets).values(**values, **made))
        except IntegrityError as error:
            raise Conflict(f"Another writer declared '{name}' first.", "Try again.") from error
        body = {"name": name, "organisation": organisation, "openness": description.openness, "licence": description.licence}
        ledger.append(connection, "data.declared", subject=made["id"], actor=actor, at=at, body=body)
    else:
        _check_owner(sets.dataset_of(row), organisation)
        changed = sorted(key for key, value in values.items() if _plain(getattr(row, key)) != _plain(value))
        if not changed:
            return sets.find(connection, name)
        connection.execute(update(data_sets).where(data_sets.c.id == row.id).values(**values, modified_at=at))
        ledger.append(connection, "data.described", subject=row.id, actor=actor, at=at, body={"name": name, "changed": changed})
    dataset = sets.find(connection, name)
    search.index(connection, dataset, sets.newest(connection, [dataset.id]).get(dataset.id))
    return dataset


def publish(platform: Platform, wish: Wish, limits: Limits | None = None) -> Version:
    """Publish files as the next version of a data set, which is declared on the way, and return the version.

    Raises BadInput, BadFile or LimitExceeded for what cannot be taken in, Refused for another organisation's
    name, Conflict for a withdrawn data set.
    """
    if wish.job is not None and (known := _made_by(platform, wish.job)) is not None:
        return known
    wish.description.check_words(Vocabulary(platform.settings.data_folder))
    with platform.db.read() as connection:
        _check_may_publish(connection, wish)
    with _scratch(platform) as folder:
        take_in(wish.source, folder, limits or Limits(bytes=platform.settings.store_max_bytes), name=wish.called)
        content = stored(platform, folder, wish.description)
    dataset = declare(platform, wish.description, wish.organisation, actor=wish.actor)
    commit = delta.commit(platform, dataset.id, content.digest, [file for file in content.files if file.table]) if content.table else None
    now = platform.clock.now()
    return platform.db.write(lambda connection: _add(connection, platform.keyring, wish, content, commit, now))


def withdraw(platform: Platform, name: str, *, reason: str, actor: str) -> DataSet:
    """Take a data set out of the catalogue; its versions and their record stay. Withdrawing it twice changes nothing. Raises NotFound."""
    if not reason.strip():
        raise BadInput("Withdrawing a data set needs a reason.", "Give one.")
    now = platform.clock.now()

    def work(connection: Connection) -> DataSet:
        dataset = sets.find(connection, name)
        if dataset.withdrawn_at is not None:
            return dataset
        row = update(data_sets).where(data_sets.c.id == dataset.id)
        connection.execute(row.values(withdrawn_at=now, withdrawn_because=reason, modified_at=now))
        ledger.append(connection, "data.withdrawn", subject=dataset.id, actor=actor, at=now, body={"name": dataset.name, "reason": reason})
        return sets.find(connection, dataset.id)

    return platform.db.write(work)


def stored(platform: Platform, folder: Path, description: Description) -> Content:
    """Tabulate, assess and store a folder of files. Raises as `tabulate` does."""
    limit = min(LARGEST_TABLE_MIB, max(1, platform.settings.store_max_bytes >> 20))
    table = tabulate(folder, description.columns, description.table, largest_mib=limit)
    rows = dict(table.files) if table else {}
    scores = quality.assess([folder / name for name in rows], table.columns if table else (), description.columns if table else ())
    digest = platform.store.put_tree(folder)
    files = tuple(
        File(
            name=entry.path,
            digest=entry.digest,
            media_type=media_type(entry.path),
            bytes=entry.size,
            table=entry.path in rows,
            rows=rows.get(entry.path),
        )
        for entry in platform.store.entries(digest)
    )
    return Content(digest=digest, files=files, table=table, scores={name: score.as_json() for name, score in scores.items()})


def media_type(name: str) -> str:
    """Return a file's media type by its ending; `application/octet-stream` for one that says nothing."""
    return MEDIA_TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _add(connection: Connection, keyring: Keyring, wish: Wish, content: Content, commit: int | None, at: datetime) -> Version:
    dataset = sets.find(connection, wish.description.name)
    connection.execute(select(data_sets.c.id).where(data_sets.c.id == dataset.id).with_for_update()).one()
    _check_open(dataset)
    held = sets.versions(connection, dataset.id)
    if held and held[0].digest == content.digest:
        return held[0]
    number = held[0].number + 1 if held else 1
    statement = _claim(connection, keyring, dataset, number, wish, content, at)
    made = Version(
        dataset=dataset.id,
        number=number,
        digest=content.digest,
        columns=content.table.columns if content.table else (),
        rows=content.table.rows if content.table else None,
        bytes=content.bytes,
        files=content.files,
        quality=content.scores,
        note=wish.note,
        delta=commit,
        statement=statement,
        job=wish.job,
        created_by=wish.actor,
        created_at=at,
    )
    connection.execute(insert(data_versions).values(made.as_json() | {"created_at": at}))
    connection.execute(update(data_sets).where(data_sets.c.id == dataset.id).values(issued_at=dataset.issued_at or at, modified_at=at))
    body = {
        "name": dataset.name,
        "number": number,
        "digest": content.digest,
        "rows": made.rows,
        "bytes": made.bytes,
        "statement": statement,
    }
    ledger.append(connection, "data.published", subject=dataset.id, actor=wish.actor, at=at, body=body)
    search.index(connection, replace(dataset, issued_at=dataset.issued_at or at, modified_at=at), made)
    return made


def _claim(connection: Connection, keyring: Keyring, dataset: DataSet, number: int, wish: Wish, content: Content, at: datetime) -> str:
    """Issue the statement that says what the version is and what it was made from, and return its digest."""
    predicate = {
        "dataset": dataset.name,
        "id": dataset.id,
        "version": number,
        "organisation": dataset.organisation,
        "licence": dataset.licence,
        "openness": dataset.openness,
        "zone": dataset.zone,
        "rows": content.table.rows if content.table else None,
        "bytes": content.bytes,
        "inputs": dict(wish.inputs),
        "job": wish.job,
        "note": wish.note,
    }
    subject = Subject(name=f"{dataset.name}/{number}", digest=content.digest)
    claim = Statement(subjects=(subject,), predicate_type=DATA_VERSION, predicate=predicate, issued_at=at)
    return evidence.issue(connection, keyring, claim, actor=wish.actor).digest


def _values(description: Description) -> dict[str, Any]:
    told = {name: getattr(description, name) for name in ("name", "licence", "zone", "openness", "rhythm", "contact", "spatial")}
    told |= {"title": description.title.model_dump(), "about": description.about.model_dump(), "keywords": list(description.keywords)}
    return told | {"temporal": list(description.temporal) if description.temporal else None}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_organisation(connection: Connection, organisation: str) -> None:
    column = identity.organisations.c.path
    if connection.execute(select(column).where(column == organisation)).first() is None:
        raise NotFound(f"There is no organisation {organisation[:200]}.", "Add it first.")


def _check_owner(dataset: DataSet, organisation: str) -> None:
    """Raise Refused unless the organisation is the data set's own, or stands above it: what a body owns, no part of it takes over."""
    if not identity.covers(organisation, dataset.organisation):
        raise Refused(f"The data set '{dataset.name}' belongs to {dataset.organisation}.", "Choose another name.")


def _check_open(dataset: DataSet) -> None:
    if dataset.withdrawn_at is not None:
        raise Conflict(f"The data set '{dataset.name}' was withdrawn: {dataset.withdrawn_because}.", "Publish under another name.")


def _check_may_publish(connection: Connection, wish: Wish) -> None:
    """Raise before any file is read what would be raised after."""
    _check_organisation(connection, wish.organisation)
    with contextlib.suppress(NotFound):
        dataset = sets.find(connection, wish.description.name)
        _check_owner(dataset, wish.organisation)
        _check_open(dataset)


def _made_by(platform: Platform, job: str) -> Version | None:
    with platform.db.read() as connection:
        row = connection.execute(select(data_versions.c.dataset, data_versions.c.number).where(data_versions.c.job == job)).one_or_none()
        return sets.version(connection, sets.find(connection, row.dataset), row.number) if row is not None else None


@contextlib.contextmanager
def _scratch(platform: Platform) -> Iterator[Path]:
    """Give an empty folder beside the platform's data, and remove it at the end, whatever happened."""
    parent = platform.settings.data_folder / "incoming"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
