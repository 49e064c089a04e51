"""Write a data set: typed parts, what was set aside, its card, signature, quality record and Croissant description.

The same input gives the same bytes, so that a data set's digest names its content.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.store import digest_of_file
from headwater.core.tabular import SIGNATURE_FILE, Signature
from headwater.data import croissant
from headwater.data.card import Card
from headwater.data.split import PARTS, Part
from headwater.data.table import RawTable, Rejection
from headwater.data.validate import Checked

if TYPE_CHECKING:
    import polars as pl


def write_dataset(folder: Path, card: Card, table: RawTable, checked: Checked, parts: Sequence[Part]) -> dict[str, Any]:
    """Write every file of the data set into a new folder and return the quality record."""
    import polars as pl

    folder.mkdir(parents=True)
    files: dict[str, croissant.File] = {}
    for part in PARTS:
        rows = checked.frame.filter(pl.Series(one == part for one in parts))
        files[part] = _write_part(folder / f"{part}.parquet", rows)
    _write_parquet(folder / "rejected.parquet", _rejections(checked.rejected))
    quality = quality_of(card, table, checked, parts)
    _write_json(folder / "card.json", card.as_json())
    _write_json(folder / SIGNATURE_FILE, with_examples(card.signature(), checked.frame).model_dump(mode="json"))
    _write_json(folder / "quality.json", quality)
    _write_json(folder / "croissant.json", croissant.describe(card, files, rejected_rows=checked.rejected_rows))
    return quality


def with_examples(signature: Signature, rows: pl.DataFrame) -> Signature:
    """Return the signature with a typical value for each column: the most frequent category, or the lower median. Nobody's own row."""
    columns = [column.model_copy(update={"example": _typical(rows[column.name], column.type)}) for column in signature.columns]
    return signature.model_copy(update={"columns": tuple(columns)})


def _typical(values: pl.Series, kind: str) -> Any:
    known = values.drop_nulls().sort()
    if known.is_empty():
        return None
    return known.mode().sort()[0] if kind == "category" else known[(len(known) - 1) // 2]


def quality_of(card: Card, table: RawTable, checked: Checked, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what was read, kept and set aside, and what each column holds."""
    target = checked.frame[card.target.name].to_list()
    labels = Counter(zip(parts, target, strict=True))
    return {
        "source": {
            "form": table.form,
            "encoding": table.encoding,
            "rows": table.source_rows,
            "columns": len(table.names),
            "blank_lines": table.blank_lines,
        },
        "kept_rows": checked.frame.height,
        "rejected_rows": checked.rejected_rows,
        "rejected_by_reason": dict(sorted(Counter(one.reason for one in checked.rejected if one.column).items())),
        "rejected_by_column": dict(sorted(Counter(one.column for one in checked.rejected if one.column).items())),
        "rejected_whole_rows": {
            "ragged": len(table.ragged),
            "duplicates": sum(one.column is None for one in checked.rejected) - len(table.ragged),
        },
        "parts": {
            part: {
                "rows": sum(one == part for one in parts),
                "classes": {str(label): labels[part, label] for label in card.target.allowed},
            }
            for part in PARTS
        },
        "columns": {column.name: _profile(checked.frame[column.name]) for column in card.columns},
    }


def _profile(values: pl.Series) -> dict[str, Any]:
    facts: dict[str, Any] = {"missing": values.null_count(), "distinct": values.n_unique()}
    if values.dtype.is_numeric() and values.len() > values.null_count():
        facts |= {"minimum": values.min(), "maximum": values.max()}
    return facts


def _rejections(rejected: Sequence[Rejection]) -> pl.DataFrame:
    import polars as pl

    rows = [asdict(one) | {"record": json.dumps(one.record, ensure_ascii=False)} for one in rejected]
    schema = {"row": pl.Int64, "line": pl.Int64, "column": pl.String, "reason": pl.String, "text": pl.String, "record": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _write_part(path: Path, rows: pl.DataFrame) -> croissant.File:
    _write_parquet(path, rows)
    return croissant.File(name=path.name, sha256=digest_of_file(path).removeprefix("sha256:"), size=path.stat().st_size, rows=rows.height)


def _write_parquet(path: Path, rows: pl.DataFrame) -> None:
    """Write in the source's order with PyArrow, which puts nothing of the moment or the machine into the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = rows.to_arrow(compat_level=_oldest_layout()).replace_schema_metadata(None)
    narrow = plain.cast(pa.schema([pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in plain.schema]))
    pq.write_table(narrow, path, compression="zstd", store_schema=False)


def _oldest_layout() -> Any:
    import polars as pl

    return pl.CompatLevel.oldest()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
