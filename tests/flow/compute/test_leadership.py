"""Several servers on one database: one decides, the next takes over within ten seconds, and one that was paused can change nothing."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text, update

from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines.home import home_of
from headwater.compute.jobs import State
from headwater.compute.leadership import Leadership, lease, this_process
from headwater.core import identity, ledger, platform, settings
from headwater.core.errors import Unavailable
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, ended, graph_of, submit, until
from tests.flow.compute.servers import ServerProcess, processes_of
from tests.postgres import Postgres

TAKEOVER_S = 10.0


@pytest.fixture
def servers(any_site: Platform) -> Iterator[Callable[..., ServerProcess]]:
    """Give what starts servers on the site's database, and on its data folder or another; they end with the test."""
    started: list[ServerProcess] = []

    def start(data: Path = any_site.settings.data_folder) -> ServerProcess:
        options = {"local_cpus": "2", "local_memory_gib": "4", "database_url": any_site.settings.database}
        started.append(ServerProcess(data, **options).ready())
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGCONT)
            one.stop()


def role(server: ServerProcess) -> str:
    return str(httpx.get(f"{server.address}/health", timeout=10, trust_env=False).json()["role"])


def leads_within(server: ServerProcess, seconds: float) -> float:
    """Wait until a server leads, and return how long that took."""
    began_s = time.monotonic()
    while role(server) != "leader":
        assert time.monotonic() - began_s < seconds, f"no takeover within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began_s


def test_one_dispatcher_leads_and_the_next_leads_as_soon_as_it_stops(any_site: Platform) -> None:
    first, second = Dispatcher(any_site), Dispatcher(any_site)
    first.start()
    second.start()
    assert (first.role, second.role) == ("leader", "standby")
    graph = submit(any_site, {"job": command("sh", "-c", "sleep 2; mkdir -p outputs; echo 1 > outputs/out", outputs=("out",))})
    until(any_site, graph, lambda seen: seen["job"].state is State.RUNNING)
    first.stop()
    stopped_s = time.monotonic()
    while second.role != "leader":
        assert time.monotonic() - stopped_s < 3
        time.sleep(0.02)
    job = ended(any_site, graph)["job"]
    second.stop()
    assert (job.state, job.attempt) == (State.DONE, 1)


def test_a_leader_that_another_has_replaced_writes_nothing_though_its_own_clock_lets_it(any_site: Platform) -> None:
    before, after = Leadership(any_site.db, {}), Leadership(any_site.db, {})
    before.start()
    any_site.db.write(lambda connection: connection.execute(update(lease).values(expires=0.0)))
    after.start()
    assert before.epoch is not None
    with pytest.raises(Unavailable, match="does not lead"):
        before.write(lambda connection: ledger.append(connection, "late", subject="x", actor="x", at=any_site.clock.now()))
    after.write(lambda connection: ledger.append(connection, "fresh", subject="x", actor="x", at=any_site.clock.now()))
    with any_site.db.read() as connection:
        assert [entry.kind for entry in ledger.entries(connection, subject="x")] == ["fresh"]
    before.stop()
    assert after.epoch is not None, "one that does not lead lets go of nothing"
    after.stop()


def test_the_lease_of_a_process_elsewhere_is_waited_for_and_that_of_a_dead_one_here_is_not(any_site: Platform) -> None:
    held = Leadership(any_site.db, {})
    held.start()
    held._stopping.set()  # it renews no more, as where its machine is gone
    here = this_process()
    for holder, taken in ((f"elsewhere {here.machine} {here.pid} 1 aa", False), (f"{here.host} {here.machine} {here.pid} 1 aa", True)):
        change = update(lease).values(holder=holder)
        any_site.db.write(lambda connection, change=change: connection.execute(change))  # type: ignore[misc]
        waiting = Leadership(any_site.db, {})
        waiting.start()
        assert (waiting.epoch is not None) is taken
        waiting.stop()


def test_a_second_server_takes_over_from_one_that_was_killed_and_its_jobs_go_on(
    any_site: Platform, servers: Callable[..., ServerProcess]
) -> None:
    first, second = servers(), servers()
    assert (role(first), role(second)) == ("leader", "standby")
    graph = submit(any_site, {name: command("sleep", "3") for name in "abcd"})
    until(any_site, graph, lambda seen: seen["a"].state is State.RUNNING)
    first.kill()
    took_s = leads_within(second, TAKEOVER_S)
    seen = ended(any_site, graph)
    print(f"took over after {took_s:.2f} s")
    assert {(job.state, job.attempt) for job in seen.values()} == {(State.DONE, 1)}


def test_a_server_that_was_paused_finds_another_leading_and_every_job_ends_once(
    any_site: Platform, servers: Callable[..., ServerProcess]
) -> None:
    first, second = servers(), servers()
    graph = submit(any_site, {f"j{number}": command("sleep", "3") for number in range(8)})
    until(any_site, graph, lambda seen: sum(job.state is State.RUNNING for job in seen.values()) == 4)
    time.sleep(0.4)  # past its writing: SQLite cannot take a file's lock from a process that is paused with it
    first.process.send_signal(signal.SIGSTOP)
    took_s = leads_within(second, TAKEOVER_S)
    first.process.send_signal(signal.SIGCONT)
    seen = ended(any_site, graph)
    print(f"took over after {took_s:.2f} s")
    assert (role(first), role(second)) == ("standby", "leader")
    assert {(job.state, job.attempt) for job in seen.values()} == {(State.DONE, 1)}
    with any_site.db.read() as connection:
        ledger.verify(connection)
        ends = Counter(entry.subject for entry in ledger.entries(connection, kind="job.done"))
    assert ends == {job.id: 1 for job in seen.values()}


