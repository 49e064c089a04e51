"""Make one typed table, as Parquet files, of the CSV and Parquet files of a version.

CSV becomes Parquet with the types that the description states, or else that every cell of a column
fits. Nothing is repaired: a ragged row or a cell that does not fit refuses the whole, with its line
and column. Parquet is kept as it is, after every page was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput, LimitExceeded
from headwater.data.catalogue.csv_columns import TextTable, read_columns
from headwater.data.catalogue.describe import ColumnRule, problems_of_columns
from headwater.data.catalogue.sets import Column, ColumnType
from headwater.data.table import MIB

if TYPE_CHECKING:
    import polars as pl

CSV_ENDINGS = (".csv", ".tsv")
PARQUET_ENDING = ".parquet"
FOLDER = "table"
"""Where the Parquet files made of CSV files lie in a version."""
SHOWN = 5
LARGEST_CSV_MIB = 256
"""CSV is held in memory while it is checked; larger tables come as Parquet."""
UNPACKED_TIMES, READ_TIMES = 4, 4
"""How far a Parquet file may go beyond the limit unpacked, by its own word and once it is read."""
INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
DATE = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The table of a version: its Parquet files by name, in order, with the rows of each, and its columns."""

    files: tuple[tuple[str, int], ...]
    columns: tuple[Column, ...]

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(rows for _, rows in self.files)


def tabulate(folder: Path, described: Sequence[ColumnRule], pattern: str | None, *, largest_mib: int) -> Table | None:
    """Return the folder's table, writing Parquet below `table/` for each CSV file; None where it holds none.

    The table is made of the files that fit `pattern`, or of every CSV and Parquet file where there is
    none; all must have the same columns. Raises BadInput, LimitExceeded.
    """
    names = _chosen(folder, pattern)
    if not names:
        return None
    made = [_one(folder, name, described, largest_mib) for name in names]
    first = made[0]
    for name, (_, columns) in zip(names, made, strict=True):
        if [(one.name, one.type) for one in columns] != [(one.name, one.type) for one in first[1]]:
            raise BadInput(
                f"'{name}' and '{names[0]}' have different columns: {_difference(columns, first[1])}.",
                "Say which files make up the table, 'table: data/*.csv', or 'table: none'.",
            )
    return Table(files=tuple(file for file, _ in made), columns=first[1])


def _chosen(folder: Path, pattern: str | None) -> list[str]:
    if pattern == "none":
        return []
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    tables = [name for name in names if name.lower().endswith((*CSV_ENDINGS, PARQUET_ENDING))]
    chosen = [name for name in tables if pattern is None or any(fnmatchcase(name, one) for one in pattern.split())]
    if pattern is not None and not chosen:
        raise BadInput(f"No CSV or Parquet file fits 'table: {pattern}'.", f"Files: {', '.join(names[:20])}.")
    return chosen


def _one(folder: Path, name: str, described: Sequence[ColumnRule], largest_mib: int) -> tuple[tuple[str, int], tuple[Column, ...]]:
    path = folder / name
    if name.lower().endswith(PARQUET_ENDING):
        rows, columns = _check_parquet(path, name, described, largest_mib)
        return (name, rows), columns
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    raw = read_columns(path, where=name, delimiter=delimiter, largest_mib=min(largest_mib, LARGEST_CSV_MIB))
    frame, columns = typed(raw, described, name)
    target = f"{FOLDER}/{name.rpartition('.')[0]}.parquet"
    if (folder / target).exists():
        raise BadInput(f"'{name}' would become '{target}', which is there already.", "Rename one of the two.")
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    _write(frame, folder / target)
    return (target, frame.height), columns


def typed(raw: TextTable, described: Sequence[ColumnRule], where: str) -> tuple[pl.DataFrame, tuple[Column, ...]]:
    """Return a CSV table with typed columns. Raises BadInput naming line and column of the first cells that do not fit."""
    import polars as pl

    _check_described(described, raw.names, where)
    rules = {rule.name: rule for rule in described}
    text = raw.frame.with_columns(pl.when(pl.all() == "").then(None).otherwise(pl.all()).name.keep())
    series, columns = [], []
    for name in raw.names:
        rule = rules.get(name)
        kind = rule.type if rule else inferred(text[name])
        series.append(_cast(text[name], kind, raw, where))
        columns.append(rule.column() if rule else Column(name=name, type=kind, about={}))
    return pl.DataFrame(series), tuple(columns)


def inferred(cells: pl.Series) -> ColumnType:
    """Return the narrowest type that every cell fits; text for a column of numbers with leading zeros, or without any value."""
    known = cells.drop_nulls()
    if known.is_empty():
        return "text"
    fitting: tuple[tuple[ColumnType, str], ...] = (("integer", INTEGER), ("number", NUMBER), ("date", DATE), ("time", TIME))
    for kind, pattern in fitting:
        if known.str.contains(pattern).all():
            return "text" if kind == "number" and known.str.contains(r"^[+-]?0[0-9]").any() else kind
    return "boolean" if known.str.contains(r"^(true|false)$").all() else "text"


