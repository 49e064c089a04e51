"""An engine that hangs holds up its own jobs and nobody else's: a real slurmrestd that is stopped, beside this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from headwater.compute import jobs, pool
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines.slurm_client import TIMEOUT_S
from headwater.compute.jobs import State
from headwater.core import ledger, platform, settings
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, ended, graph_of, submit, until
from tests.slurm import Cluster

USUAL_S = TIMEOUT_S / 2
"""Far more than a job of this machine takes, and less than a question to a server that hangs."""


@pytest.fixture
def city(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Platform]:
    data = tmp_path_factory.mktemp("data")
    (data / settings.FILE).write_text(cluster.settings("rest"), encoding="utf-8")
    with platform.opened(settings.load(data_folder=data, local_cpus=2, local_memory_gib=4)) as site:
        site.found()
        yield site


@pytest.fixture
def dispatcher(city: Platform, cluster: Cluster) -> Iterator[Dispatcher]:
    """Give a dispatcher over this machine and Slurm that is yet to be started."""
    made = Dispatcher(city)
    yield made
    hang(cluster, signal.SIGCONT)
    made.stop()


def hang(cluster: Cluster, number: signal.Signals = signal.SIGSTOP) -> None:
    os.kill(cluster.processes["slurmrestd"].pid, number)


def local_jobs_end_in_time(site: Platform, dispatcher: Dispatcher, count: int) -> None:
    for _ in range(count):
        began_s = time.monotonic()
        graph = submit(site, {"here": command("true", retries=0)})
        dispatcher.wake()
        assert ended(site, graph)["here"].state is State.DONE
        assert time.monotonic() - began_s < USUAL_S


def ends(site: Platform, job: str) -> list[str]:
    with site.db.read() as connection:
        kinds = [entry.kind for entry in ledger.entries(connection, subject=job)]
    return [kind for kind in kinds if kind.removeprefix("job.") in jobs.ENDS]


def test_jobs_elsewhere_begin_and_end_while_an_engine_does_not_answer(city: Platform, cluster: Cluster, dispatcher: Dispatcher) -> None:
    dispatcher.start()
    graph = submit(city, {"there": command("sleep", "3", cpus=1.0)}, engine="slurm")
    until(city, graph, lambda all_: all_["there"].state is State.RUNNING)
    hang(cluster)
    more = submit(city, {f"more-{number}": command("true", cpus=1.0) for number in range(3)}, engine="slurm")
    dispatcher.wake()
    time.sleep(2)
    local_jobs_end_in_time(city, dispatcher, 8)
    assert {job.state for job in graph_of(city, more).values()} <= {State.STARTING, State.RUNNING}
    hang(cluster, signal.SIGCONT)
    assert {job.state for job in ended(city, graph).values()} == {State.DONE}
    assert {job.state for job in ended(city, more).values()} == {State.DONE}
    assert [ends(city, f"{more}.more-{number}") for number in range(3)] == [["job.done"]] * 3


def test_a_server_begins_without_an_engine_that_hangs_and_uses_it_once_it_answers(
    city: Platform, cluster: Cluster, dispatcher: Dispatcher
) -> None:
    hang(cluster)
    began_s = time.monotonic()
    dispatcher.start()
    assert time.monotonic() - began_s < USUAL_S
    graph = submit(city, {"there": command("true", cpus=1.0)}, engine="slurm")
    local_jobs_end_in_time(city, dispatcher, 3)
    assert graph_of(city, graph)["there"].state is State.QUEUED
    with city.db.read() as connection:
        assert pool.stands_noted(connection)["slurm"].why == "has not answered yet"
    hang(cluster, signal.SIGCONT)
    assert ended(city, graph)["there"].state is State.DONE
