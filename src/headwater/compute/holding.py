"""What organisations hold now beside their quotas, what waits for them, and what they used of late: a tree of rows. Pure.

A job counts for its organisation and for all above it, in normalised units (see `quotas.py`). Of a job that was stopped and went on,
its last attempt counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from headwater.compute import pool
from headwater.compute.jobs import ON_ENGINE, Job
from headwater.compute.quotas import Quota
from headwater.compute.situation import INSIDE
from headwater.compute.usage import lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One organisation: units held now and queued jobs, unit-hours used, and its quota where it has one of its own."""

    organisation: str
    depth: int
    held: float
    queued: int
    used_unit_h: float
    quota: Quota | None

    @property
    def limit(self) -> float | None:
        """Its own quota in units; None where it has no limit of its own."""
        return self.quota.units if self.quota is not None else None

    @property
    def borrowed(self) -> float:
        """Units held past its own quota."""
        return max(self.held - self.limit, 0.0) if self.limit is not None else 0.0


def tree(
    ran: Iterable[Job], queued: Mapping[str, int], quotas: Sequence[Quota], *, scopes: Sequence[str], since: datetime, now: datetime
) -> tuple[Holding, ...]:
    """Return the organisations within some scopes that hold, wait, have used or have a quota, each below the one above it.

    `ran` are the jobs that run now or ended after `since`; `queued` counts waiting jobs by their own organisation.
    """
    held, used, waiting = defaultdict[str, float](float), defaultdict[str, float](float), defaultdict[str, int](int)
    for job in ran:
        if job.engine == INSIDE or job.started_at is None:
            continue
        units = pool.normalised_units(job.spec.resources)
        hours = max(((job.ended_at or now) - max(job.started_at, since)).total_seconds(), 0.0) / 3600
        for path in lineage(job.organisation):
            used[path] += units * hours
            held[path] += units if job.state in ON_ENGINE else 0.0
    for organisation, count in queued.items():
        for path in lineage(organisation):
            waiting[path] += count
    own = {one.organisation: one for one in quotas}
    paths = sorted(
        path for path in {*held, *used, *waiting, *own} if any(path == scope or path.startswith(f"{scope}/") for scope in scopes)
    )
    top = min((path.count("/") for path in paths), default=0)
    return tuple(
        Holding(
            organisation=path,
            depth=path.count("/") - top,
            held=held[path],
            queued=waiting[path],
            used_unit_h=used[path],
            quota=own.get(path),
        )
        for path in paths
    )
