"""The second pass: compare what is left of all parts, then write what stays and what goes, part by part.

Parts are Arrow files that are mapped, not read: only the columns that are looked at come into memory.
"""

from __future__ import annotations

import json
import shutil
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.core.errors import BadInput
from headwater.data.cleaning import duplicates
from headwater.data.cleaning.batch import Removal
from headwater.data.cleaning.duplicates import STAYS, Buckets
from headwater.data.cleaning.parts import EXAMPLES, Plan, packed, put, removed_line

EXACT, NEAR = "exact_duplicates", "near_duplicates"
NAMES = {"jsonl": "kept.jsonl.zst", "parquet": "kept.parquet"}
REMOVED = "removed.jsonl.zst"
COPY_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the comparison found; the verdict per record lies in `folder`."""

    folder: Path
    records: int
    exact: int = 0
    near: int = 0
    compared: int = 0
    """Pairs decided exactly."""


@lru_cache(maxsize=64)
def _mapped(path: str) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def _column(plan: Plan, parts: int, name: str, dtype: str) -> npt.NDArray[Any]:
    """Return one column of all parts as numbers, `dtype` being those of one value."""
    pieces = []
    for number in range(parts):
        for piece in _mapped(str(plan.file(number, "arrow"))).column(name).chunks:
            size = np.dtype(dtype).itemsize
            whole = np.frombuffer(piece.buffers()[1], dtype=np.uint8)[piece.offset * size : (piece.offset + len(piece)) * size]
            pieces.append(whole.view(dtype))
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=dtype)


def _bands(plan: Plan, parts: int, count: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Give the keys of all records, band by band."""
    for band in range(count):
        pieces = []
        for number in range(parts):
            for piece in _mapped(str(plan.file(number, "arrow"))).column("bands").chunks:
                keys = np.frombuffer(piece.buffers()[1], dtype=np.uint64).reshape(-1, count)
                pieces.append(keys[piece.offset : piece.offset + len(piece), band].copy())
        yield np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.uint64)


def _starts(plan: Plan, parts: int) -> list[int]:
    """Return the number of the first record of each part, and the count of all."""
    starts = [0]
    for number in range(parts):
        starts.append(starts[-1] + _mapped(str(plan.file(number, "arrow"))).num_rows)
    return starts


def _pairs_of_numbers(plan: Plan, parts: int, name: str) -> npt.NDArray[np.uint64]:
    whole = _column(plan, parts, name, "V16")
    return whole.view(">u8").astype(np.uint64).reshape(-1, 2)


def compare(plan: Plan, parts: int, progress: Callable[[float], None]) -> Compared:
    """Decide duplicates over all parts and leave the verdict per record in the work folder."""
    folder = plan.parts.parent / "verdicts"
    folder.mkdir(exist_ok=True)
    starts = _starts(plan, parts)
    count = starts[-1]
    partner, similarity = np.full(count, STAYS), np.zeros(count)
    near_ones = np.zeros(count, dtype=bool)
    compared = 0
    if plan.recipe.exact or plan.recipe.near:
        digests = _pairs_of_numbers(plan, parts, "digest")
    if plan.recipe.exact:
        found = duplicates.exact(_pairs_of_numbers(plan, parts, "hash"), digests)
        partner, similarity = found.partner, found.similarity
    exact_count = int((partner != STAYS).sum())
    if plan.recipe.near:
        near = plan.recipe.near
        rank = duplicates.ranked(_column(plan, parts, "length", "<i8"), digests, near.prefer)
        buckets = Buckets(_bands(plan, parts, near.bands), rank, partner == STAYS)
        found = duplicates.near(near, buckets, lambda record: text_of(plan, starts, record), count, progress)
        near_ones, compared = found.partner != STAYS, found.compared
        partner, similarity = np.where(near_ones, found.partner, partner), np.where(near_ones, found.similarity, similarity)
    np.save(folder / "partner.npy", partner)
    np.save(folder / "similarity.npy", similarity)
    np.save(folder / "near.npy", near_ones)
    np.save(folder / "starts.npy", np.array(starts, dtype=np.int64))
    return Compared(folder=folder, records=count, exact=exact_count, near=int(near_ones.sum()), compared=compared)


