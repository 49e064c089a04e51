"""The versions of a data set's table as one Delta table: a commit for each version, over the files of the store.

No row is written twice: the Parquet files of a version lie in the store by digest, and the Delta
table's folder shares them under that digest as their name. Any Delta reader may travel through the
versions; `Version.delta` says which commit a version is. A commit that no version names is one whose
publication was cut off: it holds nothing that the store does not, and the next version replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from headwater.core.errors import Conflict
from headwater.core.platform import Platform
from headwater.data.catalogue.sets import File

FOLDER = "delta"
LONGEST_BOUND = 64
KEPT_FOR_GOOD = {"delta.logRetentionDuration": "interval 36500 days", "delta.deletedFileRetentionDuration": "interval 36500 days"}
"""Delta forgets old versions after 30 days unless it is told otherwise."""


def table_folder(platform: Platform, dataset: str) -> Path:
    """Return where a data set's Delta table lies, by its id."""
    return platform.settings.data_folder / FOLDER / dataset


def commit(platform: Platform, dataset: str, digest: str, files: Sequence[File]) -> int:
    """Add a commit that holds exactly these Parquet files of the store, and return its number.

    Repeating the last commit adds none. Raises Conflict where another process committed at the same time.
    """
    from deltalake import DeltaTable, Schema
    from deltalake.exceptions import CommitFailedError, DeltaError
    from deltalake.transaction import CommitProperties, create_table_with_add_actions

    folder = table_folder(platform, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not (folder / object_name(file)).exists():
            platform.store.share(file.digest, folder / object_name(file))
    schema = Schema.from_arrow(_schema(folder / object_name(files[0])))
    note = CommitProperties(custom_metadata={"headwater.version": digest})
    wanted = {object_name(file): file for file in files}
    try:
        if not (folder / "_delta_log").exists():
            added = [_added(folder, file) for file in wanted.values()]
            create_table_with_add_actions(
                str(folder), schema, added, mode="error", name=dataset, configuration=KEPT_FOR_GOOD, commit_properties=note
            )
            return 0
        table = DeltaTable(str(folder))
        _change(table, folder, schema, wanted, note, int(platform.clock.now().timestamp() * 1000))
        return DeltaTable(str(folder)).version()
    except (CommitFailedError, DeltaError) as error:
        raise Conflict(f"The data set's table was changed at the same time: {error}.", "Publish again.") from error


def object_name(file: File) -> str:
    """Return the name under which a file of the store lies in the Delta table's folder."""
    return f"{file.digest.removeprefix('sha256:')}.parquet"


def _change(table: Any, folder: Path, schema: Any, wanted: dict[str, File], note: Any, at_ms: int) -> None:
    """Commit what is new and what is gone; a table of quite other files is replaced together with its columns."""
    from deltalake.transaction import RemoveAction

    held = {Path(name).name for name in table.file_uris()}
    if held == set(wanted):
        return
    added = [_added(folder, file) for name, file in wanted.items() if name not in held]
    if not held & set(wanted):
        table.create_write_transaction(added, mode="overwrite", schema=schema, commit_properties=note)
        return
    gone = [RemoveAction(name, data_change=True, deletion_timestamp=at_ms) for name in sorted(held - set(wanted))]
    table.create_write_transaction([*added, *gone], mode="append", schema=schema, commit_properties=note)


def _added(folder: Path, file: File) -> Any:
    from deltalake.transaction import AddAction

    name = object_name(file)
    return AddAction(name, file.bytes, {}, 0, True, json.dumps(_statistics(folder / name), ensure_ascii=False))


def _schema(path: Path) -> Any:
    """Return a Parquet file's columns in the types that Delta has for them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.schema([pa.field(one.name, _delta_type(one.type)) for one in pq.read_schema(path)])


def _delta_type(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _delta_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.float32() if pa.types.is_float16(kind) else kind


def _statistics(path: Path) -> dict[str, Any]:
    """Return rows, least and greatest values and missing cells of a Parquet file, as Delta writes them."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    told: dict[str, Any] = {"numRecords": metadata.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for place in range(metadata.num_columns):
        parts = [metadata.row_group(number).column(place) for number in range(metadata.num_row_groups)]
        name = parts[0].path_in_schema if parts else ""
        found = [part.statistics for part in parts if part.is_stats_set]
        if len(found) < len(parts) or not parts:
            continue
        if all(one.has_null_count for one in found):
            told["nullCount"][name] = sum(one.null_count for one in found)
        if all(one.has_min_max for one in found):
            least, greatest = _bound(min(one.min for one in found)), _bound(max(one.max for one in found))
            if least is not None and greatest is not None:
                told["minValues"][name], told["maxValues"][name] = least, greatest
    return told


def _bound(value: Any) -> Any:
    """Return a bound as Delta's JSON holds it; None for one that is too long or that has no exact form there."""
    if isinstance(value, bool) or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + ("Z" if value.tzinfo is None else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value if len(value) <= LONGEST_BOUND else None
    return value if isinstance(value, int | float) and abs(value) < float("inf") else None
