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
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy import func, select

from headwater.cli.up import SWITCH_S, set_apart
from headwater.compute import jobs, quotas
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines.slurm_client import Submission
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.jobs import ENDS, Input, Job, Move, NewJob, Spec, State
from headwater.compute.quotas import Quota
from headwater.compute.work import Capacity, Engine, Observation, Phase, Work
from headwater.core import identity, ledger, platform, settings
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from tests import slurm
from tests.bench import _report, dispatch_slurm
from tests.bench._report import Figure
from tests.bench.spine import address_of
from tests.flow.compute.graphs import command, graph_of, submit
from tests.postgres import Postgres, new_database

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

    def _launch_in_background(self, started: Sequence[Job]) -> None:
        pass

    def admit(self) -> int:
        """Make one pass and return how many jobs it admitted."""
        began_s, before = time.perf_counter(), self.started
        with self.platform.db.read() as connection:
            self.live.look(connection)
            queued = self.judge.window(connection, self.live, now=self.platform.clock.now())
        capacity = self.floor.look({}, {job.engine for job in queued})
        decided_s = time.perf_counter()
        facts = self.judge.decided_by(queued, self.live, capacity, self.floor, now=self.platform.clock.now())
        made = self.judge.decide(facts)
        self.decisions_s.append(time.perf_counter() - decided_s)
        self._carry_out(facts, made)
        self.passes_s.append(time.perf_counter() - began_s)
        return self.started - before


def admissions(url: str, shape: tuple[int, int, int]) -> tuple[float, Admitting]:
    """Admit every job of a shape and return how many a second, with what each pass took."""
    cohorts, queues, each = shape
    sys.setswitchinterval(SWITCH_S)  # as the server does
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.toml"
        policy.write_text(POLICY, encoding="utf-8")
        chosen = settings.load(data_folder=Path(folder) / "data", database_url=url, policy=str(policy))
        with platform.opened(chosen) as site:
            site.found()
            _enter(site, cohorts, queues, each)
            dispatcher = Admitting(site, Taking(Path(folder) / "pool", float(UNITS * cohorts * queues)))
            dispatcher._lead.start()
            set_apart()  # as the server does
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
    server = Postgres()
    server.start()
    try:
        for name, address in (("SQLite", str), ("PostgreSQL", lambda: new_database(server.url))):
            for shape, sizes in SHAPES.items():
                rate, dispatcher = admissions(address(), sizes)
                yield Figure(name=f"admissions, {name}, {shape}", value=rate, unit="jobs/s", at_least=2000.0)
                p99_ms = 1000 * percentile(dispatcher.decisions_s, 0.99)
                yield Figure(name=f"decision p99, {name}, {shape}", value=p99_ms, unit="ms", at_most=50.0)
                median_ms = 1000 * statistics.median(dispatcher.passes_s)
                count = sizes[0] * sizes[1] * sizes[2] / len(dispatcher.passes_s)
                yield Figure(name=f"whole pass, median, {name}, {shape}", value=median_ms, unit="ms", note=f"{count:.0f} admitted a pass")
    finally:
        server.stop()


RATE, LOAD_S, WORKERS = 200, 20.0, 16
"""Requests a second, for how long, and by how many connections at once."""
MIX_OF_REQUESTS = (
    (40, "GET", "/api/jobs?limit=50"),
    (20, "GET", "/api/jobs/{job}"),
    (8, "GET", "/api/jobs/{job}/why"),
    (8, "GET", "/api/jobs/{job}/log"),
    (6, "GET", "/api/sites"),
    (6, "GET", "/api/quotas"),
    (4, "GET", "/jobs"),
    (3, "GET", "/queue"),
    (3, "GET", "/health"),
    (1, "GET", "/metrics"),
    (1, "POST", "/api/runs"),
)
"""Of a hundred requests so many are of this kind; a run is one job that does nothing, and is run."""
PROJECT = "schema: headwater.project/1\nname: load\nsteps:\n  noop:\n    run: ['true']\n    resources: {memory_gib: 0.01, cpus: 0.1}\n"


