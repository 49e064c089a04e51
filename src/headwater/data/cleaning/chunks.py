"""Cut the input into chunks of a fixed size, whatever the number of workers: the unit of work, of memory and of going on later.

A chunk of lines carries its bytes, a chunk of CSV its rows; Parquet and text files are read by the worker itself.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, LimitExceeded
from headwater.data.cleaning.sources import MIB, Limits, Meter, Source

CHUNK = 4 * MIB
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a source. One of `data`, `rows`, `group` and `files` holds its documents."""

    number: int
    source: str
    first_row: int
    """Rows are counted from 0 in each source."""
    size: int
    """Bytes of input, unpacked."""
    data: bytes | None = None
    first_line: int = 1
    rows: tuple[tuple[int, Row], ...] = ()
    """Each with its line."""
    group: tuple[Path, int, int] | None = None
    """A Parquet file, a row group of it, and how many bytes a document may have."""
    files: tuple[Path, ...] = ()
    folder: Path | None = None


def cut(sources: Sequence[Source], limits: Limits) -> Iterator[Chunk]:
    """Give the chunks of all sources in order. Raises LimitExceeded and BadInput as soon as a source shows a reason."""
    meter = Meter(limits)
    number = 0
    for source in sources:
        pieces = {"jsonl": _lines, "csv": _csv, "parquet": _parquet, "text": _texts}[source.form](source, meter)
        for piece in pieces:
            yield Chunk(number=number, source=source.name, **piece)
            number += 1


def _lines(source: Source, meter: Meter) -> Iterator[dict[str, Any]]:
    kept = bytearray()
    line = 1
    first = True
    for block in meter.blocks(source):
        if first:
            _refuse_utf16(block, source)
            block = block.removeprefix(BOM)
            first = False
        kept += block
        if len(kept) < CHUNK:
            continue
        end = kept.rfind(b"\n") + 1
        if end == 0 and len(kept) > meter.limits.document_mib * MIB:
            raise LimitExceeded(
                f"This line has more than {meter.limits.document_mib} MiB, the limit of a document.",
                "One document stands on one line; raise the limit of a document if it is right.",
                where=f"{source.name}:{line}",
            )
        if end:
            data = bytes(kept[:end])
            yield {"data": data, "first_line": line, "first_row": line - 1, "size": len(data)}
            line += data.count(b"\n")
            del kept[:end]
    if kept:
        yield {"data": bytes(kept), "first_line": line, "first_row": line - 1, "size": len(kept)}


def _refuse_utf16(head: bytes, source: Source) -> None:
    if head[:2] in UTF16:
        raise BadInput("The file is UTF-16.", "Save it as UTF-8.", where=source.name)


def _csv(source: Source, meter: Meter) -> Iterator[dict[str, Any]]:
    encoding = _encoding(source, Meter(meter.limits))
    csv.field_size_limit(meter.limits.document_mib * MIB)
    reader = csv.reader(_text_lines(source, meter, encoding), strict=True)
    header: list[str] = []
    rows: list[tuple[int, Row]] = []
    size = row = before = first = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not cells:
                continue
            if not header:
                header = _header(cells, source)
                continue
            if len(cells) != len(header):
                raise BadInput(
                    f"The row has {len(cells)} cells, the header has {len(header)}.", "Look for a missing quote or comma.",
                    where=f"{source.name}:{line}",
                )  # fmt: skip
            rows.append((line, dict(zip(header, cells, strict=True))))
            row += 1
            size += sum(map(len, cells))
            if size >= CHUNK:
                yield {"rows": tuple(rows), "first_row": first, "size": size}
                rows, size, first = [], 0, row
    except csv.Error as error:
        raise BadInput(
            f"This is not valid CSV: {error}.", "Look for an unclosed quote here.", where=f"{source.name}:{before + 1}"
        ) from error
    if rows:
        yield {"rows": tuple(rows), "first_row": first, "size": size}


def _header(cells: list[str], source: Source) -> list[str]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice or not all(cell.strip() for cell in cells):
        what = f"The column '{twice[0]}' stands twice in the header." if twice else "A column has no name in the header."
        raise BadInput(what, "Name each column once.", where=f"{source.name}:1")
    return cells


def _encoding(source: Source, meter: Meter) -> str:
    """Return the encoding of a whole file: UTF-8 with or without a mark, else GB18030. Raises BadInput naming the bytes that do not fit."""
    wrong: list[int] = []
    for encoding in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        done = 0
        try:
            for block in Meter(meter.limits).blocks(source):
                if done == 0:
                    _refuse_utf16(block, source)
                decoder.decode(block)
                done += len(block)
            decoder.decode(b"", final=True)
            return encoding
        except UnicodeDecodeError as error:
            wrong.append(done + error.start)
    raise BadInput(f"Near byte {wrong[0]} it is not UTF-8, and near byte {wrong[1]} not GB18030.", "Save it as UTF-8.", where=source.name)


def _text_lines(source: Source, meter: Meter, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    kept = ""
    for block in meter.blocks(source):
        lines = (kept + decoder.decode(block)).split("\n")
        kept = lines.pop()
        for line in lines:
            yield line + "\n"
        if len(kept) > meter.limits.document_mib * MIB:
            raise LimitExceeded(f"A line has more than {meter.limits.document_mib} MiB.", "Look for a missing quote.", where=source.name)
    if kept:
        yield kept


def _parquet(source: Source, meter: Meter) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source.path) as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"The Parquet file cannot be read: {error}.", "It may be cut short: copy it again.", where=source.name) from error
    row = 0
    for number, (rows, size) in enumerate(sizes):
        meter.count(max(size, 0), source)
        yield {"group": (source.path, number, meter.limits.document_mib * MIB), "first_row": row, "size": max(size, 0)}
        row += rows


def _texts(source: Source, meter: Meter) -> Iterator[dict[str, Any]]:
    group: list[Path] = []
    size = row = 0
    for path in source.files:
        one = path.stat().st_size
        if one > meter.limits.document_mib * MIB:
            raise LimitExceeded(
                f"The file has {one / MIB:.0f} MiB; a document may have {meter.limits.document_mib}.", where=f"{source.name}/{path.name}"
            )
        meter.count(one, source)
        group.append(path)
        size += one
        if size >= CHUNK:
            yield {"files": tuple(group), "folder": source.path, "first_row": row, "size": size}
            row += len(group)
            group, size = [], 0
    if group:
        yield {"files": tuple(group), "folder": source.path, "first_row": row, "size": size}
