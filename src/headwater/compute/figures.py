"""Figures about jobs for Prometheus: what the database says at each scrape, and how long this server's decisions took.

Labels are bounded: states, engines, chips and reasons are closed sets; organisations are the first two parts of their paths.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from headwater.compute import jobs, pool
from headwater.compute.jobs import ON_ENGINE, State
from headwater.compute.settlement import records
from headwater.compute.work import Capacity
from headwater.core.identity import ROOT
from headwater.core.ledger import ledger_head
from headwater.core.platform import Platform
from headwater.core.steps import Resources

if TYPE_CHECKING:
    from headwater.compute.dispatcher import Dispatcher

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
MOST_ORGANISATIONS = 200


class Times:
    """How often something took how long: counts by bucket, and the sum. Safe to use from several threads."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def note(self, took_s: float) -> None:
        """Count one."""
        with self._lock:
            self._counts[bisect.bisect_left(BUCKETS_S, took_s)] += 1
            self._sum += took_s

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return the counts up to each bound, as Prometheus wants them, and the sum."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        sums = [sum(counts[: place + 1]) for place in range(len(counts))]
        return [(str(bound), float(count)) for bound, count in zip((*BUCKETS_S, "+Inf"), sums, strict=True)], total


class JobFigures:
    """A collector over a platform's jobs, and over the dispatcher where one runs here."""

    def __init__(self, platform: Platform, dispatcher: Dispatcher | None) -> None:
        self.platform, self.dispatcher = platform, dispatcher

    def describe(self) -> Iterable[Any]:
        """Return nothing: the figures' names need no look at the database when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Yield every figure as it is now."""
        with self.platform.db.read() as connection:
            yield from _by_state(connection)
            yield from _ended(connection)
            yield from _waiting(connection, self.platform)
            yield from _held(connection)
            yield from _used(connection)
            entries = connection.execute(select(ledger_head.c.seq)).scalar_one_or_none() or 0
            yield _gauge("headwater_ledger_entries", "Entries of the ledger.", (), {(): entries})
        if self.dispatcher is not None:
            yield from _decisions(self.dispatcher)


def _gauge(name: str, told: str, labels: tuple[str, ...], values: Any) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, told, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in key], float(value))
    return family


def _by_state(connection: Connection) -> Iterator[Any]:
    column = jobs.jobs.c
    query = select(column.state, column.engine, func.count()).group_by(column.state, column.engine)
    values = {(row[0], row[1]): row[2] for row in connection.execute(query)}
    yield _gauge("headwater_jobs", "Jobs by state and engine.", ("state", "engine"), values)


def _ended(connection: Connection) -> Iterator[Any]:
    """Yield how many jobs ended badly, by why."""
    column = jobs.jobs.c
    reason = column.error["reason"].as_string().label("reason")
    badly = select(column.state, reason).where(column.state.in_([State.FAILED, State.REFUSED])).subquery()  # PostgreSQL groups by columns
    query = select(badly.c.state, badly.c.reason, func.count()).group_by(badly.c.state, badly.c.reason)
    values = {(row[0], row[1] or "refused"): row[2] for row in connection.execute(query)}
    yield _gauge("headwater_jobs_ended_badly", "Jobs that failed or were refused, by reason.", ("state", "reason"), values)


def _waiting(connection: Connection, platform: Platform) -> Iterator[Any]:
    column = jobs.jobs.c
    query = select(column.organisation, func.count(), func.min(column.submitted_at)).where(column.state == State.QUEUED)
    counts: Counter[str] = Counter()
    oldest_s = 0.0
    for organisation, count, first in connection.execute(query.group_by(column.organisation).limit(MOST_ORGANISATIONS)):
        counts["/".join(organisation.split("/")[:2])] += count
        oldest_s = max(oldest_s, (platform.clock.now() - first).total_seconds())
    queued = {(name,): count for name, count in counts.items()}
    yield _gauge("headwater_queue_jobs", "Jobs that wait in the queue, by organisation.", ("organisation",), queued)
    yield _gauge("headwater_queue_oldest_seconds", "How long the oldest queued job has waited.", (), {(): oldest_s})