def mixed_load() -> Iterator[Figure]:
    """Yield how a server answers an open stream of requests: each is due at its time, whether or not those before it were answered."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "data") as (address, token):
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30) as client:
            body = {"text": PROJECT, "files": {}, "organisation": None, "engine": None, "force": True}
            for _ in range(30):
                client.post("/api/runs", json=body).raise_for_status()
            job = client.get("/api/jobs?limit=1").json()[0]["id"]
            time.sleep(5)
        kinds = [(method, path.replace("{job}", job)) for share, method, path in MIX_OF_REQUESTS for _ in range(share)]
        random.Random(20261126).shuffle(kinds)
        took_s, wrong = asked(address, headers, kinds, body)
    yield Figure(name=f"mixed load of {RATE} requests/s, p50", value=1000 * statistics.median(took_s), unit="ms")
    yield Figure(name=f"mixed load of {RATE} requests/s, p99", value=1000 * percentile(took_s, 0.99), unit="ms", at_most=100.0)
    yield Figure(name="answers that were errors", value=wrong, unit="answers", at_most=0, note=f"of {len(took_s)} in {LOAD_S:g} s")


def asked(address: str, headers: dict[str, str], kinds: Sequence[tuple[str, str]], body: object) -> tuple[list[float], int]:
    """Send RATE requests a second for LOAD_S seconds, and return the seconds from when each was due to its answer, and the errors."""
    took_s: list[float] = []
    wrong = [0]
    number, lock = itertools.count(), threading.Lock()
    with contextlib.ExitStack() as opened:
        made = (httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30) for _ in range(WORKERS))
        clients = [opened.enter_context(one) for one in made]
        for client in clients:
            client.get("/health").raise_for_status()  # what a client costs before its first request is not the server's
        began_s = time.perf_counter() + 0.2

        def work(client: httpx.Client) -> None:
            while True:
                with lock:
                    mine = next(number)
                due_s = began_s + mine / RATE
                if due_s > began_s + LOAD_S:
                    return
                time.sleep(max(0.0, due_s - time.perf_counter()))
                method, path = kinds[mine % len(kinds)]
                try:
                    right = client.request(method, path, json=body if method == "POST" else None).is_success
                except httpx.HTTPError:
                    right = False
                took_s.append(time.perf_counter() - due_s)
                wrong[0] += not right

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return took_s, wrong[0]


@contextlib.contextmanager
def served(data: Path) -> Iterator[tuple[str, str]]:
    """Give the address of a server on a fresh folder, and its administrator's token."""
    command = [sys.executable, "-m", "headwater"]
    up = subprocess.Popen([*command, "up", "--data", str(data), "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        address = address_of(up)
        made = subprocess.run(
            [*command, "token", "create", "administrator", "--data", str(data), "--json"], capture_output=True, text=True, check=True
        )
        yield address, str(json.loads(made.stdout)["token"])
    finally:
        up.terminate()
        up.wait(timeout=30)


ROUNDS = 15


def through_the_platform() -> Iterator[Figure]:
    """Yield what a `true` on a real Slurm takes from handing it to the platform to its recorded end, beside bare `sbatch`, in turn.

    Slurm looks at its queue once a second, so how long a job waits there is chance, for both; it is taken out by what Slurm says of
    its start. What is added is the rest.
    """
    with tempfile.TemporaryDirectory() as folder:
        cluster = slurm.started(Path(folder) / "slurm")
        data = Path(folder) / "data"
        data.mkdir()
        (data / settings.FILE).write_text(cluster.settings("rest"), encoding="utf-8")
        os.environ["SLURM_CONF"] = str(cluster.conf)
        try:
            with platform.opened(settings.load(data_folder=data)) as site:
                site.found()
                dispatcher = Dispatcher(site)
                dispatcher.start()
                handed_s = _noting(dispatcher.engines["slurm"])
                added = []
                for number in range(ROUNDS):
                    bare = dispatch_slurm.bare_job(cluster, number)
                    added.append(1000 * (_platform_job(site, dispatcher, handed_s) - bare.handing_in - bare.running))
                dispatcher.stop()
        finally:
            cluster.stop()
    note = f"median of {ROUNDS} pairs, but for Slurm's wait: from submission to the recorded end"
    yield Figure(name="added to one Slurm job by the whole platform", value=statistics.median(added), unit="ms", at_most=50, note=note)


def _noting(engine: Engine) -> list[float]:
    """Have an engine's client note when it has handed each job in, and return those notes."""
    assert isinstance(engine, SlurmEngine)
    client, noted = engine._client, list[float]()
    hand_in = client.submit

    def noting(asked: Submission) -> str:
        number = hand_in(asked)
        noted.append(time.time())
        return number

    client.submit = noting  # type: ignore[method-assign]
    return noted


def _platform_job(site: Platform, dispatcher: Dispatcher, handed_s: list[float]) -> float:
    """Run `true` on Slurm and return the seconds that it took, but for those between handing it to Slurm and its start."""
    time.sleep(random.random())
    began_s = time.time()
    graph = submit(site, {"noop": command("true", cpus=1.0)}, engine="slurm")
    dispatcher.wake()
    while graph_of(site, graph)["noop"].state not in ENDS:
        time.sleep(0.002)
    ended_s = time.time()
    folder = dispatcher.engines["slurm"].folder(f"{graph}.noop.1")
    return ended_s - began_s - ((folder / "log.txt").stat().st_mtime - handed_s[-1])


def measure() -> Sequence[Figure]:
    """Return every figure."""
    return [*mixed_load(), *durable(), *through_the_platform(), *dispatch_slurm.figures()]  # the load first: its client is this process


if __name__ == "__main__":
    _report.main("dispatch", measure)
