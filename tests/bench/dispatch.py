"""What dispatching costs: decisions and their durable record on deep queues, a server under mixed load, and Slurm through us.

Admissions follow the shapes of Kueue's own performance test (kubernetes-sigs/kueue, test/performance/scheduler): 30 queues in 5
cohorts with 500 jobs each, and 1,000 queues in 10 cohorts with 50 each; of 500 jobs 350 ask for 1 unit, 100 for 5 and 50 for 20,
where each queue has 20 and may borrow what its cohort leaves. Their figures, 43 and 42 a second, are through a Kubernetes API
server that also plays the jobs; so they stand here as context, not as a race.

Clocked is all that admits: following the ledger, choosing whom to look at, deciding, and the transaction with the ledger entries.
Not clocked: what an engine does then, and the ends of jobs, which the benchmark records between two passes.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from headwater.compute import jobs, quotas
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import Input, Job, Move, NewJob, Spec, State
from headwater.compute.quotas import Quota
from headwater.compute.work import Capacity, Observation, Phase, Work
from headwater.core import identity, ledger, platform, settings
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from tests.bench import _report
from tests.bench._report import Figure

SHAPES = {"15,000 jobs, 30 queues": (5, 6, 500), "50,000 jobs, 1,000 queues": (10, 100, 50)}
UNITS = 20
"""What each queue has."""
MIX = ((350, 1.0), (100, 5.0), (50, 20.0))
"""Of 500 jobs so many ask for so many units."""
POLICY = 'name = "by-priority"\n[order]\nby = "priority"\n[backfill]\nkind = "skip"\n'
ENGINE = "pool"


class Taking:
    """An engine that takes every attempt and is never asked what became of it."""

    name = ENGINE

    def __init__(self, folder: Path, cpus: float) -> None:
        self._folder, self._cpus = folder, cpus
        folder.mkdir()

    def capacity(self) -> Capacity:
        return Capacity(cpus=self._cpus, memory_gib=1e6)

    def folder(self, key: str) -> Path:
        return self._folder / key

    def submit(self, work: Work) -> None:
        pass

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        return {key: Observation(phase=Phase.RUNNING) for key in keys}

    def cancel(self, key: str) -> None:
        pass

    def forget(self, key: str) -> None:
        pass

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        return ()

    def wait(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def close(self) -> None:
        pass


class Admitting(Dispatcher):
    """The dispatcher as it is, but that nothing is handed to an engine, and that each pass is timed by its parts."""

    def __init__(self, site: Platform, engine: Taking) -> None:
        super().__init__(site, {ENGINE: engine})
        self.passes_s: list[float] = []
        self.decisions_s: list[float] = []

    def _launch(self, group: Sequence[Job]) -> None:
        pass

    def admit(self) -> int:
        """Make one pass and return how many jobs it admitted."""
        began_s, before = time.perf_counter(), self.started
        with self.platform.db.read() as connection:
            self.live.look(connection)
            queued = self.judge.window(connection, self.live, now=self.platform.clock.now())
        active = tuple(self.live.active.values())
        capacity = self.floor.look({}, {job.engine for job in queued})
        decided_s = time.perf_counter()
        with self.platform.db.read() as connection:
            facts = self.judge.decided_by(
                connection, queued, active, capacity, self.floor, sums=self.live.sums, now=self.platform.clock.now()
            )
        made = self.judge.decide(facts)
        self.decisions_s.append(time.perf_counter() - decided_s)
        self._carry_out({job.id: job for job in (*queued, *active)}, made, active, capacity)
        self.passes_s.append(time.perf_counter() - began_s)
        return self.started - before


def admissions(url: str, shape: tuple[int, int, int]) -> tuple[float, Admitting]:
    """Admit every job of a shape and return how many a second, with what each pass took."""
    cohorts, queues, each = shape
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.toml"
        policy.write_text(POLICY, encoding="utf-8")
        chosen = settings.load(data_folder=Path(folder) / "data", database_url=url, policy=str(policy))
        with platform.opened(chosen) as site:
            site.found()
            _enter(site, cohorts, queues, each)
            dispatcher = Admitting(site, Taking(Path(folder) / "pool", float(UNITS * cohorts * queues)))
            dispatcher._lead.start()
            left = cohorts * queues * each
            while left:
                admitted = dispatcher.admit()
                assert admitted or dispatcher.live.active, f"{left} jobs wait, none runs, and none is admitted"
                left -= admitted
                _end(site, dispatcher)
            _check(site, cohorts * queues * each)
            dispatcher.stop()
            return cohorts * queues * each / sum(dispatcher.passes_s), dispatcher


def _enter(site: Platform, cohorts: int, queues: int, each: int) -> None:
    now = site.clock.now()
    asks = [units for count, units in MIX for _ in range(count * each // 500)]

    def enter(connection: object, cohort: str) -> None:
        identity.add_organisation(connection, cohort, cohort, actor=SYSTEM, at=now)  # type: ignore[arg-type]
        quotas.put(connection, Quota(organisation=cohort, units=UNITS * queues, may_borrow=False), actor=SYSTEM, at=now)  # type: ignore[arg-type]
        for queue in range(queues):
            owner = f"{cohort}/q{queue}"
            identity.add_organisation(connection, owner, owner, actor=SYSTEM, at=now)  # type: ignore[arg-type]
            quotas.put(connection, Quota(organisation=owner, units=UNITS), actor=SYSTEM, at=now)  # type: ignore[arg-type]
            graph = owner.replace("/", "-")
            new = [NewJob(id=f"{graph}.j{n}", name=f"j{n}", spec=_spec(units), engine=ENGINE) for n, units in enumerate(asks)]
            jobs.submit(connection, graph, new, organisation=owner, actor=SYSTEM, at=now + timedelta(milliseconds=queue))  # type: ignore[arg-type]

    for cohort in range(cohorts):
        site.db.write(lambda connection, cohort=cohort: enter(connection, f"city/c{cohort}"))  # type: ignore[misc]


def _spec(units: float) -> Spec:
    priority = {1.0: 50.0, 5.0: 100.0, 20.0: 200.0}[units]
    asked = Resources(cpus=units, memory_gib=0.1, priority=priority)
    return Spec(argv=("true",), params={}, inputs=dict[str, Input](), resources=asked)


def _end(site: Platform, dispatcher: Admitting) -> None:
    """Record the ends of the older half of what runs, so that some of every queue's share is held at each pass."""
    running = sorted(dispatcher.live.active.values(), key=lambda job: job.started_at or site.clock.now())
    if dispatcher.live.count:
        running = running[: max(len(running) // 2, 1)]
    for first in range(0, len(running), 500):
        moves = [Move(job=job, to=State.DONE, actor=SYSTEM) for job in running[first : first + 500]]
        site.db.write(lambda connection, moves=moves: jobs.move_all(connection, moves, at=site.clock.now()))  # type: ignore[misc]


def _check(site: Platform, count: int) -> None:
    """Hold the record to what was done: each job started once, in a chain that verifies."""
    with site.db.read() as connection:
        ledger.verify(connection)
        entries = select(func.count()).select_from(ledger.ledger_entry).where(ledger.ledger_entry.c.kind == "job.starting")
        assert connection.execute(entries).scalar_one() == count


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of all lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def durable() -> Iterator[Figure]:
    """Yield admissions on both databases and both shapes."""
    for name, url in databases():
        with url as address:
            for shape, sizes in SHAPES.items():
                rate, dispatcher = admissions(address(), sizes)
                yield Figure(name=f"admissions, {name}, {shape}", value=rate, unit="jobs/s", at_least=2000.0)
                p99_ms = 1000 * percentile(dispatcher.decisions_s, 0.99)
                yield Figure(name=f"decision p99, {name}, {shape}", value=p99_ms, unit="ms", at_most=50.0)
                median_ms = 1000 * statistics.median(dispatcher.passes_s)
                count = sizes[0] * sizes[1] * sizes[2] / len(dispatcher.passes_s)
                yield Figure(name=f"whole pass, median, {name}, {shape}", value=median_ms, unit="ms", note=f"{count:.0f} admitted a pass")


def databases() -> Iterator[tuple[str, contextlib.AbstractContextManager[object]]]:
    """Yield each database by name, with what gives the address of a fresh one."""
    from tests.postgres import fresh_databases

    yield "SQLite", contextlib.nullcontext(lambda: "")
    yield "PostgreSQL", fresh_databases()


def measure() -> Sequence[Figure]:
    """Return every figure."""
    return [*durable()]


if __name__ == "__main__":
    _report.main("dispatch", measure)
