"""What every protocol tells of a data set: the set, its newest version, and the rows that its names stand for.

An offer is what anyone may see. Whether someone may also read the rows is decided elsewhere, at
each use: rows of an open data set are for all, every other set's only under a grant.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from headwater.core.errors import NotFound
from headwater.core.identity import organisations
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import DataSet, File, Filters, Version
from headwater.data.catalogue.vocabulary import Licence, Vocabulary, Zone

NAMES = uuid.UUID("6d1a4f3e-52b7-5f0c-9a55-0c6e1f6c2a10")
"""The name space of the stable ids that protocols ask for where the catalogue itself goes by names."""
MOST_OFFERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """Who publishes: the path, and the form of it that protocols take, which have no slashes in names."""

    path: str
    title: str

    @property
    def slug(self) -> str:
        """The path with `_` for `/`: no part of a path holds a `_`."""
        return self.path.replace("/", "_")

    @property
    def id(self) -> str:
        """A stable UUID."""
        return stable_id("organisation", self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A published data set with everything that a description of it names."""

    dataset: DataSet
    version: Version
    organisation: Organisation
    licence: Licence | None
    zone: Zone | None

    @property
    def open(self) -> bool:
        """Whether its rows are for all."""
        return self.dataset.openness == "open"

    def told(self, texts: Mapping[str, str], language: str) -> str:
        """Return a text in a language, in another where this one is missing."""
        return told(texts, language)

    def resource_id(self, file: File) -> str:
        """Return a file's stable id: the same in each version that has the file."""
        return stable_id("file", f"{self.dataset.id}/{file.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where things of the portal are; `base` is the address without a slash at the end."""

    base: str

    def page(self, name: str) -> str:
        """The data set's page."""
        return f"{self.base}/dataset/{name}"

    def file(self, name: str, version: int, file: str) -> str:
        """A file of a version."""
        from urllib.parse import quote

        return f"{self.base}/dataset/{name}/versions/{version}/files/{quote(file)}"

    def form(self, name: str, suffix: str) -> str:
        """The data set's description in a format, such as `.ttl` or `/croissant.jsonld`."""
        return f"{self.base}/dataset/{name}{suffix}"


def told(texts: Mapping[str, str], language: str) -> str:
    """Return the text of a language, else English, else whichever there is."""
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), "")


def stable_id(kind: str, name: str) -> str:
    """Return the UUID that stands for a name, the same at every call."""
    return str(uuid.uuid5(NAMES, f"{kind}:{name}"))


def find(connection: Connection, vocabulary: Vocabulary, name: str) -> Offer:
    """Return the offer of a published data set by name or id. Raises NotFound, also for one that is withdrawn or has no version."""
    dataset = sets.find(connection, name)
    if not dataset.published:
        raise NotFound(f"There is no data set '{name[:100]}'.", "Search at /datasets.")
    return of(connection, vocabulary, [dataset])[0]


def draft(connection: Connection, vocabulary: Vocabulary, dataset: DataSet) -> Offer:
    """Return the offer of a data set that need not be published: without a version, its version is 0 and holds nothing."""
    version = sets.newest(connection, [dataset.id]).get(dataset.id) or _nothing(dataset)
    return _offer(dataset, version, organisations_of(connection, [dataset.organisation]), vocabulary)


def all_offers(connection: Connection, vocabulary: Vocabulary, filters: Filters = Filters()) -> tuple[Offer, ...]:  # noqa: B008 - frozen
    """Return every published data set's offer, by name."""
    return of(connection, vocabulary, sets.listed(connection, filters, limit=MOST_OFFERS).found)


def of(connection: Connection, vocabulary: Vocabulary, found: Iterable[DataSet]) -> tuple[Offer, ...]:
    """Return the offers of published data sets, in their order."""
    datasets = [one for one in found if one.published]
    newest = sets.newest(connection, [one.id for one in datasets])
    publishers = organisations_of(connection, {one.organisation for one in datasets})
    return tuple(_offer(one, newest[one.id], publishers, vocabulary) for one in datasets)


def _offer(dataset: DataSet, version: Version, publishers: Mapping[str, Organisation], vocabulary: Vocabulary) -> Offer:
    return Offer(
        dataset=dataset,
        version=version,
        organisation=publishers[dataset.organisation],
        licence=vocabulary.licences.get(dataset.licence),
        zone=vocabulary.zones.get(dataset.zone) if dataset.zone else None,
    )


def _nothing(dataset: DataSet) -> Version:
    return Version(
        dataset=dataset.id,
        number=0,
        digest="",
        columns=(),
        rows=None,
        bytes=0,
        files=(),
        quality={},
        note="",
        delta=None,
        statement="",
        job=None,
        created_by=dataset.created_by,
        created_at=dataset.created_at,
    )


def organisations_of(connection: Connection, paths: Iterable[str] | None = None) -> dict[str, Organisation]:
    """Return organisations by path; all of them where none are named."""
    query = select(organisations.c.path, organisations.c.title).order_by(organisations.c.path)
    if paths is not None:
        query = query.where(organisations.c.path.in_(sorted(paths)))
    return {row.path: Organisation(path=row.path, title=row.title) for row in connection.execute(query)}
