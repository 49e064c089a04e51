"""From raw rows of any source to a trace: every check in one place, so that all readers refuse the same things."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from headwater.compute.twin.asks import SILENT, Ask, asks_of, fault_in_ask
from headwater.compute.twin.trace import FaultBook, Trace

CLOCK_SLACK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawJob:
    """One row as its source gives it; None where the source does not say. Times in seconds on the source's clock."""

    row: int
    job_id: str
    submit_s: float | None
    duration_s: float | None
    accelerators: float | None
    cores: float | None
    start_s: float | None = None
    end_s: float | None = None
    walltime_s: float | None = None
    wait_s: float | None = None
    tenant: str | None = None
    pool: str | None = None
    label: str | None = None
    ask: Ask = SILENT


def fault_in(job: RawJob, units: float | None) -> tuple[str, object] | None:
    """Return what keeps this row from being replayed, with the value, or None."""
    if job.submit_s is None:
        return "no_submit_time", job.job_id
    if job.submit_s < 0:
        return "negative_submit", job.submit_s
    if job.start_s is not None and job.start_s < job.submit_s:
        return "starts_before_submit", f"start {job.start_s:g}, submission {job.submit_s:g}"
    if job.start_s is not None and job.end_s is not None and job.end_s < job.start_s:
        return "ends_before_start", f"end {job.end_s:g}, start {job.start_s:g}"
    if job.duration_s is None or math.isnan(job.duration_s):
        return "unknown_duration", job.job_id
    if job.duration_s < 0:
        return "negative_duration", job.duration_s
    if job.duration_s == 0:
        return "no_run_time", job.job_id
    if job.start_s is not None and job.end_s is not None and abs(job.end_s - job.start_s - job.duration_s) > CLOCK_SLACK_S:
        return "elapsed_disagrees", f"run time {job.duration_s:g}, start to end {job.end_s - job.start_s:g}"
    if (found := fault_in_units(job, units)) is not None:
        return found
    return None if job.ask is SILENT else fault_in_ask(job.ask, job.submit_s, units or 0.0)


def fault_in_units(job: RawJob, units: float | None) -> tuple[str, object] | None:
    if units is None or units <= 0 or math.isnan(units):
        return "no_units", job.job_id
    if units != int(units):
        return "fractional_units", f"{units:g} accelerators"
    return None


def runs_overlap(one: RawJob, other: RawJob) -> bool:
    """Return whether both rows say when they ran, and those times overlap."""
    if one.start_s is None or one.end_s is None or other.start_s is None or other.end_s is None:
        return False
    return one.start_s < other.end_s and other.start_s < one.end_s


def build_trace(name: str, rows: Iterable[RawJob], book: FaultBook) -> Trace:
    """Return the rows that can be replayed, sorted by submission; the rest is counted in the book.

    Accelerators are counted where any row asks for one, else cores: the two never mix in one pool.
    """
    raw = list(rows)
    accelerators = any((job.accelerators or 0) > 0 for job in raw)
    kept: list[tuple[RawJob, int]] = []
    seen: dict[str, RawJob] = {}
    latest = -math.inf
    for job in raw:
        units = job.accelerators if accelerators else job.cores
        if job.submit_s is not None and job.submit_s < latest:
            book.note("unsorted", job.row, f"{job.submit_s:g} after {latest:g}")
        latest = max(latest, job.submit_s if job.submit_s is not None else latest)
        if (found := fault_in(job, units)) is not None:
            book.note(found[0], job.row, found[1])
        elif job.job_id in seen:
            book.note("overlapping" if runs_overlap(job, seen[job.job_id]) else "duplicate_id", job.row, job.job_id)
        else:
            seen[job.job_id] = job
            kept.append((job, int(units or 0)))
    kept.sort(key=lambda pair: pair[0].submit_s or 0.0)
    return assemble(name, kept, len(raw), book)


def assemble(name: str, kept: list[tuple[RawJob, int]], rows_read: int, book: FaultBook) -> Trace:
    def numbers(values: Iterable[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([np.nan if value is None else value for value in values], np.float64)

    def texts(values: Iterable[str | None]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        made = np.empty(len(kept), object)
        made[:] = list(values)
        return made

    jobs = [job for job, _ in kept]
    return Trace(
        name=name,
        job_id=texts(j.job_id for j in jobs),
        submit_s=numbers(j.submit_s for j in jobs),
        duration_s=numbers(j.duration_s for j in jobs),
        units=np.array([units for _, units in kept], np.int64),
        walltime_s=numbers(j.walltime_s for j in jobs),
        wait_s=numbers(j.wait_s for j in jobs),
        tenant=texts(j.tenant for j in jobs),
        pool=texts(j.pool for j in jobs),
        label=texts(j.label for j in jobs),
        rows_read=rows_read,
        asks=asks_of([j.ask for j in jobs]),
        faults=book.faults(),
    )