def text_of(plan: Plan, starts: list[int], record: int) -> bytes:
    """Return a record's text, as it was judged, in UTF-8."""
    part = bisect_right(starts, record) - 1
    line = _mapped(str(plan.file(part, "arrow"))).column("line")[record - starts[part]].as_py()
    values = json.loads(line)
    names = plan.recipe.text or tuple(values)
    return "\n".join("" if values[name] is None else str(values[name]) for name in names).encode()


def finish(plan: Plan, verdicts: Path, form: str, number: int) -> dict[str, Any]:
    """Write one part's share of the result: what stays, and the duplicates that go. Return its counts."""
    starts = np.load(verdicts / "starts.npy").tolist()
    begin, end = starts[number], starts[number + 1]
    partner = np.load(verdicts / "partner.npy", mmap_mode="r")[begin:end]
    similarity = np.load(verdicts / "similarity.npy", mmap_mode="r")[begin:end]
    near_ones = np.load(verdicts / "near.npy", mmap_mode="r")[begin:end]
    table = _mapped(str(plan.file(number, "arrow")))
    summary = json.loads(plan.file(number, "json").read_bytes())
    lines, rows, ids = table.column("line"), table.column("row"), table.column("id")
    stays = np.flatnonzero(partner == STAYS)
    _write_kept(plan, number, form, [lines[place].as_py() for place in stays.tolist()])
    gone: list[bytes] = []
    reasons: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for place in np.flatnonzero(partner != STAYS).tolist():
        stage = NEAR if near_ones[place] else EXACT
        limit = plan.recipe.near.jaccard if near_ones[place] and plan.recipe.near else None
        why = Removal(stage, "near" if near_ones[place] else "same", float(similarity[place]), limit)
        gone.append(
            removed_line(why, summary["source"], rows[place].as_py(), lines[place].as_py(), like=_id_of(plan, starts, int(partner[place])))
        )
        reasons[why.code] += 1
        examples.setdefault(why.code, []).append(ids[place].as_py())
    put(plan.file(number, "gone"), packed(b"".join(gone)))
    examples = {code: found[:EXAMPLES] for code, found in examples.items()}
    return {"number": number, "kept": len(stays), "reasons": dict(reasons), "examples": examples}


def _id_of(plan: Plan, starts: list[int], record: int) -> str:
    part = bisect_right(starts, record) - 1
    return str(_mapped(str(plan.file(part, "arrow"))).column("id")[record - starts[part]].as_py())


def _write_kept(plan: Plan, number: int, form: str, lines: list[bytes]) -> None:
    if form == "jsonl":
        put(plan.file(number, "kept"), packed(b"".join(line + b"\n" for line in lines)))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pylist([json.loads(line) for line in lines]) if lines else pa.table({})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BadInput(f"The records do not fit a table: {error}.", "Write JSON lines instead.") from error
    pq.write_table(table, f"{plan.file(number, 'kept')}.part")
    Path(f"{plan.file(number, 'kept')}.part").replace(plan.file(number, "kept"))


def assemble(plan: Plan, parts: int, form: str, result: Path) -> None:
    """Put the shares of all parts together, in the order of the input."""
    if form == "jsonl":
        _joined([plan.file(number, "kept") for number in range(parts)], result / NAMES[form])
    else:
        _joined_tables([plan.file(number, "kept") for number in range(parts)], result / NAMES[form])
    _joined([plan.file(number, ending) for number in range(parts) for ending in ("removed", "gone")], result / REMOVED)


def _joined(files: list[Path], target: Path) -> None:
    with target.open("wb") as whole:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, whole, COPY_BLOCK)


def _joined_tables(files: list[Path], target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [schema for file in files if len(schema := pq.read_schema(file))]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BadInput(f"The records do not fit one table: {error}.", "Write JSON lines instead.") from error
    with pq.ParquetWriter(target, schema) as writer:
        for file in files:
            table = pq.read_table(file)
            if table.num_rows:
                missing = [field for field in schema if field.name not in table.column_names]
                for field in missing:
                    table = table.append_column(field.name, pa.nulls(table.num_rows, field.type))
                writer.write_table(table.select(schema.names).cast(schema))


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """Give the records of a result's JSON lines."""
    import pyarrow as pa

    with pa.CompressedInputStream(pa.OSFile(str(file), "rb"), "zstd") as stream:
        kept = b""
        while block := bytes(stream.read(COPY_BLOCK)):
            *lines, kept = (kept + block).split(b"\n")
            yield from (json.loads(line) for line in lines if line)
    if kept.strip():
        yield json.loads(kept)
