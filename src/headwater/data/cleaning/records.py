"""The records of a chunk: parsed, each with its place; those that cannot be read, each with the reason and place."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headwater.core.errors import BadInput, LimitExceeded
from headwater.data.cleaning.chunks import Chunk, Row
from headwater.data.cleaning.sources import printable

DIGEST_SIZE = 16
DEEPEST_SHOWN = 200


class Record(NamedTuple):
    """One document as it was read."""

    row: int
    id: str
    values: Row
    raw: bytes | None
    """Its line, where it came as JSON in UTF-8."""

    def line(self) -> bytes:
        """Return the record as one line of JSON."""
        return self.raw if self.raw is not None else dumped(self.values)

    def digest(self) -> bytes:
        """Return what tells this record from others, whatever its place in the input."""
        return hashlib.blake2b(self.line(), digest_size=DIGEST_SIZE).digest()


class Broken(NamedTuple):
    """A record that cannot be read."""

    row: int
    where: str
    what: str
    text: str


@dataclass(slots=True)
class Records:
    """All records of a chunk."""

    good: list[Record] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    encodings: Counter[str] = field(default_factory=Counter)


def dumped(values: Any) -> bytes:
    """Return a value as compact JSON in UTF-8."""
    return json.dumps(values, ensure_ascii=False, separators=(", ", ": "), default=str).encode()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_no_constant)


def read(chunk: Chunk, text: tuple[str, ...], id_field: str | None) -> Records:
    """Return a chunk's records. Fields named in `text` must hold text; where none is named, all fields count and become text."""
    records = Records()
    for row, where, values, raw in _rows(chunk, records):
        try:
            _check(values, text)
        except ValueError as error:
            records.broken.append(Broken(row, f"{where}, {error.args[0]}", error.args[1], _shown(raw or dumped(values))))
            continue
        named = values.get(id_field) if id_field else None
        identity = str(named) if isinstance(named, str | int) else f"{chunk.source}#{row}"
        records.good.append(Record(row, identity, values, raw))
    return records


def _check(values: Row, text: tuple[str, ...]) -> None:
    """Raise ValueError with the place and the fault of a field that is not text."""
    for name in text:
        value = values.get(name)
        if not isinstance(value, str):
            fault = "is missing" if name not in values else f"is {'null' if value is None else type(value).__name__}, not text"
            raise ValueError(f"column '{name}'", f"The column {fault}.")
    for name in text or values:
        value = values[name]
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"column '{name}'", f"Character {error.start} is half of a surrogate pair.") from None


def _rows(chunk: Chunk, records: Records) -> Iterator[tuple[int, str, Row, bytes | None]]:
    if chunk.data is not None:
        yield from _json_lines(chunk, records)
    elif chunk.group is not None:
        yield from _row_group(chunk, chunk.group)
    elif chunk.files:
        yield from _text_files(chunk, records)
    else:
        for place, (line, values) in enumerate(chunk.rows):
            yield chunk.first_row + place, f"{chunk.source}:{line}", values, None


def _json_lines(chunk: Chunk, records: Records) -> Iterator[tuple[int, str, Row, bytes | None]]:
    for place, line in enumerate((chunk.data or b"").split(b"\n")):
        line = line.strip()
        if not line:
            continue
        row, number = chunk.first_row + place, chunk.first_line + place
        where = f"{chunk.source}:{number}"
        try:
            text, encoding = decoded(line)
            values = DECODER.decode(text)
            if not isinstance(values, dict):
                raise ValueError("The line is JSON, but not an object")
        except json.JSONDecodeError as error:
            records.broken.append(Broken(row, f"{where}, column {error.colno}", f"This is not JSON: {error.msg}.", _shown(line)))
        except (ValueError, RecursionError) as error:
            records.broken.append(Broken(row, where, f"{str(error) or 'It is nested too deep'}.", _shown(line)))
        else:
            records.encodings[encoding] += 1
            yield row, where, values, line if encoding == "utf-8" else None


def decoded(data: bytes) -> tuple[str, str]:
    """Return text and its encoding: UTF-8, or else GB18030. Raises ValueError naming the byte that is neither."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError as not_utf8:
        try:
            return data.decode("gb18030"), "gb18030"
        except UnicodeDecodeError as error:
            raise ValueError(f"Byte {not_utf8.start} is not UTF-8, and byte {error.start} is not GB18030") from None


def _row_group(chunk: Chunk, group: tuple[Any, int, int]) -> Iterator[tuple[int, str, Row, bytes | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, number, largest = group
    row = chunk.first_row
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024, row_groups=[number]):
                if batch.nbytes > 16 * largest:
                    raise LimitExceeded(
                        f"Rows from {row} on unpack to {batch.nbytes >> 20} MiB.", "Raise the limit of a document.", where=chunk.source
                    )
                for values in batch.to_pylist():
                    yield row, f"{chunk.source}, row {row}", values, None
                    row += 1
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"The Parquet file cannot be read: {error}.", "It may be cut short: copy it again.", where=f"{chunk.source}, row {row}"
        ) from error


def _text_files(chunk: Chunk, records: Records) -> Iterator[tuple[int, str, Row, bytes | None]]:
    for place, path in enumerate(chunk.files):
        row = chunk.first_row + place
        inside = path.relative_to(chunk.folder) if chunk.folder and chunk.folder != path else path.name
        name = printable(str(inside))
        data = path.read_bytes()
        try:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise ValueError("The file is UTF-16")
            text, encoding = decoded(data.removeprefix(b"\xef\xbb\xbf"))
        except ValueError as error:
            records.broken.append(Broken(row, name, f"{error}.", _shown(data)))
            continue
        records.encodings[encoding] += 1
        yield row, name, {"id": name, "text": text}, None


def _shown(data: bytes) -> str:
    return data[:DEEPEST_SHOWN].decode("utf-8", "replace")
