"""Read a trace: the common Parquet schema, Standard Workload Format, a dump of Slurm's accounting, or a platform's own ledger.

Rows that cannot be replayed are counted and shown, never repaired: see `rows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.compute.twin.asks import NUMBERS, SILENT, Ask
from headwater.compute.twin.rows import RawJob, build_trace
from headwater.compute.twin.sacct import sacct_rows
from headwater.compute.twin.trace import FaultBook, Trace
from headwater.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED = ("job_id", "submit_s", "duration_s", "gpus")
USED = (*NEEDED, "cpus", "walltime_s", "wait_s", "tenant", "virtual_cluster")
ASKED = {
    "gpu_type": "chips", "gpu_memory_gib": "chip_memory_gib", "residency": "residency", "input_gib": "input_gib",
    "input_site": "input_site", "deadline_s": "deadline_s", "checkpoint_s": "checkpoint_s",
    "gpus_min": "least_units", "gpus_max": "most_units", "reference_chip": "reference", "bound": "bound",
}  # fmt: skip
"""The optional columns of what a job asks of a place, and the fields of `Ask` they fill."""
SWF_FIELDS = 18
PREFIX = "ledger:"

LISTS = ("chips", "residency")


def read_trace(path: Path) -> Trace:
    """Return the trace in a file, by its ending: .parquet, .swf, and anything else as a sacct dump; `ledger:FOLDER` is a platform's own.

    Raises NotFound for no such file, BadInput for one that is not what its ending says.
    """
    if str(path).startswith(PREFIX):
        from headwater.compute.history import read_history

        return read_history(Path(str(path).removeprefix(PREFIX)))
    if not path.is_file():
        raise NotFound(
            f"There is no trace '{path}'.", "Give a .parquet file of the common schema, a .swf file, a sacct dump, or ledger:FOLDER."
        )
    if path.suffix == ".parquet":
        return read_parquet(path)
    return read_swf(path) if path.suffix == ".swf" else read_sacct(path)


def read_parquet(path: Path) -> Trace:
    """Return the trace in a Parquet file of the common jobs schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        if missing := [name for name in NEEDED if name not in names]:
            raise BadInput(
                f"The columns {', '.join(missing)} are missing.", "The file must follow the common jobs schema.", where=str(path)
            )
        check_types(pq.read_schema(path), path)
        table = pq.read_table(path, columns=[name for name in (*USED, *ASKED) if name in names])
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"Not a Parquet file: {str(error)[:200]}.", "Give a file of the common jobs schema.", where=str(path)) from error
    return build_trace(path.stem.removesuffix("_jobs"), parquet_rows(table.to_pydict(), table.num_rows), FaultBook())


def check_types(schema: pa.Schema, path: Path) -> None:
    """Raise BadInput where an optional column holds another type than its own."""
    import pyarrow as pa

    def fits(name: str, kind: pa.DataType) -> bool:
        if ASKED[name] in LISTS:
            return is_list(kind) and is_text(kind.value_type)
        number = bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
        return number if ASKED[name] in NUMBERS else is_text(kind)

    def is_list(kind: pa.DataType) -> bool:
        return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))

    def is_text(kind: pa.DataType) -> bool:
        return bool(pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))

    kinds = {name: schema.field(name).type for name in ASKED if name in schema.names}
    wrong = [f"{name} ({kind})" for name, kind in kinds.items() if not pa.types.is_null(kind) and not fits(name, kind)]
    if wrong:
        raise BadInput(f"These columns hold another type: {', '.join(wrong)}.", "See docs/twin.md for what each holds.", where=str(path))


def parquet_rows(columns: dict[str, list[Any]], count: int) -> Iterator[RawJob]:
    """Yield the rows of the common jobs schema."""
    blank: list[Any] = [None] * count
    column = {name: columns.get(name, blank) for name in USED}
    asks = parquet_asks(columns, count)
    for row in range(count):
        yield RawJob(
            row=row + 1, job_id=str(column["job_id"][row]), submit_s=column["submit_s"][row], duration_s=column["duration_s"][row],
            accelerators=column["gpus"][row], cores=column["cpus"][row], walltime_s=column["walltime_s"][row], wait_s=column["wait_s"][row],
            tenant=column["tenant"][row], pool=column["virtual_cluster"][row], ask=next(asks),
        )  # fmt: skip


def parquet_asks(columns: dict[str, list[Any]], count: int) -> Iterator[Ask]:
    """Yield what each row asks; where a row says nothing, always the same silent ask."""
    there = {field: columns[name] for name, field in ASKED.items() if name in columns}
    for row in range(count):
        said = {field: values[row] for field, values in there.items() if values[row] is not None}
        lists = {field: tuple(said[field]) for field in LISTS if field in said}
        yield Ask(**said | lists) if said else SILENT


def read_swf(path: Path) -> Trace:
    """Return the trace in a Standard Workload Format file (Feitelson, version 2.2: 18 fields, -1 = not known)."""
    book = FaultBook()
    return build_trace(path.stem, swf_rows(path.read_text("utf-8", errors="replace"), book), book)


def swf_rows(text: str, book: FaultBook) -> Iterator[RawJob]:
    """Yield the jobs of an SWF text. Requested processors count, or those used where none were requested."""
    row = 0
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        row += 1
        try:
            field = [float(word) for word in line.split()]
        except ValueError:
            book.note("malformed", row, line.strip()[:80])
            continue
        if len(field) != SWF_FIELDS:
            book.note("malformed", row, f"{len(field)} fields of {SWF_FIELDS}")
            continue
        known = [None if value == -1 else value for value in field]
        yield RawJob(
            row=row, job_id=f"{field[0]:.0f}", submit_s=known[1], wait_s=known[2], duration_s=known[3],
            accelerators=None, cores=known[7] if known[7] is not None else known[4], walltime_s=known[8],
            tenant=None if known[11] is None else f"{known[11]:.0f}", label=None if known[13] is None else f"{known[13]:.0f}",
        )  # fmt: skip


def read_sacct(path: Path) -> Trace:
    """Return the trace in a dump made with `sacct --parsable2`. Its origin is the first submission."""
    book = FaultBook()
    return build_trace(path.stem, sacct_rows(path.read_text("utf-8", errors="replace"), str(path), book), book)
