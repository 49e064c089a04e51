"""What the footer of a Parquet file tells: rows, types, and the bounds of each column.

Source: Delta transaction log protocol, "Schema Serialization Format" and "Per-file Statistics".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from headwater.core.errors import Broken
from headwater.core.store import Store
from headwater.data.protocols.delta.predicates import Bounds, Value

if TYPE_CHECKING:
    import pyarrow as pa

STATED_COLUMNS = 32
"""Columns whose bounds are told to readers, as Delta's own default has it."""
LONGEST_BOUND = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """A Parquet file's rows, its columns' Delta types in order, and their bounds."""

    rows: int
    types: Mapping[str, Any]
    bounds: Mapping[str, Bounds]

    @property
    def simple_types(self) -> dict[str, str]:
        """The types of the columns that conditions can be about."""
        return {name: kind for name, kind in self.types.items() if isinstance(kind, str)}

    def stats(self) -> str:
        """Return the statistics as Delta writes them: JSON text."""
        stated = list(self.bounds.items())[:STATED_COLUMNS]
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: _told(one.least) for name, one in stated if _tellable(one.least)},
                "maxValues": {name: _told(one.most) for name, one in stated if _tellable(one.most)},
                "nullCount": {name: one.nulls for name, one in stated if one.nulls is not None},
            },
            ensure_ascii=False,
        )


def footer_of(store: Store, digest: str) -> Footer:
    """Return the footer of a stored Parquet file; remembered, since what a digest names never changes."""
    return _remembered(_Place(store=store, url=store.url), digest)


@dataclass(frozen=True)
class _Place:
    store: Store
    url: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)


@lru_cache(maxsize=4096)
def _remembered(place: _Place, digest: str) -> Footer:
    with place.store.open(digest) as file:
        return read(file, digest)


def read(file: BinaryIO, where: str) -> Footer:
    """Return the footer of an open Parquet file. Raises Broken where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Broken(f"The stored file is not Parquet: {error}.", "Publish the version anew.", where=where) from error
    leaves = {metadata.schema.column(place).path: place for place in range(len(metadata.schema))}
    bounds = {field.name: _bounds(metadata, leaves[field.name]) for field in schema if field.name in leaves}
    return Footer(rows=metadata.num_rows, types={field.name: delta_type(field.type) for field in schema}, bounds=bounds)


def _bounds(metadata: Any, place: int) -> Bounds:
    groups = [metadata.row_group(number).column(place).statistics for number in range(metadata.num_row_groups)]
    rows = metadata.num_rows
    if not groups or any(one is None for one in groups):
        return Bounds(rows=rows)
    nulls = sum(one.null_count for one in groups) if all(one.has_null_count for one in groups) else None
    told = [one for one in groups if not (one.has_null_count and one.num_values == 0)]
    if not told or not all(one.has_min_max for one in told):
        return Bounds(nulls=nulls, rows=rows)
    return Bounds(least=_value(min(one.min for one in told)), most=_value(max(one.max for one in told)), nulls=nulls, rows=rows)


def _value(value: Any) -> Value | None:
    """Return a bound that can be compared safely, or None."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | date) else None


def _tellable(value: Value | None) -> bool:
    return value is not None and not (isinstance(value, str) and len(value) > LONGEST_BOUND)


def _told(value: Value | None) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def delta_type(kind: pa.DataType) -> Any:
    """Return the Delta type of an Arrow type: a name, or a nested description."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return delta_type(kind.value_type)
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return {"type": "array", "elementType": delta_type(kind.value_type), "containsNull": True}
    if pa.types.is_map(kind):
        told = {"keyType": delta_type(kind.key_type), "valueType": delta_type(kind.item_type)}
        return {"type": "map", **told, "valueContainsNull": True}
    if pa.types.is_struct(kind):
        return {"type": "struct", "fields": [_field(one.name, delta_type(one.type)) for one in kind]}
    return _simple(kind)


def _simple(kind: pa.DataType) -> str:
    import pyarrow as pa

    checks = (
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_int8, "byte"),
        (lambda one: pa.types.is_int16(one) or pa.types.is_uint8(one), "short"),
        (lambda one: pa.types.is_int32(one) or pa.types.is_uint16(one), "integer"),
        (pa.types.is_integer, "long"),
        (lambda one: pa.types.is_float32(one) or pa.types.is_float16(one), "float"),
        (pa.types.is_floating, "double"),
        (pa.types.is_date, "date"),
        (pa.types.is_timestamp, "timestamp"),
        (lambda one: pa.types.is_binary(one) or pa.types.is_large_binary(one) or pa.types.is_fixed_size_binary(one), "binary"),
    )
    return next((name for fits, name in checks if fits(kind)), "string")


def schema_string(types: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """Return a table's schema as Delta's JSON text, with each column's description as its comment."""
    fields = [_field(name, kind, about.get(name, "")) for name, kind in types.items()]
    return json.dumps({"type": "struct", "fields": fields}, ensure_ascii=False)


def _field(name: str, kind: Any, comment: str = "") -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": True, "metadata": {"comment": comment} if comment else {}}
