"""Go through every text of a file: JSON lines, CSV or Parquet; count what is found, and write the file anew where asked.

The source is never changed, and a new file appears under its name only once it is whole. Reports hold counts
and never a value.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from headwater.core.errors import BadInput
from headwater.data.privacy.actions import act, check_actions, fingerprint
from headwater.data.privacy.finding import find
from headwater.data.privacy.recogniser import ALL, Span
from headwater.data.table import PARQUET_MAGIC, read_table

REPORT_SCHEMA = "headwater.personal-data/1"
LINES_SUFFIXES = (".jsonl", ".ndjson")
Change = Callable[[str, str, int], str]
"""A text, its field and its row in, the text to put in its place out."""


@dataclass(slots=True)
class Counts:
    """What was found so far."""

    rows: int = 0
    rows_with_any: int = 0
    characters: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    last_row: int = -1

    def add(self, name: str, row: int, text: str, spans: Iterable[Span]) -> None:
        """Count one text."""
        self.characters += len(text)
        for span in spans:
            self.labels[span.label] += 1
            self.rules[span.label, span.rule] += 1
            self.fields[name, span.label] += 1
            self.rows_with_any += row != self.last_row
            self.last_row = row

    def report(self, **more: Any) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "schema": REPORT_SCHEMA,
            "rows": self.rows,
            "rows_with_personal_data": self.rows_with_any,
            "characters": self.characters,
            "labels": dict(sorted(self.labels.items())),
            "rules": _nested(self.rules),
            "fields": _nested(self.fields),
            **more,
        }


def _nested(counted: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(counted.items()):
        result.setdefault(outer, {})[inner] = count
    return result


def examine(
    source: Path, *, fields: Collection[str] = (), labels: Collection[str] = ALL, also: Iterable[str] = (), as_lines: bool | None = None
) -> dict[str, Any]:
    """Return a report of the personal data in a file. `fields` are those to look at; all texts where none is named."""
    counts, used = Counts(), tuple(also)

    def change(text: str, name: str, row: int) -> str:
        counts.add(name, row, text, find(text, labels, also=used))
        return text

    counts.rows = _pass(source, None, change, fields, as_lines)
    return counts.report()


def protect(
    source: Path,
    target: Path,
    actions: Mapping[str, str] | str,
    key: bytes = b"",
    *,
    fields: Collection[str] = (),
    also: Iterable[str] = (),
    as_lines: bool | None = None,
) -> dict[str, Any]:
    """Write a file anew with an action taken on each finding, and return the report. Raises BadInput before anything is written."""
    counts, used, chosen = Counts(), tuple(also), check_actions(actions)
    act("", (), chosen, key)

    def change(text: str, name: str, row: int) -> str:
        spans = find(text, also=used)
        counts.add(name, row, text, spans)
        return act(text, spans, chosen, key) if spans else text

    counts.rows = _pass(source, target, change, fields, as_lines)
    return counts.report(actions={label: str(action) for label, action in sorted(chosen.items())}, key=fingerprint(key))


def _pass(source: Path, target: Path | None, change: Change, fields: Collection[str], as_lines: bool | None) -> int:
    lines = as_lines if as_lines is not None else source.suffix in LINES_SUFFIXES or _begins_with_object(source)
    with _whole(target) as file:
        return _lines(source, file, change, fields) if lines else _table(source, file, change, fields)


def _begins_with_object(source: Path) -> bool:
    """Tell whether a file without a telling name begins as JSON lines do: an artifact has none."""
    with source.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


@contextlib.contextmanager
def _whole(target: Path | None) -> Iterator[IO[bytes] | None]:
    """Give a file that appears as `target` only when all went well."""
    if target is None:
        yield None
        return
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _lines(source: Path, target: IO[bytes] | None, change: Change, fields: Collection[str]) -> int:
    row = -1
    with source.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row += 1
            record = _record(line, f"{source.name}:{number}")
            changed = {name: _changed(value, name, row, change, fields, f"{source.name}:{number}") for name, value in record.items()}
            if absent := [name for name in fields if name not in record]:
                raise BadInput(
                    f"The line has no field '{absent[0]}'.", f"Fields: {', '.join(record)[:200]}.", where=f"{source.name}:{number}"
                )
            if target is not None:
                target.write(_dumped(changed) + b"\n")
    return row + 1


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"Byte {error.start} of the line is not UTF-8.", "Save the file as UTF-8.", where=where) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"This is not JSON: {error}.", "Each line must be one JSON object.", where=where) from error
    if not isinstance(found, dict):
        raise BadInput(f"This is a JSON {type(found).__name__}, not an object.", "Each line must be one JSON object.", where=where)
    return found


def _changed(value: Any, name: str, row: int, change: Change, fields: Collection[str], where: str) -> Any:
    if fields and name not in fields:
        return value
    if isinstance(value, str):
        return change(value, name, row)
    if fields:
        raise BadInput(f"The field '{name}' is no text.", "Name fields that hold text.", where=where)
    return value


def _dumped(record: Mapping[str, Any]) -> bytes:
    """Return a record as UTF-8; one with a lone surrogate, which UTF-8 cannot hold, with escapes as it came."""
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(record).encode()


def _table(source: Path, target: IO[bytes] | None, change: Change, fields: Collection[str]) -> int:
    table = read_table(source)
    if table.ragged:
        first = table.ragged[0]
        raise BadInput(f"A row has {first.reason}.", "Correct it.", where=f"{source.name}:{first.line}" if first.line else source.name)
    if absent := [name for name in fields if name not in table.names]:
        raise BadInput(f"There is no column '{absent[0]}'.", f"Columns: {', '.join(table.names)}.", where=source.name)
    wanted = [not fields or name in fields for name in table.names]
    rows = [
        tuple(
            change(cell, name, row) if chosen and cell is not None else cell
            for name, chosen, cell in zip(table.names, wanted, record, strict=True)
        )
        for row, record in enumerate(table.records)
    ]
    if target is not None:
        write_table(target, table.names, rows, parquet=table.form == "parquet")
    return len(rows)


def write_table(target: IO[bytes], names: Collection[str], rows: Iterable[tuple[str | None, ...]], *, parquet: bool) -> None:
    """Write rows of texts as CSV (UTF-8, a missing cell empty) or Parquet."""
    import io

    if parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        table = pa.table({name: pa.array(cells, pa.string()) for name, cells in zip(names, columns, strict=True)})
        pq.write_table(table, target, compression="zstd")
        return
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    text.detach()


def is_parquet(path: Path) -> bool:
    """Tell whether a file is Parquet."""
    with path.open("rb") as file:
        return file.read(4) == PARQUET_MAGIC
