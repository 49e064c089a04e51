"""One queue over several sites: registered ones are opened, drained, lost and found again, and jobs go where they may."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from headwater.compute import jobs, sites
from headwater.compute.checking import check
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines import attempt
from headwater.compute.engines.local import LocalEngine
from headwater.compute.jobs import ANYWHERE, Job, State
from headwater.compute.sites import Order
from headwater.compute.views import attempt_folder
from headwater.compute.work import Capacity, Observation
from headwater.core import ledger, platform, settings
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, ended, submit, until

COUNTS = """
n=$(cat "$HW_CHECKPOINT/n" 2>/dev/null || echo 0)
echo "from $n"
while [ $n -lt 40 ]; do n=$((n + 1)); echo $n > "$HW_CHECKPOINT/n"; sleep 0.1; done
"""


class Distant(LocalEngine):
    """The engine of this machine behind a connection that a test can cut: its jobs go on, and it says nothing."""

    cut_s: float | None = None

    def silent_s(self) -> float:
        return 0.0 if self.cut_s is None else time.monotonic() - self.cut_s

    def poll(self, keys: Collection[str]) -> Mapping[str, Observation]:
        return super().poll(keys) if self.cut_s is None else dict.fromkeys(keys, attempt.RUNNING)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Platform]:
    chosen = settings.load(data_folder=tmp_path / "data", local_cpus=1, local_memory_gib=1, site_lost_s=1.0, policy="easy")
    with platform.opened(chosen) as opened:
        opened.found()
        yield opened


@pytest.fixture
def dispatcher(site: Platform) -> Iterator[Dispatcher]:
    running = Dispatcher(site)
    running.start()
    yield running
    running.stop()


def add(site: Platform, name: str, cpus: float, **chips: int) -> None:
    options = {"cpus": cpus, "memory_gib": 1, "accelerators": chips}
    site.db.write(lambda connection: sites.add(connection, name, "local", options, actor=SYSTEM, at=site.clock.now()))


def tell(site: Platform, name: str, order: Order, why: str = "") -> None:
    site.db.write(lambda connection: sites.tell(connection, name, order, why=why, actor=SYSTEM, at=site.clock.now()))


def distant(site: Platform, name: str) -> Distant:
    engine = Distant(root=site.settings.data_folder / name, store=site.store, capacity=Capacity(cpus=1, memory_gib=1), grace_s=0.5)
    engine.name = name
    return engine


def one(site: Platform, job: str) -> Job:
    with site.db.read() as connection:
        return jobs.get(connection, job)


@pytest.mark.usefixtures("dispatcher")
def test_a_registered_site_runs_jobs_and_its_logs_are_found(site: Platform) -> None:
    add(site, "hall-b", 2, h20=1)
    graph = submit(site, {"a": command("sh", "-c", "echo on $CUDA_VISIBLE_DEVICES", accelerators={"h20": 1})}, engine="hall-b")
    assert ended(site, graph)["a"].state is State.DONE
    assert (attempt_folder(site, one(site, f"{graph}.a")) / "log.txt").read_text() == "on 0\n"


@pytest.mark.usefixtures("dispatcher")
def test_jobs_for_any_site_spread_over_all_of_them_and_never_over_what_there_is(site: Platform) -> None:
    add(site, "hall-b", 2)
    add(site, "hall-c", 1)
    graph = submit(site, {f"j{n}": command("sleep", "1", cpus=1.0) for n in range(8)}, engine=ANYWHERE)
    seen = until(site, graph, lambda all_: sum(job.state is State.RUNNING for job in all_.values()) == 4)
    running = sorted(job.engine for job in seen.values() if job.state is State.RUNNING)
    assert running == ["hall-b", "hall-b", "hall-c", "local"]
    assert all(job.engine == ANYWHERE for job in seen.values() if job.state is State.QUEUED)
    assert {job.state for job in ended(site, graph).values()} == {State.DONE}


@pytest.mark.usefixtures("dispatcher")
def test_a_job_that_no_site_could_run_says_what_each_lacks(site: Platform) -> None:
    add(site, "hall-b", 2, h20=1)
    graph = submit(site, {"a": command("true", accelerators={"h20": 2}), "b": command("true", residency=("beijing",))}, engine=ANYWHERE)
    found = ended(site, graph)
    assert found["a"].state is found["b"].state is State.FAILED
    assert "'hall-b' could never run it: it asks for 2 h20 where 1 are" in found["a"].reason
    assert "site 'hall-b' does not carry beijing" in found["b"].reason


@pytest.mark.usefixtures("dispatcher")
def test_a_drained_site_starts_nothing_more_and_opens_again(site: Platform) -> None:
    tell(site, "local", Order.DRAIN, "new cooling")
    time.sleep(1.2)
    graph = submit(site, {"a": command("true")})
    seen = until(site, graph, lambda all_: bool(all_["a"].reason))
    assert seen["a"].state is State.QUEUED
    assert seen["a"].reason == "waits on site 'local', which is being drained: new cooling"
    tell(site, "local", Order.OPEN)
    assert ended(site, graph)["a"].state is State.DONE


@pytest.mark.usefixtures("dispatcher")
def test_an_evicted_job_goes_on_elsewhere_from_its_checkpoint(site: Platform) -> None:
    graph = submit(site, {"a": command("sh", "-c", COUNTS, cpus=1.0, checkpoint_s=0.0)}, engine=ANYWHERE)
    until(site, graph, lambda all_: all_["a"].state is State.RUNNING)
    time.sleep(0.6)
    add(site, "hall-b", 1)
    tell(site, "local", Order.EVICT, "moving out")
    found = ended(site, graph)["a"]
    assert (found.state, found.engine, found.attempt, found.preemptions) == (State.DONE, "hall-b", 2, 1)
    assert "from 0" not in (attempt_folder(site, found) / "log.txt").read_text()


def test_jobs_leave_a_lost_site_and_end_once_though_they_go_on_there(site: Platform) -> None:
    far, near = distant(site, "far"), distant(site, "near")
    dispatcher = Dispatcher(site, {"far": far})
    dispatcher.start()
    graph = submit(site, {"a": command("sh", "-c", COUNTS, cpus=1.0, checkpoint_s=0.0)}, engine=ANYWHERE)
    pinned = submit(site, {"b": command("sleep", "4", cpus=0.0)}, engine="far")
    until(site, graph, lambda all_: all_["a"].state is State.RUNNING)
    until(site, pinned, lambda all_: all_["b"].state is State.RUNNING)
    time.sleep(0.5)
    dispatcher.floor._sites["near"] = type(dispatcher.floor._sites["far"])(rounds=dispatcher._going_round(near))
    far.cut_s = time.monotonic()
    found = ended(site, graph)["a"]
    assert (found.state, found.engine, found.moves, found.attempt) == (State.DONE, "near", 1, 2)
    assert "from 0" not in (near.folder(found.key) / "log.txt").read_text()
    assert one(site, f"{pinned}.b").state is State.RUNNING, "it may run nowhere else, so its site is waited for"
    far.cut_s = None
    assert ended(site, pinned)["b"].state is State.DONE
    dispatcher.stop()
    with site.db.read() as connection:
        kinds = [entry.kind for entry in ledger.entries(connection, subject="far")]
        ends = [entry.kind for entry in ledger.entries(connection, kind="job.done", subject=found.id)]
    assert kinds == ["site.lost", "site.found"]
    assert ends == ["job.done"]
    assert far.sweep([]) == [], "its left attempt was ended when the site came back"


def test_a_site_is_checked_with_a_job_of_its_own(site: Platform) -> None:
    add(site, "hall-b", 2)
    with site.db.read() as connection:
        found = check(site, sites.get(connection, "hall-b"))
    assert found.works
    assert found.capacity.cpus == 2
    assert found.ran_s is not None


def test_what_is_wrong_with_a_registration_is_said(site: Platform) -> None:
    with pytest.raises(BadInput, match="cpus: Field required.*Options: cpus, memory_gib, accelerators"):
        site.db.write(lambda connection: sites.add(connection, "x", "local", {}, actor=SYSTEM, at=site.clock.now()))
    with pytest.raises(NotFound, match="No sites can be registered with an engine 'platform'"):
        site.db.write(lambda connection: sites.add(connection, "x", "platform", {}, actor=SYSTEM, at=site.clock.now()))
    with pytest.raises(BadInput, match="'local' cannot be the name of a site"):
        add(site, "local", 1)
    add(site, "hall-b", 1)
    with pytest.raises(Conflict, match="There is a site 'hall-b' already"):
        add(site, "hall-b", 1)
    submit(site, {"a": command("true")}, engine="hall-b")
    with pytest.raises(Conflict, match=r"1 job\(s\) are bound to site 'hall-b'"):
        site.db.write(lambda connection: sites.remove(connection, "hall-b", actor=SYSTEM, at=site.clock.now()))
