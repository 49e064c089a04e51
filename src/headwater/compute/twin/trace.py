"""A workload as the twin replays it, and what was wrong in the file it came from.

Nothing here repairs a row. A row that cannot be replayed is left out, counted under its fault and shown as an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from headwater.compute.scheduler.state import Floats, Ints
from headwater.compute.twin.asks import Asks, Texts, silent

EXAMPLES = 3

FAULTS = {
    "malformed": "a field is missing or is no number",
    "no_submit_time": "no submission time is given",
    "negative_submit": "the submission time is before the origin of the trace",
    "unknown_duration": "the run time is not known (still waiting, running, or not said)",
    "negative_duration": "the run time is negative",
    "no_run_time": "the job ran for no time at all",
    "no_units": "none of the units that this replay counts is asked",
    "fractional_units": "a share of one accelerator, which queue replay does not model",
    "duplicate_id": "the id occurs in a row above",
    "overlapping": "the id occurs in a row above, and the two runs overlap in time",
    "ends_before_start": "the end is before the start",
    "starts_before_submit": "the start is before the submission",
    "elapsed_disagrees": "the run time and the time from start to end differ by more than 2 s",
    "negative_ask": "a memory, size, time or count that is asked is below zero",
    "no_chip": "no chip may serve the job",
    "unknown_bound": "what holds the job up is none of compute, memory and collective",
    "input_nowhere": "the input has a size and no place",
    "late_at_submission": "the deadline is not after the submission",
    "impossible_range": "the elastic range is not whole units around what is asked",
    "unsorted": "submitted before the row above it (kept, and sorted by submission)",
}
KEPT = frozenset({"unsorted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault: how many rows, and the first few."""

    code: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.count} x {self.code}: {FAULTS[self.code]}; e.g. {'; '.join(self.examples)}"


class FaultBook:
    """Counts faults row by row while a trace is read."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}
        self._count: dict[str, int] = {}

    def note(self, code: str, row: int, what: object) -> None:
        """Count a fault in a row (1 = the first row of data)."""
        self._count[code] = self._count.get(code, 0) + 1
        if len(examples := self._found.setdefault(code, [])) < EXAMPLES:
            examples.append(f"row {row}: {what}")

    def faults(self) -> tuple[Fault, ...]:
        return tuple(Fault(code=code, count=self._count[code], examples=tuple(self._found[code])) for code in sorted(self._count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Jobs sorted by submission; times in seconds from the trace's origin, units whole accelerators or cores."""

    name: str
    job_id: Texts
    submit_s: Floats
    duration_s: Floats
    units: Ints
    walltime_s: Floats
    """The user's own limit, NaN where none is known."""
    wait_s: Floats
    """The wait that the real system recorded, NaN where it did not."""
    tenant: Texts
    pool: Texts
    label: Texts
    """The job's name or model, None where not said; used only to find like jobs."""
    rows_read: int
    asks: Asks
    faults: tuple[Fault, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.submit_s)

    @property
    def work_unit_s(self) -> float:
        """Unit-seconds that all jobs need."""
        return float((self.duration_s * self.units).sum())

    def first(self, count: int) -> Trace:
        """Return the first `count` jobs."""
        return self.pick(np.arange(min(count, len(self))))

    def pick(self, rows: Ints) -> Trace:
        """Return the jobs in these rows."""
        columns = ("job_id", "submit_s", "duration_s", "units", "walltime_s", "wait_s", "tenant", "pool", "label")
        return replace(self, asks=self.asks.pick(rows), **{name: getattr(self, name)[rows] for name in columns})


def trace_of(
    name: str, submit_s: Floats, duration_s: Floats, units: Ints, pool: Sequence[str | None] | None = None, asks: Asks | None = None
) -> Trace:
    """Return a trace from bare columns, for generated workloads and tests; rows must be sorted by submission."""
    count = len(submit_s)
    blank = np.full(count, None, object)
    return Trace(
        name=name,
        job_id=np.array([str(i) for i in range(count)], object),
        submit_s=submit_s.astype(np.float64),
        duration_s=duration_s.astype(np.float64),
        units=units.astype(np.int64),
        walltime_s=np.full(count, np.nan),
        wait_s=np.full(count, np.nan),
        tenant=blank,
        pool=blank if pool is None else np.array(pool, object),
        label=blank,
        rows_read=count,
        asks=silent(count) if asks is None else asks,
    )
