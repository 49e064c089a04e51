"""Sites that an accounting dump implies: each partition as large as it ever was at once, and all of them together."""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.state import Floats, Ints
from headwater.compute.twin.sites import Federation, TwinSite
from headwater.compute.twin.trace import Trace
from headwater.core.errors import BadInput


def most_at_once(from_s: Floats, to_s: Floats, units: Ints) -> int:
    """Return the most units that were held at one moment; an end frees before a start at the same moment takes."""
    moments = np.concatenate([from_s, to_s])
    changes = np.concatenate([units, -units])
    order = np.lexsort((changes, moments))
    return int(np.cumsum(changes[order]).max(initial=0))


def peak_units(trace: Trace) -> int:
    """Return the most units that the trace's jobs held at once. Raises BadInput where it does not say when they ran."""
    if np.isnan(trace.wait_s).any():
        raise BadInput(
            "Some jobs do not say when they started, so the size of the pool cannot be read off.", "Give --units.", where=trace.name
        )
    start = trace.submit_s + trace.wait_s
    return most_at_once(start, start + trace.duration_s, trace.units)


def names_of(trace: Trace) -> list[str]:
    return [str(pool) if pool is not None else "all" for pool in trace.pool]


def siloed(trace: Trace) -> Federation:
    """Return one site a partition, each with its own queue. Raises BadInput for a trace without jobs."""
    if not len(trace):
        raise BadInput("No row of the dump can be replayed.", "See the faults that were counted.", where=trace.name)
    pools = np.array(names_of(trace), object)
    names = sorted(set(pools))
    sites = tuple(
        TwinSite(name=name, node_units=(peak_units(trace.pick(np.flatnonzero(pools == name))),), lane=lane)
        for lane, name in enumerate(names)
    )
    return Federation(sites=sites, pools=tuple((site.name, site.lane) for site in sites))


def pooled(trace: Trace) -> Federation:
    """Return the same partitions as sites of one pool: a job may run at any of them, on one at a time."""
    return Federation(sites=tuple(TwinSite(name=site.name, node_units=site.node_units) for site in siloed(trace).sites))
