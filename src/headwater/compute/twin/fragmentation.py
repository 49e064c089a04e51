"""How much of what is free the jobs of the trace could not use, over time.

A job of g units can use a node (or a site whose units are counted, not placed) when at least g units are free there, or
when all of it is free. Fragmentation is the share of free units where a job drawn from the trace could not go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from headwater.compute.scheduler.state import Floats, Ints, State


def fragmentation(free: Ints, size: Ints, job_units: Ints) -> float | None:
    """Return the share of the free units that a job drawn from `job_units` (sorted) could not use; None where nothing is free."""
    total = int(free.sum())
    if total == 0 or not len(job_units):
        return None
    larger = 1.0 - np.searchsorted(job_units, free, side="right") / len(job_units)
    return float((free * larger * (free < size)).sum() / total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Looks at a state from time to time; what it saw stays in `at_s` and `seen`, NaN where nothing was free."""

    job_units: Ints
    by_node: bool
    size: Ints
    at_s: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)

    def look(self, state: State, now_s: float) -> None:
        """Note the fragmentation of this moment."""
        up = state.sites.up == 1
        free = np.where(up, state.sites.free, 0)
        if self.by_node:
            free = np.where(np.repeat(up, state.sites.node_count), state.node_free, 0)
        found = fragmentation(free, self.size, self.job_units)
        self.at_s.append(now_s)
        self.seen.append(np.nan if found is None else found)

    def series(self) -> tuple[Floats, Floats]:
        return np.array(self.at_s), np.array(self.seen)


def sampler(state: State, *, by_node: bool) -> Sampler:
    """Return one for this state; `by_node` where the policy places on nodes and does not only count units."""
    size = state.node_free.copy() if by_node else state.sites.capacity.copy()
    return Sampler(job_units=np.sort(state.jobs.units), by_node=by_node, size=size)
