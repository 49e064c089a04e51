"""What there is at each site now: what it has, what is held of it, what waits, and what a sites file states of it.

A site is an engine. What is known of an engine is what the dispatcher recorded when it last changed; what is known of the place,
its owner, its prices and its carbon comes from the file that `sites_file` in the settings names, where it has a site of that id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Connection, func, or_, select

from headwater.compute import jobs, pool
from headwater.compute.catalogue.figures import Figure, Unknown
from headwater.compute.catalogue.sites import Site, Sites, sites
from headwater.compute.jobs import ANYWHERE, ON_ENGINE, Job, State
from headwater.compute.pool import OPEN, Stand
from headwater.compute.situation import INSIDE
from headwater.compute.work import Capacity
from headwater.core.errors import BadFile, NotFound

MOST_JOBS = 5000
"""Of a site's past that are read."""
UNDESCRIBED = "No sites file describes it."


class SiteState(StrEnum):
    """What the dispatcher last saw of a site: `pool.Standing`, or one of these."""

    ACTIVE = "active"
    UNREACHED = "unreached"
    LOST = "lost"
    HELD = "held"
    DRAINING = "draining"
    DRAINED = "drained"
    EMPTY = "empty"
    """Its engine has no node up."""
    UNSEEN = "unseen"
    """The sites file names it, and no engine of that name has been seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of one thing is held; `what` is a chip, `cpu` or `memory`. `whole` is what there is, or was declared."""

    what: str
    held: float
    whole: float

    @property
    def share(self) -> float:
        """The held share, 0 to 1."""
        return min(self.held / self.whole, 1.0) if self.whole > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNow:
    """A site as it is now; `number` is its place in the list, which the map shows too."""

    id: str
    number: int
    state: SiteState
    chips: tuple[Use, ...]
    cpus: Use | None
    memory: Use | None
    running: int
    queued: int
    price: Figure | Unknown
    carbon: Figure | Unknown
    facts: Site | None
    why: str = ""
    """Why it starts nothing, where it does not."""

    @property
    def share(self) -> float | None:
        """The held share of what is scarcest; None where nothing was seen."""
        seen = [use.share for use in (*self.chips, *([self.cpus] if self.cpus else []))]
        return max(seen) if seen and self.state is not SiteState.UNSEEN else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The sites file as read: its sites, or what is wrong with it."""

    sites: Sites | None = None
    problem: str = ""
    residency: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The tags of each site."""


def described(path: str) -> Described:
    """Return what a sites file states; it is read again when it has changed."""
    if not path:
        return Described()
    try:
        return _read(path, Path(path).stat().st_mtime_ns)
    except OSError as error:
        return Described(problem=f"The sites file {path} cannot be read: {error.strerror}.")


@lru_cache(maxsize=4)
def _read(path: str, _changed_ns: int) -> Described:
    try:
        told = sites(Path(path))
    except (BadFile, NotFound) as error:
        return Described(problem=str(error))
    return Described(sites=told, residency={site.id: site.residency for site in told})


def look(connection: Connection, stated: Sites | None, now: datetime) -> tuple[SiteNow, ...]:
    """Return every site as it is now: those with an engine, then those that are only described."""
    queued = _queued(connection)
    stands = pool.stands_noted(connection)
    return assembled(pool.noted(connection), jobs.in_states(connection, ON_ENGINE), queued, stated, now, stands)


def assembled(
    capacity: Mapping[str, Capacity],
    active: Iterable[Job],
    queued: Mapping[str, int],
    stated: Sites | None,
    now: datetime,
    stands: Mapping[str, Stand] = MappingProxyType({}),
) -> tuple[SiteNow, ...]:
    """Return every site as it is now. Pure."""
    here: dict[str, list[Job]] = defaultdict(list)
    for job in active:
        here[job.engine].append(job)
    facts = dict(stated.by_id) if stated is not None else {}
    engines = sorted(name for name in {*capacity, *queued} if name not in (INSIDE, ANYWHERE))
    ids = [*engines, *(one for one in facts if one not in engines)]
    return tuple(
        _site(one, number, capacity.get(one), stands.get(one, OPEN), here[one], queued.get(one, 0), facts.get(one), now)
        for number, one in enumerate(ids, 1)
    )