def test_what_is_sent_to_a_server_that_stands_by_is_done_by_the_leader(any_site: Platform, servers: Callable[..., ServerProcess]) -> None:
    _, second = servers(), servers()
    owner, now = any_site.found(), any_site.clock.now()
    token = any_site.db.write(
        lambda connection: identity.issue_token(connection, owner, kind="api", label="test", lasts=timedelta(hours=1), at=now)
    )
    project = "schema: headwater.project/1\nname: two\nsteps:\n  nap: {run: [sleep, '60']}\n  short: {run: ['true']}\n"
    with httpx.Client(base_url=second.address, headers={"authorization": f"Bearer {token}"}, timeout=20, trust_env=False) as client:
        run = client.post("/api/runs", json={"text": project}).json()["id"]
        until(any_site, run, lambda seen: seen["nap"].state is State.RUNNING and seen["short"].state is State.DONE)
        client.post(f"/api/runs/{run}/cancel").raise_for_status()
    assert ended(any_site, run)["nap"].state is State.CANCELLED
    assert role(second) == "standby"


def test_a_job_on_the_machine_of_a_dead_server_is_tried_again_and_what_was_left_of_it_ends_when_that_server_is_back(
    tmp_path: Path, new_database: str
) -> None:
    options = {"local_cpus": "2", "local_memory_gib": "4", "database_url": new_database}
    one, two = tmp_path / "one" / "data", tmp_path / "two" / "data"
    for folder in (one, two):
        folder.parent.mkdir()
    with platform.opened(settings.load(data_folder=two, database_url=new_database)) as site:
        site.found()
        first, second = ServerProcess(one, **options).ready(), ServerProcess(two, **options).ready()
        marker = tmp_path / "second"
        graph = submit(site, {"job": command("sh", "-c", f"test -e {marker} || {{ touch {marker}; exec sleep 300; }}", wall_s=600)})
        until(site, graph, lambda seen: seen["job"].state is State.RUNNING and marker.exists())
        first.kill()
        job = ended(site, graph)["job"]
        assert (job.state, job.attempt) == (State.DONE, 2)
        assert [line for line in processes_of(one) if "sleep 300" in line], "nobody could reach it"
        first = ServerProcess(one, **options).ready()
        deadline = time.monotonic() + 20
        while any("sleep 300" in line for line in processes_of(one)):
            assert time.monotonic() < deadline, "a server that stands by ends what the leader has given up"
            time.sleep(0.1)
        assert (role(first), role(second)) == ("standby", "leader")
        assert (first.stop(), second.stop()) == (0, 0)


def test_a_leader_whose_database_is_away_stops_deciding_and_leads_again_when_it_is_back(tmp_path: Path) -> None:
    server = Postgres()
    server.start()
    try:
        with platform.opened(settings.load(data_folder=tmp_path / "data", database_url=f"{server.url}/postgres")) as site:
            site.found()
            dispatcher = Dispatcher(site)
            dispatcher.start()
            graph = submit(site, {"job": command("sleep", "3")})
            until(site, graph, lambda seen: seen["job"].state is State.RUNNING)
            server.kill()
            died_s = time.monotonic()
            while dispatcher.role == "leader":
                assert time.monotonic() - died_s < TAKEOVER_S
                time.sleep(0.05)
            server.start()
            job = ended(site, graph)["job"]
            assert (job.state, job.attempt, dispatcher.role) == (State.DONE, 1, "leader")
            dispatcher.stop()
    finally:
        server.stop()


def test_two_servers_on_one_folder_have_one_home_and_on_two_have_two(tmp_path: Path) -> None:
    from headwater.compute.engines.local import LocalEngine
    from headwater.compute.work import Capacity
    from headwater.core.store import Store

    store, room = Store(tmp_path / "store"), Capacity(cpus=1, memory_gib=1)
    engines = [LocalEngine(root=tmp_path / name, store=store, capacity=room) for name in ("a", "a", "b")]
    homes = [home_of(engine) for engine in engines]
    assert homes[0] == homes[1] != homes[2]
    assert all(engine.sweep(()) == [] for engine in engines)


def test_a_job_says_where_its_attempt_is(site: Platform) -> None:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    graph = submit(site, {"job": command("true")})
    job = ended(site, graph)["job"]
    dispatcher.stop()
    assert job.home == home_of(dispatcher.engines["local"])


def test_what_one_turn_decides_is_recorded_whole_or_not_at_all(tmp_path: Path, new_database: str) -> None:
    refuse = """
        create function refuse() returns trigger language plpgsql as $$
        begin if new.kind = 'job.starting' and new.subject like '%.d' then raise exception 'not this one'; end if; return new; end $$;
        create trigger refuse before insert on ledger_entry for each row execute function refuse();
    """
    chosen = settings.load(data_folder=tmp_path / "data", database_url=new_database, local_cpus=2, local_memory_gib=4)
    with platform.opened(chosen) as site:
        site.found()
        site.db.write(lambda connection: connection.execute(text(refuse)))
        dispatcher = Dispatcher(site)
        dispatcher.start()
        graph = submit(site, {name: command("true", cpus=0.5) for name in "abcd"})
        time.sleep(2)
        assert {job.state for job in graph_of(site, graph).values()} == {State.QUEUED}, "one entry is refused, so none of its turn is there"
        with site.db.read() as connection:
            assert not list(ledger.entries(connection, kind="job.*"))
        site.db.write(lambda connection: connection.execute(text("drop trigger refuse on ledger_entry")))
        seen = ended(site, graph)
        dispatcher.stop()
    assert {(job.state, job.attempt) for job in seen.values()} == {(State.DONE, 1)}
