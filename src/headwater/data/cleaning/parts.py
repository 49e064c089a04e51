"""The first pass over one chunk: read, edit, judge; leave what stays and what does not in the work folder.

A part is three files: `N.arrow` (records that stay, with what duplicates are found by), `N.removed` (zstd JSON lines), and, last,
`N.json` (counts). A part whose `N.json` is there is whole: that is what a run that was stopped goes on from.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import BadFile, Problem, Unavailable
from headwater.data.cleaning import minhash_kernel, records
from headwater.data.cleaning.batch import Batch, Removal, Texts
from headwater.data.cleaning.characters import lower
from headwater.data.cleaning.chunks import Chunk
from headwater.data.cleaning.recipe import Recipe
from headwater.data.cleaning.records import Record, Records
from headwater.data.cleaning.stages import NearDuplicates

LEVEL = 3
EXAMPLES = 3
PERMUTATION_SEED = 20231123
MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every worker is told."""

    recipe: Recipe
    parts: Path

    def file(self, number: int, ending: str) -> Path:
        """Return the path of one of a part's files."""
        return self.parts / f"{number:08d}.{ending}"


def process(plan: Plan, chunk: Chunk) -> dict[str, Any]:
    """Do the first pass over a chunk and return its counts. Raises BadFile where records are broken and that is refused."""
    recipe = plan.recipe
    found = records.read(chunk, recipe.text, recipe.id)
    if not recipe.text:
        _set_aside_strange(chunk, found)
    if found.broken and not recipe.set_aside:
        listed = [Problem(where=one.where, what=one.what) for one in found.broken[:MOST_PROBLEMS]]
        raise BadFile(listed, "input")
    batch = _batch(found.good, recipe.text)
    stages = _apply(recipe, batch)
    with writing(plan.parts):
        _write_kept(plan, chunk, found.good, batch)
        removed = _write_removed(plan, chunk, found, batch)
        summary = {
            "number": chunk.number,
            "source": chunk.source,
            "bytes": chunk.size,
            "read": len(found.good) + len(found.broken),
            "characters": sum(len(str(one.values[name])) for one in found.good for name in recipe.text),
            "broken": len(found.broken),
            "encodings": dict(found.encodings),
            "stages": stages,
            "kept": len(batch),
            **removed,
        }
        put(plan.file(chunk.number, "json"), json.dumps(summary, ensure_ascii=False).encode())
    return summary


def _set_aside_strange(chunk: Chunk, found: Records) -> None:
    """Of a table's rows keep those with the first one's columns."""
    if not found.good:
        return
    columns = list(found.good[0].values)
    strange = [one for one in found.good if list(one.values) != columns]
    found.good = [one for one in found.good if list(one.values) == columns]
    for one in strange:
        what = f"The columns are {', '.join(one.values)}; before they were {', '.join(columns)}."
        found.broken.append(records.Broken(one.row, f"{chunk.source}, row {one.row}", what, one.line()[:200].decode("utf-8", "replace")))


