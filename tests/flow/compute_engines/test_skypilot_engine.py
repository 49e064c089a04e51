"""What only SkyPilot shows: launches that fail or never end, machines that are taken back, and that nothing rented is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.skypilot import BUCKET, TOKEN, Failed, SkyServer
from tests.slurm import free_ports

from headwater.compute.dispatcher import ENGINES
from headwater.compute.engines.skypilot import SkyEngine, SkyOptions
from headwater.compute.work import Observation, Phase, Reason, Work
from headwater.core import platform, settings
from headwater.core.errors import BadInput, Unavailable
from headwater.core.steps import Resources
from headwater.core.store import Store


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SkyServer]:
    (tmp_path / "bucket").mkdir()
    made = SkyServer(tmp_path / "bucket")
    yield made
    made.stop()


def opened(server: SkyServer, *, url: str = "", token: str = TOKEN, launch_s: float = 60.0) -> SkyEngine:
    file = server.folder.parent / "token"
    file.write_text(token)
    options = SkyOptions(
        url=url or server.url,
        bucket=BUCKET,
        folder=str(server.folder),
        cpus=8,
        memory_gib=32,
        accelerators={"h100": 2},
        token_file=str(file),
        launch_s=launch_s,
    )
    return SkyEngine(store=Store(str(server.folder.parent / "artifacts"), max_bytes=1 << 20), options=options)


@pytest.fixture
def engine(server: SkyServer) -> Iterator[SkyEngine]:
    made = opened(server)
    yield made
    made.close()


def until(engine: SkyEngine, key: str, holds: Callable[[Observation], bool], most_s: float = 90.0) -> Observation:
    last_s = time.monotonic() + most_s
    while not holds(seen := engine.poll([key])[key]):
        assert time.monotonic() < last_s, f"{key} stayed {seen}"
        engine.wait(0.1)
    return seen


def ended(engine: SkyEngine, key: str) -> Observation:
    return until(engine, key, lambda seen: seen.phase is not Phase.RUNNING)


def begun(engine: SkyEngine, key: str) -> None:
    until(engine, key, lambda _: (engine.folder(key) / "runner.json").exists())


def nothing_rented(server: SkyServer, engine: SkyEngine, most_s: float = 5.0) -> bool:
    last_s = time.monotonic() + most_s
    while server.clusters and time.monotonic() < last_s:
        engine.poll([])
        time.sleep(0.05)
    return not server.clusters


def shell(key: str, script: str, **resources: object) -> Work:
    return Work(key=key, argv=("/bin/sh", "-c", script), resources=Resources(memory_gib=0.1, **resources))  # type: ignore[arg-type]


def test_a_machine_is_given_back_when_its_job_has_ended(engine: SkyEngine, server: SkyServer) -> None:
    engine.submit(shell("one", "echo done"))
    begun(engine, "one")
    assert ended(engine, "one").phase is Phase.SUCCEEDED
    assert (engine.folder("one") / "log.txt").read_text() == "done\n"
    assert nothing_rented(server, engine)


def test_a_launch_that_fails_is_torn_down_before_it_is_called_failed(engine: SkyEngine, server: SkyServer) -> None:
    server.next_failure = Failed("CommandError", "Command uv failed with return code 1")
    engine.submit(shell("one", "true"))
    seen = ended(engine, "one")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.FAILED)
    assert seen.message == "The launch failed: CommandError: Command uv failed with return code 1"
    assert nothing_rented(server, engine)


def test_that_no_cloud_has_a_machine_free_may_pass(engine: SkyEngine, server: SkyServer) -> None:
    server.next_failure = Failed("ResourcesUnavailableError", "No H100 in any region")
    engine.submit(shell("one", "true", accelerators={"h100": 1}))
    seen = ended(engine, "one")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert nothing_rented(server, engine)


def test_a_launch_that_does_not_end_is_given_up_in_bounded_time(server: SkyServer) -> None:
    engine = opened(server, launch_s=2.0)
    server.holds_launches = True
    asked_s = time.monotonic()
    engine.submit(shell("one", "true"))
    seen = ended(engine, "one")
    assert (seen.phase, seen.message) == (Phase.LOST, "The machine was not there within 2 s.")
    assert nothing_rented(server, engine)
    assert time.monotonic() - asked_s < 15
    assert not (engine.folder("one") / "runner.json").exists()
    engine.close()


def test_a_teardown_that_fails_is_asked_for_again_until_the_machine_is_gone(engine: SkyEngine, server: SkyServer) -> None:
    server.failing_downs = 2
    engine.submit(shell("one", "true"))
    assert ended(engine, "one").phase is Phase.SUCCEEDED
    assert nothing_rented(server, engine, most_s=45)
    assert server.failing_downs == 0


def test_a_job_that_is_cancelled_before_its_machine_is_there_never_runs(engine: SkyEngine, server: SkyServer) -> None:
    server.holds_launches = True
    engine.submit(shell("one", "true"))
    assert engine.poll(["one"])["one"].phase is Phase.RUNNING
    engine.cancel("one")
    seen = ended(engine, "one")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    server.holds_launches = False
    assert nothing_rented(server, engine)
    assert not (engine.folder("one") / "runner.json").exists()


def test_a_running_job_that_is_cancelled_gets_to_clean_up(engine: SkyEngine, server: SkyServer) -> None:
    engine.submit(shell("one", "trap 'echo cleaned; exit 0' TERM; echo on; while :; do sleep 0.1; done"))
    log = engine.folder("one") / "log.txt"
    until(engine, "one", lambda _: log.exists() and log.read_text() == "on\n")
    engine.cancel("one")
    assert ended(engine, "one").reason is Reason.CANCELLED
    assert log.read_text().endswith("cleaned\n")
    assert nothing_rented(server, engine)


def test_a_machine_that_the_cloud_takes_back_is_lost(engine: SkyEngine, server: SkyServer) -> None:
    engine.submit(shell("one", "sleep 60"))
    begun(engine, "one")
    server.take_back(next(iter(server.clusters)))
    seen = ended(engine, "one")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_launch_that_the_server_did_not_live_to_note_is_found_again(engine: SkyEngine, has_begun: bool) -> None:
    work = shell("once", 'echo ran >> "$HOME/../ran.txt"; sleep 1')
    engine.submit(work)
    if has_begun:
        begun(engine, "once")
    (engine.folder("once") / "skypilot.json").unlink()  # as if the server had died between the answer and this note
    engine.submit(work)
    assert ended(engine, "once").phase is Phase.SUCCEEDED
    assert (engine.folder("once").parent / "ran.txt").read_text() == "ran\n"


def test_a_sweep_gives_back_machines_that_nobody_knows_and_no_others(engine: SkyEngine, server: SkyServer) -> None:
    server.clusters["someone-elses"] = {"name": "someone-elses", "status": "UP"}
    engine.submit(shell("stray", "sleep 60"))
    begun(engine, "stray")
    assert engine.sweep(()) == ["stray"]
    last_s = time.monotonic() + 5
    while len(server.clusters) > 1 and time.monotonic() < last_s:
        time.sleep(0.05)
    assert list(server.clusters) == ["someone-elses"]


def test_what_may_be_rented_at_once_is_the_capacity(engine: SkyEngine) -> None:
    capacity = engine.capacity()
    assert (capacity.cpus, capacity.memory_gib, dict(capacity.accelerators)) == (8, 32, {"h100": 2})


def test_a_server_that_is_not_there_or_knows_us_not_is_said_so(server: SkyServer) -> None:
    with pytest.raises(Unavailable, match="SkyPilot does not answer"):
        opened(server, url=f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(Unavailable, match="401"):
        opened(server, token="sky_stale")


def test_a_real_server_that_has_no_cloud_fails_the_launch_and_leaves_nothing(server: SkyServer) -> None:
    """Set SKY_TEST_URL to a SkyPilot API server without credentials, as `sky api start` makes one on a fresh machine."""
    if "SKY_TEST_URL" not in os.environ:
        pytest.skip("no SkyPilot API server: SKY_TEST_URL not set")
    engine = opened(server, url=os.environ["SKY_TEST_URL"], token="none", launch_s=120)
    engine.submit(shell("one", "true"))
    (engine.folder("one") / "skypilot.json").unlink()
    engine.submit(shell("one", "true"))
    assert len(engine._client.launches(engine._cluster("one"))) == 1
    seen = ended(engine, "one")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert "ResourcesUnavailableError" in seen.message
    assert engine._cluster("one") not in engine._client.clusters()
    assert engine.sweep(()) == []
    engine.close()


def test_a_table_with_a_wrong_key_is_refused_with_the_keys_that_there_are(tmp_path: Path) -> None:
    told = {"url": "http://localhost", "buckets": "s3://x"}
    with platform.opened(settings.load(data_folder=tmp_path / "data", skypilot=told)) as site, pytest.raises(BadInput, match="launch_s"):
        ENGINES.get("skypilot")(site)
