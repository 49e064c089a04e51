"""Slurm under the dispatcher: arrays as one submission, sites beside one another, and chains whose parent fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection

from headwater.compute import jobs
from headwater.compute.dispatcher import ENGINES, Dispatcher
from headwater.compute.jobs import Job, NewJob, Spec, State
from headwater.core import identity, platform, settings
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from tests.flow.compute.graphs import ended
from tests.slurm import Cluster


@pytest.fixture
def city(tmp_path: Path) -> Iterator[Platform]:
    with platform.opened(settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=4)) as site:
        site.found()
        yield site


@pytest.fixture
def running(city: Platform, cluster: Cluster) -> Iterator[Platform]:
    """Run a dispatcher over two sites of one Slurm, each by a partition of its own, as sites are registered."""
    factory = ENGINES.get("slurm")
    assert factory.site is not None
    common = {"url": cluster.url, "user": "root", "token_file": str(cluster.token_file)}
    engines = {
        name: factory.site(city, name, factory.options.model_validate(common | {"partition": partition}))
        for name, partition in (("haidian", "main"), ("yizhuang", "urgent"))
    }
    dispatcher = Dispatcher(city, engines)
    dispatcher.start()
    yield city
    dispatcher.stop()


def submit(site: Platform, engine: str, described: Sequence[tuple[str, str, tuple[str, ...]]]) -> str:
    """Submit commands, each with a name, a shell script and what it needs, and return the graph."""
    graph = f"g-{uuid.uuid4().hex[:8]}"
    asked = Resources(cpus=1, memory_gib=0.1, wall_s=60)
    new = [
        NewJob(
            id=f"{graph}.{name}",
            name=name,
            spec=Spec(argv=("sh", "-c", script), params={}, inputs={}, resources=asked, outputs=()),
            engine=engine,
            needs=frozenset(f"{graph}.{one}" for one in needs),
        )
        for name, script, needs in described
    ]

    def write(connection: Connection) -> None:
        person = identity.add_person(connection, f"Chen {graph}", "city", actor=identity.SYSTEM, at=site.clock.now())
        jobs.submit(connection, graph, new, organisation="city", actor=person, at=site.clock.now())

    site.db.write(write)
    return graph


def arrays(cluster: Cluster) -> list[str]:
    """Give the array that each job of Slurm's is an element of."""
    lines = cluster.command("squeue", "-h", "--states=all", "-r", "-o", "%F %K %P").splitlines()
    return [number for number, index, _ in map(str.split, lines) if index != "N/A"]


def test_jobs_that_start_in_one_turn_are_one_array_and_each_is_a_job_of_its_own(running: Platform, cluster: Cluster) -> None:
    before = set(arrays(cluster))
    graph = submit(running, "haidian", [(f"job-{number}", f"test {number} != 5", ()) for number in range(12)])
    seen = ended(running, graph)
    assert [name for name, job in seen.items() if job.state is not State.DONE] == ["job-5"]
    assert seen["job-5"].state is State.FAILED
    fresh = [number for number in arrays(cluster) if number not in before]
    assert (len(set(fresh)), len(fresh)) == (1, 12)


def test_sites_are_engines_of_their_own_with_their_own_partition(running: Platform, cluster: Cluster) -> None:
    partition = 'test "$SLURM_JOB_PARTITION" = {0} && case "$HOME" in */{1}-jobs/*) exit 0;; *) exit 1;; esac'
    graphs = [
        submit(running, site, [("job", partition.format(name, site), ())]) for site, name in (("haidian", "main"), ("yizhuang", "urgent"))
    ]
    done: list[Job] = [ended(running, graph)["job"] for graph in graphs]
    assert [(job.engine, job.state) for job in done] == [("haidian", State.DONE), ("yizhuang", State.DONE)]


def test_what_waits_for_a_job_that_fails_is_skipped_and_never_reaches_slurm(running: Platform, cluster: Cluster) -> None:
    graph = submit(running, "haidian", [("parent", "exit 3", ()), ("child", "true", ("parent",)), ("grandchild", "true", ("child",))])
    seen = ended(running, graph)
    assert {name: job.state for name, job in seen.items()} == {
        "parent": State.FAILED,
        "child": State.SKIPPED,
        "grandchild": State.SKIPPED,
    }
    assert seen["child"].reason == "needs 'parent', which did not succeed"
    assert "DependencyNeverSatisfied" not in cluster.command("squeue", "-h", "-o", "%r")
    assert cluster.command("squeue", "-h", "-o", "%i").split() == []
