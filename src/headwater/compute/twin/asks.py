"""What the jobs of a trace ask of a place: chips, memory, residency, data, deadline, checkpoints, an elastic range.

Every column may be silent, row by row: None or NaN means that the source does not say, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from headwater.compute.scheduler.shapes import Bound
from headwater.compute.scheduler.state import Floats, Ints

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one job asks, as its row says it."""

    chips: tuple[str, ...] | None = None
    """Chips that may serve it: `vendor`, `vendor/model` or `vendor/model/variant`, or a node list's own names. None: any."""
    chip_memory_gib: float | None = None
    """Memory that each accelerator must have."""
    residency: tuple[str, ...] | None = None
    """Tags that the site must all carry."""
    input_gib: float | None = None
    input_site: str | None = None
    deadline_s: float | None = None
    """When it must have ended, in seconds from the trace's origin."""
    checkpoint_s: float | None = None
    """Seconds of work between checkpoints."""
    least_units: float | None = None
    most_units: float | None = None
    reference: str | None = None
    """The chip on which the run time holds. None: a pool of speed 1."""
    bound: str | None = None
    """What holds the job up on a chip: compute, memory or collective."""


SILENT = Ask()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """The columns of all jobs' asks; the meaning of each is `Ask`'s. Ranges are NaN for rigid jobs."""

    chips: Texts
    chip_memory_gib: Floats
    residency: Texts
    input_gib: Floats
    input_site: Texts
    deadline_s: Floats
    checkpoint_s: Floats
    least_units: Floats
    most_units: Floats
    reference: Texts
    bound: Texts

    def pick(self, rows: Ints) -> Asks:
        """Return the asks of these rows."""
        return Asks(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


BOUNDS = frozenset(get_args(Bound))
NUMBERS = ("chip_memory_gib", "input_gib", "deadline_s", "checkpoint_s", "least_units", "most_units")


def asks_of(rows: Sequence[Ask]) -> Asks:
    """Return the columns of these rows."""
    columns: dict[str, Any] = {field.name: _column(field.name, [getattr(row, field.name) for row in rows]) for field in fields(Ask)}
    return Asks(**columns)


def silent(count: int) -> Asks:
    """Return columns in which nothing is said."""
    return asks_of([SILENT] * count)


def _column(name: str, values: Sequence[object]) -> npt.NDArray[np.float64] | Texts:
    if name in NUMBERS:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    made = np.empty(len(values), object)
    made[:] = values
    return made


def fault_in_ask(ask: Ask, submit_s: float, units: float) -> tuple[str, object] | None:
    """Return what makes the ask impossible, with the value, or None."""
    for name in NUMBERS:
        if (value := getattr(ask, name)) is not None and (value < 0 or math.isnan(value)):
            return "negative_ask", f"{name} {value:g}"
    if ask.chips == ():
        return "no_chip", "an empty list of chips"
    if ask.bound is not None and ask.bound not in BOUNDS:
        return "unknown_bound", ask.bound
    if (ask.input_gib or 0) > 0 and ask.input_site is None:
        return "input_nowhere", f"{ask.input_gib:g} GiB of input at no site"
    if ask.deadline_s is not None and ask.deadline_s <= submit_s:
        return "late_at_submission", f"deadline {ask.deadline_s:g}, submission {submit_s:g}"
    if ask.checkpoint_s == 0:
        return "negative_ask", "a checkpoint every 0 s"
    return _fault_in_range(ask, units)


def _fault_in_range(ask: Ask, units: float) -> tuple[str, object] | None:
    least, most = (units if bound is None else bound for bound in (ask.least_units, ask.most_units))
    if least <= units <= most and least >= 1 and least == int(least) and most == int(most):
        return None
    return "impossible_range", f"{units:g} units in a range of {least:g} to {most:g}"