def _held(connection: Connection) -> Iterator[Any]:
    """Yield what engines have, and what jobs on them hold of it: CPUs, GiB, and accelerators by chip."""
    has = {key: amount for name, whole in pool.noted(connection).items() for key, amount in _by_resource(name, whole)}
    here: dict[str, list[Resources]] = defaultdict(list)
    for job in jobs.in_states(connection, ON_ENGINE):
        here[job.engine].append(job.spec.resources)
    holds = dict.fromkeys(has, 0.0) | {key: amount for name, held in here.items() for key, amount in _by_resource(name, pool.total(held))}
    labels = ("engine", "resource")
    yield _gauge("headwater_engine_capacity", "What an engine may give to jobs.", labels, has)
    yield _gauge("headwater_engine_held", "What jobs on an engine hold.", labels, holds)
    stands = {(name, stand.standing): 1 for name, stand in pool.stands_noted(connection).items()}
    yield _gauge("headwater_site_standing", "1 for how each site fares now: active, lost, draining, …", ("engine", "standing"), stands)


USED = {
    "accelerator_s": ("headwater_usage_accelerator_seconds", "Accelerators held times seconds, of attempts that ended."),
    "domestic_accelerator_s": ("headwater_usage_domestic_accelerator_seconds", "Of these, on chips of a domestic vendor."),
    "core_s": ("headwater_usage_core_seconds", "Cores held times seconds, of attempts that ended."),
    "gib_s": ("headwater_usage_gib_seconds", "GiB of memory held times seconds, of attempts that ended."),
    "energy_kwh": ("headwater_usage_energy_kwh", "Energy of the attempts for which it is known."),
    "location_kgco2": ("headwater_usage_location_kgco2", "Carbon by the grid around each site, where it is known."),
    "market_kgco2": ("headwater_usage_market_kgco2", "Carbon by each site's contracts, where it is known."),
    "charge_fen": ("headwater_usage_charge_fen", "Charges of attempts that ended."),
}


def _used(connection: Connection) -> Iterator[Any]:
    """Yield what was used since the beginning, by engine and organisation, and the domestic share of accelerator time."""
    from prometheus_client.core import CounterMetricFamily

    sums: dict[tuple[str, str], records.Total] = defaultdict(records.Total)
    for organisation, site, total in records.by_organisation(connection, [ROOT], limit=MOST_ORGANISATIONS):
        key = (site, "/".join(organisation.split("/")[:2]))
        sums[key] = records.add(sums[key], total)
    for name, (figure, told) in USED.items():
        family = CounterMetricFamily(figure, told, labels=("engine", "organisation"))
        for key, total in sums.items():
            family.add_metric(key, float(getattr(total, name)))
        yield family
    share = records.total_of(connection, [ROOT]).domestic_share
    yield _gauge(
        "headwater_domestic_share", "Share of accelerator time on domestic chips, 0 to 1.", (), {} if share is None else {(): share}
    )


def _by_resource(engine: str, amounts: Capacity) -> list[tuple[tuple[str, str], float]]:
    """Return amounts by engine and resource."""
    plain = {"cpu": amounts.cpus, "memory_gib": amounts.memory_gib, **amounts.accelerators}
    return [((engine, resource), float(amount)) for resource, amount in plain.items()]


def _decisions(dispatcher: Dispatcher) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    yield _gauge("headwater_leader", "1 where this server decides on jobs, 0 where it stands by.", (), {(): dispatcher.role == "leader"})
    buckets, total = dispatcher.decided.buckets()
    times = HistogramMetricFamily("headwater_decision_seconds", "Time of one turn's decisions, their record apart.")
    times.add_metric([], buckets, total)
    yield times
    started = CounterMetricFamily("headwater_jobs_started", "Attempts that this server has started.")
    started.add_metric([], float(dispatcher.started))
    yield started
