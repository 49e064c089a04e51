"""A thousand jobs on two Slurm partitions and this machine, while what runs them is killed thirty times: each ends exactly once."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from headwater.compute import jobs
from headwater.compute.jobs import ENDS, NewJob, Spec, State
from headwater.compute.leadership import lease
from headwater.compute.sites import ENGINES
from headwater.core import ledger, platform, registry, settings
from headwater.core.errors import Unavailable
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from tests import slurm
from tests.flow.compute.servers import ServerProcess, processes_of
from tests.postgres import Postgres
from tests.slurm import NODES, Cluster

SEED = 20261126
KILLS = 30
BETWEEN_S = 2.0
JOBS = 1000
A_GRAPH = 25
AT_FIRST = 10
"""Graphs that are handed in before the first kill; of the others one before each, so that there is work whenever something dies."""
TURNS = ("local", "main", "local", "urgent", "local")
LAST_END_S = 240.0
LOCAL, SLURM = Resources(cpus=1, memory_gib=0.05), Resources(cpus=12, memory_gib=0.05)
ASKS = {"local": LOCAL, "main": SLURM, "urgent": SLURM}
PLUGIN = Path(__file__).parent / "fault_engines"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that Slurm's other users may enter, and that does not outlive the test."""
    made = Path(tempfile.mkdtemp(prefix="headwater-faults-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Give a Slurm, and the plug-in with an engine for each of its partitions."""
    about = folder / "installed" / "fault_engines-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fault-engines\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[headwater.engines]\nmain = fault_engines:MAIN\nurgent = fault_engines:URGENT\n")
    added = [str(about.parent), str(PLUGIN)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(added))
    monkeypatch.setattr(sys, "path", [*added, *sys.path])
    registry._entry_points.cache_clear()
    made = slurm.started(folder / "slurm")
    yield made
    made.stop()
    registry._entry_points.cache_clear()


@pytest.fixture
def database() -> Iterator[Postgres]:
    """Give a PostgreSQL that may be killed."""
    made = Postgres()
    made.start()
    yield made
    made.stop()


class Scene:
    """Everything that may be killed, and what is killed next."""

    def __init__(self, data: Path, options: dict[str, str], cluster: Cluster, database: Postgres) -> None:
        self.data, self.options, self.cluster, self.database = data, options, cluster, database
        self.chance = random.Random(SEED)
        self.servers = [ServerProcess(data, **options).ready() for _ in range(2)]
        self.killed: Counter[str] = Counter()

    def tend(self) -> None:
        """Do what a supervisor and an operator do.

        A server that starts while the database is away says so and ends: it is started again. A node that was killed while it launched a
        job is drained by Slurm: it is put to work again.
        """
        for place, server in enumerate(self.servers):
            if server.process.poll() is not None:
                server.kill()
                self.servers[place] = ServerProcess(self.data, **self.options)
        for node in {*self.cluster.command("sinfo", "-h", "-N", "-o", "%N", "-t", "drain,down").split()}:
            self.cluster.command("scontrol", "update", f"nodename={node}", "state=resume")

    def kill_one(self) -> None:
        """Kill something and start it again a little later."""
        kind = self.chance.choices(("server", "slurmd", "slurmctld", "database"), weights=(4, 2, 2, 2))[0]
        self.killed[kind] += 1
        away_s = self.chance.uniform(0.1, 2.0)
        if kind == "server":
            place = self.chance.randrange(2)
            self.servers[place].kill()
            time.sleep(away_s)
            self.servers[place] = ServerProcess(self.data, **self.options)
        elif kind == "database":
            self.database.kill()
            time.sleep(away_s)
            self.database.start()
        else:
            name = self.chance.choice(sorted(NODES)) if kind == "slurmd" else kind
            self.cluster.kill(name)
            time.sleep(away_s)
            (self.cluster.start_controller if kind == "slurmctld" else lambda: self.cluster.start_node(name))()

    def stop(self) -> list[int]:
        """End both servers in good order, and return their exit statuses."""
        return [(server if server.address else server.ready()).stop() for server in self.servers]


def submit(site: Platform, diary: Path, graph: str) -> set[str]:
    """Hand in a graph of jobs, those of the engines mixed, each noting the key of its attempt in a diary; return their ids."""
    script = f'basename "$HW_ATTEMPT" >> {diary}; sleep 0.5'
    specs = {engine: Spec(argv=("sh", "-c", script), params={}, inputs={}, resources=asked) for engine, asked in ASKS.items()}
    turns = zip(range(A_GRAPH), itertools.cycle(TURNS))
    new = [NewJob(id=f"{graph}.j{place}", name=f"j{place}", spec=specs[engine], engine=engine) for place, engine in turns]
    last_s = time.monotonic() + 60
    while True:
        try:
            site.db.write(lambda c: jobs.submit(c, graph, new, organisation="city", actor=SYSTEM, at=site.clock.now()))
        except Unavailable:  # the database was just killed
            assert time.monotonic() < last_s
            time.sleep(0.1)
        else:
            return {one.id for one in new}


def counted(site: Platform) -> Counter[str]:
    """Return how many jobs are in each state; nothing while the database is away."""
    try:
        with site.db.read() as connection:
            return Counter(dict(connection.execute(select(jobs.jobs.c.state, func.count()).group_by(jobs.jobs.c.state)).tuples().all()))
    except Unavailable:
        return Counter()


def nothing_lies_in(cluster: Cluster) -> bool:
    """Tell whether Slurm's queue is empty soon: a node tells of a job's end after the job has told."""
    last_s = time.monotonic() + 30
    while (lies := cluster.command("squeue", "-h")) and time.monotonic() < last_s:
        time.sleep(0.5)
    return not lies


def test_a_thousand_jobs_end_once_each_while_all_that_runs_them_is_killed_again_and_again(
    folder: Path, cluster: Cluster, database: Postgres
) -> None:
    data, diary = folder / "data", folder / "diary"
    diary.touch()
    options = {
        "database_url": f"{database.url}/postgres", "local_cpus": "6", "local_memory_gib": "4", "job_attempts": "10", "policy": "fifo",
        "slurm_url": cluster.url, "slurm_user": "root", "slurm_token_file": str(cluster.token_file), "log_level": "warning",
    }  # fmt: skip
    began_s = time.monotonic()
    with platform.opened(
        settings.load(data_folder=data, **{n: float(v) if n.startswith("local") else v for n, v in options.items()})
    ) as site:
        site.found()
        scene = Scene(data, options, cluster, database)
        try:
            graphs = (f"g{number}" for number in range(JOBS // A_GRAPH))
            ids = {job for graph in itertools.islice(graphs, AT_FIRST) for job in submit(site, diary, graph)}
            for _ in range(KILLS):
                ids |= submit(site, diary, next(graphs))
                time.sleep(scene.chance.uniform(0, 2 * BETWEEN_S))
                scene.kill_one()
                scene.tend()
            at_last_kill = counted(site)
            deadline = time.monotonic() + LAST_END_S
            while not (seen := counted(site)) or set(seen) - {str(state) for state in ENDS}:
                assert time.monotonic() < deadline, (seen, cluster.command("squeue"), cluster.command("sinfo", "-R"))
                time.sleep(0.5)
                scene.tend()
        finally:
            statuses = scene.stop()
        took_s = time.monotonic() - began_s

        with site.db.read() as connection:
            everything = {job.id: job for job in jobs.in_states(connection, set(State))}
            ends = Counter(e.subject for e in ledger.entries(connection, kind="job.*") if State(e.kind.removeprefix("job.")) in ENDS)
            starts = Counter((e.subject, e.body["attempt"]) for e in ledger.entries(connection, kind="job.starting"))
            entries = ledger.verify(connection).entries
            epoch = connection.execute(select(lease.c.epoch)).scalar_one()
        keys = Counter(diary.read_text().split())
        attempts = Counter(job.attempt for job in everything.values())
        print(f"{took_s:.0f} s, killed {dict(scene.killed)}, epochs {epoch}, ended before the last kill {at_last_kill}")
        print(f"attempts {dict(attempts)}, ledger of {entries} entries")

        assert {job.state for job in everything.values()} == {State.DONE}
        assert everything.keys() == ids
        assert len(ids) == JOBS
        assert ends == dict.fromkeys(ids, 1)
        assert set(starts.values()) == {1}
        assert [key for key, count in keys.items() if count > 1] == [], "no attempt started twice"
        assert {job.key for job in everything.values()} <= keys.keys(), "the attempt that ended well did its work"
        assert statuses == [0, 0]
        assert sum(scene.killed.values()) == KILLS
        assert nothing_lies_in(cluster)
        assert processes_of(data) == []
        for name in ASKS:
            engine = ENGINES.get(name)(site)
            assert list(engine.sweep(())) == []
            engine.close()
