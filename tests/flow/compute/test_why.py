"""`why`: what each job is told of itself, from the database as it is, on every way that it can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import State
from headwater.compute.why import WhyView, why
from headwater.core import identity, platform, settings
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.server.app import create_app
from tests.flow.cli.test_commands import headwater
from tests.flow.compute.graphs import command, ended, submit, until
from tests.flow.server.in_process import TestClient


@pytest.fixture
def busy(site: Platform) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()


def asked(site: Platform, job: str, dispatcher: Dispatcher | None = None) -> WhyView:
    with site.db.read() as connection:
        return why(site, connection, jobs.get(connection, job), judge=dispatcher.judge if dispatcher else None)


def test_every_state_says_why_and_what_to_expect(site: Platform, busy: Dispatcher) -> None:
    ended(site, submit(site, {name: command("sleep", "1", cpus=2) for name in ("a", "b")}))
    graph = submit(
        site,
        {
            "first": command("sleep", "4", cpus=2),
            "second": command("sleep", "1", cpus=2),
            "third": command("true", cpus=1),
            "after": command("true", needs=("third",)),
        },
    )
    until(site, graph, lambda seen: seen["first"].state is State.RUNNING and "waits" in seen["third"].reason)
    first, second, third, after = (asked(site, f"{graph}.{name}", busy) for name in ("first", "second", "third", "after"))
    assert (first.code, first.policy) == ("started", "fifo")
    assert "had 2 of 2 CPUs" in first.why
    assert first.expected_end is not None
    assert second.code == "no_room"
    assert "asks for 2 CPUs where 0 are free" in second.why
    assert (second.unblocks, second.ahead) == ("Running jobs ending.", 0)
    assert (third.code, third.ahead) == ("behind", 1)
    assert after.code == "needs"
    assert "'third' (queued)" in after.why

    assert second.run_time is not None
    assert (second.run_time.basis, second.run_time.runs) == ("all jobs", 2)
    assert 0.9 < second.run_time.p50_s < 5, "those that have ended slept for a second"
    start, running = second.expected_start, jobs_of(site, graph)["first"]
    assert start is not None
    assert start.at is not None
    assert start.earliest is not None
    assert start.latest is not None
    assert start.earliest <= start.at <= start.latest
    assert start.at - running.started_at < timedelta(seconds=61)  # type: ignore[operator]
    seen = ended(site, graph)
    assert {asked(site, one.id, busy).code for one in seen.values()} == {"done"}


def jobs_of(site: Platform, graph: str) -> dict[str, jobs.Job]:
    with site.db.read() as connection:
        return {job.name: job for job in jobs.of_graph(connection, graph)}


def test_one_that_could_never_run_and_one_that_failed_say_so(site: Platform, busy: Dispatcher) -> None:
    graph = submit(site, {"huge": command("true", cpus=64), "bad": command("sh", "-c", "exit 3")})
    seen = ended(site, graph)
    assert "64 CPUs where 2 are in all" in asked(site, seen["huge"].id, busy).why
    assert asked(site, seen["bad"].id, busy).code == "failed"


def test_where_no_server_ran_that_is_the_reason(site: Platform) -> None:
    graph = submit(site, {"job": command("true")})
    assert asked(site, f"{graph}.job").code == "no_server"


def test_a_policy_file_that_breaks_keeps_the_policy_and_is_told(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('name = "own"\n', encoding="utf-8")
    with platform.opened(settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=4, policy=str(file))) as site:
        site.found()
        dispatcher = Dispatcher(site)
        dispatcher.start()
        blocked = submit(site, {"first": command("sleep", "2", cpus=2), "second": command("true", cpus=2)})
        until(site, blocked, lambda seen: "waits" in seen["second"].reason)
        file.write_text('name = "own"\n[order]\nby = "whim"\n', encoding="utf-8")
        told = asked(site, f"{blocked}.second", dispatcher)
        assert (told.policy, told.code) == ("own", "no_room")
        assert "order.by" in told.problem
        without_server = asked(site, f"{blocked}.second")
        assert "order.by" in without_server.problem
        assert without_server.code == "no_room"
        file.write_text('name = "newer"\n', encoding="utf-8")
        assert asked(site, f"{blocked}.second", dispatcher).policy == "newer"
        assert ended(site, blocked)["second"].state is State.DONE
        dispatcher.stop()


def test_it_is_asked_over_http_on_the_page_and_on_the_command_line(site: Platform, busy: Dispatcher, tmp_path: Path) -> None:
    release = tmp_path / "release"
    graph = submit(
        site, {"first": command("sh", "-c", f"until test -e {release}; do sleep 0.1; done", cpus=2), "second": command("true", cpus=2)}
    )
    until(site, graph, lambda seen: "waits" in seen["second"].reason)
    app: FastAPI = create_app(site, dispatcher=busy)
    administrator, now = site.found(), site.clock.now()
    token = site.db.write(
        lambda connection: identity.issue_token(connection, administrator, kind="api", label="t", lasts=timedelta(hours=1), at=now)
    )
    client = TestClient(app, headers={"authorization": f"Bearer {token}"})
    answer = client.get(f"/api/jobs/{graph}.second/why").json()
    assert (answer["code"], answer["state"]) == ("no_room", "queued")
    page = client.get(f"/jobs/{graph}.second", headers={"accept": "text/html"}).text
    assert "What would unblock it" in page
    assert "Running jobs ending." in page
    assert "Expected start" in page
    shown = headwater("job", "why", f"{graph}.second", "--data", str(site.settings.data_folder))
    assert shown.returncode == 0, shown.stderr
    assert "asks for 2 CPUs where 0 are free" in " ".join(shown.stdout.split())
    release.touch()
    ended(site, graph)


def test_another_organisation_s_job_is_refused(site: Platform) -> None:
    now = site.clock.now()

    def stranger(connection: identity.Connection) -> str:
        identity.add_organisation(connection, "city/b", "B", actor=SYSTEM, at=now)
        person = identity.add_person(connection, "wu", "city/b", actor=SYSTEM, at=now)
        identity.grant(connection, person, "viewer", "city/b", reason="test", actor=SYSTEM, at=now)
        return identity.issue_token(connection, person, kind="api", label="t", lasts=timedelta(hours=1), at=now)

    graph = submit(site, {"job": command("true")})
    client = TestClient(create_app(site), headers={"authorization": f"Bearer {site.db.write(stranger)}"})
    assert client.get(f"/api/jobs/{graph}.job/why").status_code == 403