def _cast(cells: pl.Series, kind: ColumnType, raw: TextTable, where: str) -> pl.Series:
    import polars as pl

    if kind in ("text", "category"):
        return cells
    if kind == "boolean":
        done = cells.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    elif kind == "date":
        done = cells.str.to_date("%Y-%m-%d", strict=False)
    elif kind == "time":
        done = cells.str.replace("T", " ").str.replace("Z$", "").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    else:
        shape = INTEGER if kind == "integer" else NUMBER
        done = cells.set(~cells.str.contains(shape).fill_null(True), None).cast(pl.Int64 if kind == "integer" else pl.Float64, strict=False)
    wrong = (done.is_null() & cells.is_not_null()).arg_true().to_list()
    if wrong:
        shown = "; ".join(f"line {raw.lines[place]}: '{(cells[place] or '')[:40]}'" for place in wrong[:SHOWN])
        raise BadInput(
            f"{len(wrong)} cells of the column '{cells.name}' are no {kind}. {shown}.",
            "Correct them, leave them empty, or describe the column as text.",
            where=f"{where}:{raw.lines[wrong[0]]}",
        )
    return done


def _check_described(described: Sequence[ColumnRule], names: tuple[str, ...], where: str) -> None:
    if described and (wrong := list(problems_of_columns(described, names))):
        told = "; ".join(wrong)
        raise BadInput(f"The columns of the table are not those of the description: {told}.", "Describe every column.", where=where)


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Write a table so that the same rows always give the same bytes."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).replace_schema_metadata(None)
    narrow = [pa.field(one.name, pa.string() if pa.types.is_large_string(one.type) else one.type) for one in plain.schema]
    pq.write_table(plain.cast(pa.schema(narrow)), path, compression="zstd", store_schema=False)


def _check_parquet(path: Path, name: str, described: Sequence[ColumnRule], largest_mib: int) -> tuple[int, tuple[Column, ...]]:
    """Return rows and columns of a Parquet file after reading all of it in bounded pieces. Raises BadInput, LimitExceeded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        texts = [field.name for field in pq.read_schema(path) if _kind_of(field.type) == "text"]
        with pq.ParquetFile(path, read_dictionary=texts) as file:  # a text that is repeated a million times is held once
            columns = _arrow_columns(pq.read_schema(path), described, name)
            _check_announced(file.metadata, path.stat().st_size, name, largest_mib)
            rows = _read_through(file.iter_batches(batch_size=16_384), name, READ_TIMES * largest_mib)
            announced = file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"The Parquet file cannot be read: {error}.", "It was cut short or altered: write it again.", where=name) from error
    if rows != announced:
        raise BadInput(f"The Parquet file announces {announced} rows and holds {rows}.", "Write it again.", where=name)
    if rows == 0:
        raise BadInput("The table has no rows.", "Give at least one row.", where=name)
    return rows, columns


def _check_announced(metadata: Any, size: int, name: str, largest_mib: int) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    packed = sum(group.column(place).total_compressed_size for group in groups for place in range(group.num_columns))
    unpacked = sum(group.total_byte_size for group in groups)
    if packed > size:
        raise BadInput(f"The Parquet file announces {packed} bytes of columns and has {size} in all.", "Write it again.", where=name)
    if unpacked > UNPACKED_TIMES * largest_mib * MIB:
        raise LimitExceeded(
            f"The table unpacks to {unpacked / MIB:.0f} MiB; the limit is {UNPACKED_TIMES * largest_mib}.", "Split it.", where=name
        )


def _read_through(batches: Iterable[Any], name: str, largest_mib: int) -> int:
    rows = read = 0
    for batch in batches:
        rows += batch.num_rows
        read += sum(_spelled_out(column) for column in batch.columns)
        if read > largest_mib * MIB:
            raise LimitExceeded(f"The table holds more than {read / MIB:.0f} MiB unpacked.", "Split it.", where=name)
    return rows


def _spelled_out(column: Any) -> int:
    """Return the bytes of a column with each repeated text counted as often as it stands there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


def _arrow_columns(schema: Any, described: Sequence[ColumnRule], where: str) -> tuple[Column, ...]:
    _check_described(described, tuple(schema.names), where)
    rules = {rule.name: rule for rule in described}
    return tuple(_arrow_column(field, rules.get(field.name), where) for field in schema)


def _arrow_column(field: Any, rule: ColumnRule | None, where: str) -> Column:
    kind = _kind_of(field.type)
    if kind is None:
        raise BadInput(
            f"The column '{field.name}' holds {field.type}, which a table here cannot.",
            "Flatten it, or publish the file as it is with 'table: none'.",
            where=where,
        )
    if rule is None:
        return Column(name=field.name, type=kind, about={})
    if rule.type not in _FITS[kind]:
        raise BadInput(f"The column '{field.name}' is described as {rule.type} and holds {field.type}.", "Correct one.", where=where)
    return rule.column()


_FITS: dict[ColumnType, tuple[ColumnType, ...]] = {
    "integer": ("integer", "category"),
    "number": ("number",),
    "text": ("text", "category"),
    "boolean": ("boolean",),
    "date": ("date",),
    "time": ("time",),
    "category": ("category",),
}


def _kind_of(kind: Any) -> ColumnType | None:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _kind_of(kind.value_type)
    tests: Iterator[tuple[Any, ColumnType]] = iter(
        (
            (pa.types.is_boolean, "boolean"),
            (pa.types.is_integer, "integer"),
            (pa.types.is_floating, "number"),
            (pa.types.is_decimal, "number"),
            (pa.types.is_string, "text"),
            (pa.types.is_large_string, "text"),
            (pa.types.is_date, "date"),
            (pa.types.is_timestamp, "time"),
        )
    )
    return next((name for test, name in tests if test(kind)), None)


def _difference(one: Sequence[Column], other: Sequence[Column]) -> str:
    left, right = {(column.name, column.type) for column in one}, {(column.name, column.type) for column in other}
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(left ^ right)[:SHOWN]) or "in another order"