def _batch(good: Sequence[Record], names: tuple[str, ...]) -> Batch:
    columns = names or (tuple(good[0].values) if good else ("text",))
    texts = [_text(one.values[name]) for one in good for name in columns]
    return Batch(fields=Texts.of(texts), width=len(columns), places=np.arange(len(good)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _apply(recipe: Recipe, batch: Batch) -> list[dict[str, Any]]:
    told = []
    for stage in (*recipe.edits, *recipe.judges):
        before, characters = len(batch), len(batch.fields.points)
        changed = stage.apply(batch) if before else 0
        after = len(batch.fields.points)
        told.append({"stage": stage.name, "in": before, "out": len(batch), "changed": changed, "characters": characters - after})
    return told


def permutations(near: NearDuplicates) -> tuple[Any, Any]:
    """Return the factors and shifts of the MinHash permutations: always the same."""
    random = np.random.default_rng(PERMUTATION_SEED)
    count = near.bands * near.rows
    factors = random.integers(0, 1 << 32, count, dtype=np.uint32) | np.uint32(1)
    return factors, random.integers(0, 1 << 32, count, dtype=np.uint32)


def bands_of(texts: Texts, near: NearDuplicates) -> Any:
    """Return each text's band keys."""
    keys = np.zeros((len(texts.offsets) - 1, near.bands), dtype=np.uint64)
    factors, shifts = permutations(near)
    minhash_kernel.band_keys(texts.points, texts.offsets, lower(), factors, shifts, near.rows, keys)
    return keys


def _write_kept(plan: Plan, chunk: Chunk, good: Sequence[Record], batch: Batch) -> None:
    import pyarrow as pa

    kept = [good[place] for place in batch.places.tolist()]
    strings = batch.fields.strings()
    columns = {
        "row": _fixed([one.row.to_bytes(8, "little") for one in kept], pa.int64()),
        "id": _various([one.id.encode() for one in kept], pa.large_string()),
        "digest": _fixed([one.digest() for one in kept], pa.binary(records.DIGEST_SIZE)),
        "line": _various(_lines(kept, plan.recipe, strings), pa.large_binary()),
    }
    if plan.recipe.exact or plan.recipe.near:
        texts = batch.texts
        judged = strings if batch.width == 1 else texts.strings()
        hashes = [hashlib.blake2b(text.strip().encode(), digest_size=records.DIGEST_SIZE).digest() for text in judged]
        columns["hash"] = _fixed(hashes, pa.binary(records.DIGEST_SIZE))
        columns["length"] = _fixed([texts.lengths().tobytes()], pa.int64(), len(kept))
    if plan.recipe.near:
        keys = bands_of(batch.texts, plan.recipe.near)
        columns["bands"] = _fixed([keys.tobytes()], pa.binary(8 * plan.recipe.near.bands), len(kept))
    table = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    path = plan.file(chunk.number, "arrow")
    with pa.OSFile(f"{path}.part", "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table)
    os.replace(f"{path}.part", path)


def _fixed(values: Sequence[bytes], kind: Any, count: int | None = None) -> Any:
    """Return an Arrow array of values of one size. From their bytes, because Arrow loads pandas to look at a list."""
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(values) if count is None else count, [None, pa.py_buffer(b"".join(values))])


def _various(values: Sequence[bytes], kind: Any) -> Any:
    """Return an Arrow array of values of any size."""
    import pyarrow as pa

    ends = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([len(one) for one in values], out=ends[1:])
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(values))])


def _lines(kept: Sequence[Record], recipe: Recipe, strings: Sequence[str]) -> list[bytes]:
    """Return the records as they are after the edits; one that no edit touched keeps its bytes."""
    lines = []
    for place, one in enumerate(kept):
        columns = recipe.text or tuple(one.values)
        after = strings[place * len(columns) : (place + 1) * len(columns)]
        new = {name: text for name, text in zip(columns, after, strict=True) if _text(one.values[name]) != text}
        lines.append(records.dumped(one.values | new) if new else one.line())
    return lines


def _write_removed(plan: Plan, chunk: Chunk, found: Records, batch: Batch) -> dict[str, Any]:
    """Write what was removed with its reasons; return counts and examples by reason."""
    reasons: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    lines = []
    for place, why in sorted(batch.removed.items()):
        one = found.good[place]
        reasons[why.code] += 1
        examples.setdefault(why.code, []).append(one.id)
        lines.append(removed_line(why, chunk.source, one.row, one.line()))
    for broken in found.broken:
        reasons["read.broken"] += 1
        examples.setdefault("read.broken", []).append(broken.where)
        told = {
            "stage": "read",
            "code": "read.broken",
            "what": broken.what,
            "where": broken.where,
            "source": chunk.source,
            "row": broken.row,
        }
        lines.append(records.dumped({"removed": told, "text": broken.text}) + b"\n")
    put(plan.file(chunk.number, "removed"), packed(b"".join(lines)))
    return {"reasons": dict(reasons), "examples": {code: ids[:EXAMPLES] for code, ids in examples.items()}}


def removed_line(why: Removal, source: str, row: int, line: bytes, **more: Any) -> bytes:
    """Return the line that says why a record was removed, and the record."""
    told = {"stage": why.stage, "code": why.code, "figure": _finite(why.figure), "limit": _finite(why.limit), "source": source, "row": row}
    return b'{"removed": ' + records.dumped(told | more) + b', "document": ' + line + b"}\n"


def _finite(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def packed(data: bytes) -> bytes:
    """Return bytes as one zstd frame; frames one after the other are a file again."""
    import pyarrow as pa

    return bytes(pa.Codec("zstd", compression_level=LEVEL).compress(data, asbytes=True)) if data else b""


def put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full disk into an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise Unavailable(
            f"The disk is full: {error.strerror}.",
            "Nothing of the result was written. Free some space and give the same command: it goes on where it stopped.",
            where=str(folder),
        ) from error
