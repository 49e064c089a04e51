"""Which pools may serve which jobs of a trace, how fast, and over which links their inputs would come.

Jobs that ask alike are one class, so that a trace of a million jobs has a handful of rows here. The rules are the scheduler's
(`scheduler/matching.py`); here the trace's columns are put into its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.compute.scheduler.matching import ALLOWED, FORBIDS, matrix
from headwater.compute.scheduler.shapes import Needs, SiteShape
from headwater.compute.scheduler.state import Floats, Ints, Table
from headwater.compute.twin.asks import Asks

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Every job's class, and the scheduler's matrix of classes by rows."""

    klass: Ints
    matrix: Table

    @property
    def may(self) -> Flags:
        """[class, row]: whether the row may serve the class."""
        return np.asarray(self.matrix.rule == ALLOWED)

    @property
    def speed(self) -> Floats:
        """[class, row]: relative to the chip that the class's run times hold for; 0 where it may not run."""
        return np.asarray(self.matrix.speed, np.float64)

    @property
    def away(self) -> Flags:
        """[class, row]: whether the input would come from another site."""
        return np.asarray(self.matrix.stage_s_per_gib > 0)

    def nowhere(self) -> list[tuple[int, str]]:
        """Return for each class that no row may serve how many jobs it has, and the rules that forbid it."""
        counts = np.bincount(self.klass, minlength=len(self.matrix))
        found = []
        for row in np.flatnonzero(~self.may.any(axis=1)):
            rules = sorted({int(rule) for rule in self.matrix.rule[row]})
            found.append((int(counts[row]), "; ".join(FORBIDS[rule] for rule in rules)))
        return found


def classes_of(asks: Asks, sites: Sequence[SiteShape]) -> tuple[Ints, tuple[Needs, ...]]:
    """Return every job's class, and the classes: jobs of one ask for the same chips, memory, residency and place.

    What none of the sites states is not asked of them: a bare count of units says nothing of chips or places.
    """
    columns = _checkable(asks, sites)
    known: dict[tuple[object, ...], int] = {}
    classes: list[Needs] = []
    klass = np.empty(len(asks.chips), np.int64)
    for job, (chips, memory, residency, place, reference, bound) in enumerate(zip(*columns, strict=True)):
        memory_gib = 0.0 if memory != memory else float(memory)  # NaN: not said
        key = (chips, memory_gib, residency, place, reference, bound)
        if (number := known.setdefault(key, len(known))) == len(classes):
            classes.append(
                Needs(
                    chips=chips or (), memory_gib=memory_gib, residency=frozenset(residency or ()), data_at=place,
                    reference=reference, bound=bound,
                )
            )  # fmt: skip
        klass[job] = number
    return klass, tuple(classes)


def _checkable(asks: Asks, sites: Sequence[SiteShape]) -> tuple[Any, ...]:
    count = len(asks.chips)
    blank: list[None] = [None] * count
    with_chips = any(site.chip is not None for site in sites)
    return (
        asks.chips if with_chips else blank,
        asks.chip_memory_gib if any(site.memory_gib is not None for site in sites) else [np.nan] * count,
        asks.residency if any(site.residency for site in sites) else blank,
        asks.input_site if any(site.inbound for site in sites) else blank,
        asks.reference if with_chips else blank,
        asks.bound if with_chips else blank,
    )


def served(asks: Asks, sites: Sequence[SiteShape]) -> Served:
    """Return how these rows may serve jobs that ask this."""
    klass, classes = classes_of(asks, sites)
    return Served(klass=klass, matrix=matrix(classes, sites))
