"""Small questions to the whole catalogue that the database answers by itself: names, counts, keywords, one page in an order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import DataSet, Filters
from headwater.data.catalogue.tables import data_sets

Ordered = Literal["id", "name", "created_at", "modified_at"]
PUBLISHED = Filters()


def names(connection: Connection, *, start: int, limit: int) -> list[str]:
    """Return the names of published data sets, in order."""
    query = sets.filtered(select(data_sets.c.name), PUBLISHED).order_by(data_sets.c.name)
    return list(connection.execute(query.offset(start).limit(limit)).scalars())


def counted(connection: Connection, column: Literal["zone", "organisation"]) -> dict[str, int]:
    """Return how many published data sets there are by zone or organisation."""
    query = sets.filtered(select(data_sets.c[column], func.count()), PUBLISHED).group_by(data_sets.c[column])
    return {row[0]: row[1] for row in connection.execute(query) if row[0] is not None}


def keywords(connection: Connection) -> Counter[str]:
    """Return how many published data sets carry each keyword."""
    found: Counter[str] = Counter()
    for words in connection.execute(sets.filtered(select(data_sets.c.keywords), PUBLISHED)).scalars():
        found.update(set(words))
    return found


def page(
    connection: Connection, order: Sequence[tuple[Ordered, bool]], *, start: int, limit: int, filters: Filters = PUBLISHED
) -> sets.Page:
    """Return one page of published data sets in an order (column, descending), ties by id."""
    total = connection.execute(sets.filtered(select(func.count()).select_from(data_sets), filters)).scalar_one()
    columns: list[Any] = [data_sets.c[name].desc() if descending else data_sets.c[name] for name, descending in order]
    query = sets.filtered(select(data_sets), filters).order_by(*columns, data_sets.c.id).offset(start).limit(limit)
    return sets.Page(total=total, found=tuple(sets.dataset_of(row) for row in connection.execute(query)))


def with_ids_from(connection: Connection, beginning: str) -> list[DataSet]:
    """Return the published data sets whose ids begin so."""
    query = sets.filtered(select(data_sets), PUBLISHED).where(data_sets.c.id.startswith(beginning, autoescape=True)).limit(100)
    return [sets.dataset_of(row) for row in connection.execute(query)]
