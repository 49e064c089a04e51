"""The first rows of a table, bounded in rows, columns and text, for people who look before they download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from headwater.core.store import Store
from headwater.data.catalogue.sets import Version

ROWS = 20
COLUMNS = 40
LONGEST_CELL = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Cells as text, row by row; None for a missing value."""

    names: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    columns_left_out: int


def preview(store: Store, version: Version) -> Preview | None:
    """Return the first rows of a version's table; None where it has none."""
    return _of_file(_Key(store), version.table[0].digest) if version.table else None


class _Key:
    """A store as a key of the memory below: two of the same place are one."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.store.url == self.store.url

    def __hash__(self) -> int:
        return hash(self.store.url)


@lru_cache(maxsize=256)
def _of_file(key: _Key, digest: str) -> Preview:
    import pyarrow.parquet as pq

    with key.store.open(digest) as raw:
        file = pq.ParquetFile(raw)
        names = file.schema_arrow.names
        batches = file.iter_batches(batch_size=ROWS, columns=names[:COLUMNS])
        batch = next(batches, None)
    columns: Sequence[Sequence[Any]] = [column.to_pylist() for column in batch.columns] if batch is not None else []
    rows = tuple(tuple(_cell(value) for value in row) for row in zip(*columns, strict=True))
    return Preview(names=tuple(names[:COLUMNS]), rows=rows, columns_left_out=max(0, len(names) - COLUMNS))


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"