def _site(
    name: str, number: int, whole: Capacity | None, stand: Stand, here: Sequence[Job], queued: int, facts: Site | None, now: datetime
) -> SiteNow:
    held = pool.total(job.spec.resources for job in here)
    return SiteNow(
        id=name,
        number=number,
        state=_state(whole, stand),
        why=stand.why,
        chips=_declared(facts) if whole is None else _chips(whole, held),
        cpus=None if whole is None else Use(what="cpu", held=held.cpus, whole=whole.cpus),
        memory=None if whole is None else Use(what="memory", held=held.memory_gib, whole=whole.memory_gib),
        running=len(here),
        queued=queued,
        price=Unknown(reason=UNDESCRIBED) if facts is None else facts.fen_per_kwh(facts.minute_of_day(now)),
        carbon=Unknown(reason=UNDESCRIBED) if facts is None else facts.location_kgco2_per_kwh,
        facts=facts,
    )


def _state(whole: Capacity | None, stand: Stand) -> SiteState:
    if whole is None:
        return SiteState.UNSEEN
    return SiteState(stand.standing) if whole.cpus > 0 or not stand.is_open else SiteState.EMPTY


def _chips(whole: Capacity, held: Capacity) -> tuple[Use, ...]:
    there, taken = whole.accelerators, held.accelerators
    return tuple(Use(what=chip, held=taken.get(chip, 0), whole=there.get(chip, 0)) for chip in sorted({*there, *taken}))


def _declared(facts: Site | None) -> tuple[Use, ...]:
    counts: Counter[str] = Counter()
    for one in facts.pools if facts is not None else ():
        counts[one.chip.id] += one.chip_count
    return tuple(Use(what=chip, held=0, whole=count) for chip, count in sorted(counts.items()))


def _queued(connection: Connection) -> dict[str, int]:
    column = jobs.jobs.c
    query = select(column.engine, func.count()).where(column.state == State.QUEUED).group_by(column.engine)
    return {row[0]: row[1] for row in connection.execute(query)}


def jobs_here(connection: Connection, site: str, states: Iterable[State], *, scopes: Iterable[str], limit: int) -> tuple[Job, ...]:
    """Return a site's jobs in some states within some organisations' scopes, oldest first."""
    column = jobs.jobs.c
    query = select(jobs.jobs).where(column.state.in_(sorted(states)), column.engine == site, jobs.within(column.organisation, scopes))
    return tuple(map(jobs.from_row, connection.execute(query.order_by(column.submitted_at, column.graph, column.position).limit(limit))))


def lately(connection: Connection, site: str, since: datetime) -> tuple[Job, ...]:
    """Return the jobs that a site ran since some moment, those that ended last first, at most MOST_JOBS."""
    column = jobs.jobs.c
    query = select(jobs.jobs).where(
        column.engine == site, column.started_at.is_not(None), or_(column.ended_at > since, column.state.in_(sorted(ON_ENGINE)))
    )
    return tuple(map(jobs.from_row, connection.execute(query.order_by(column.ended_at.desc()).limit(MOST_JOBS))))


def held_over(ran: Iterable[Job], *, since: datetime, now: datetime, points: int) -> dict[str, list[tuple[float, float]]]:
    """Return how much was held of CPUs and of each chip, at even moments as (hours before now, held). Pure.

    Of a job that was stopped and went on, its last attempt counts.
    """
    step = (now - since) / (points - 1)
    moments = [since + step * number for number in range(points)]
    held: dict[str, list[float]] = defaultdict(lambda: [0.0] * points)
    for job in ran:
        if job.started_at is None:
            continue
        asked = {"cpu": job.spec.resources.cpus, **job.spec.resources.accelerators}
        first, last = _between(job.started_at, job.ended_at or now + timedelta(seconds=1), since, step, points)
        for what, amount in asked.items():
            for number in range(first, last):
                held[what][number] += amount
    hours = [(moment - now).total_seconds() / 3600 for moment in moments]
    return {what: list(zip(hours, amounts, strict=True)) for what, amounts in sorted(held.items())}


def _between(start: datetime, end: datetime, since: datetime, step: timedelta, points: int) -> tuple[int, int]:
    """Return the half-open range of moments that lie from `start` up to before `end`."""
    first = max(0, -((since - start) // step))
    return first, min(points, max(first, -((since - end) // step)))
