"""A real process that writes checkpoints is stopped for a more urgent one, and goes on from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import State
from headwater.core import ledger, platform, settings
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, ended, submit, until

POLICY = """
name = "urgent"
[order]
by = "priority"
[backfill]
kind = "skip"
[preemption]
when = "by_priority"
"""
COUNTS = """
n=$(cat "$HW_CHECKPOINT/n" 2>/dev/null || echo 0)
trap 'echo $n > "$HW_CHECKPOINT/n"; exit 1' TERM
echo "from $n"
while [ $n -lt 30 ]; do n=$((n + 1)); echo "step $n"; sleep 0.1; done
mkdir -p outputs; echo $n > outputs/n
"""
IGNORES = "trap '' TERM; echo begun > $HW_CHECKPOINT/begun; while :; do sleep 0.05; done"


@pytest.fixture
def urgent(tmp_path: Path) -> Iterator[Platform]:
    (tmp_path / "urgent.toml").write_text(POLICY, encoding="utf-8")
    chosen = settings.load(
        data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=4, policy=str(tmp_path / "urgent.toml"), stop_grace_s=0.5
    )
    with platform.opened(chosen) as site:
        site.found()
        dispatcher = Dispatcher(site)
        dispatcher.start()
        yield site
        dispatcher.stop()


def log(site: Platform, job: str, attempt: int) -> str:
    file = site.settings.data_folder / "jobs" / f"{job}.{attempt}" / "log.txt"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def gone(folder: Path) -> None:
    """Wait until a folder is removed, which comes right after the job's end is recorded."""
    deadline = time.monotonic() + 10
    while folder.exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.02)


def test_a_job_that_makes_room_goes_on_from_its_checkpoint(urgent: Platform) -> None:
    low = submit(urgent, {"low": command("sh", "-c", COUNTS, outputs=("n",), cpus=2, checkpoint_s=0.0)})
    until(urgent, low, lambda seen: seen["low"].state is State.RUNNING and "step 5" in log(urgent, seen["low"].id, 1))
    high = submit(urgent, {"high": command("sleep", "0.3", cpus=2, priority=5.0)})
    first, second = ended(urgent, high)["high"], ended(urgent, low)["low"]
    assert (first.state, second.state, second.attempt, second.preemptions) == (State.DONE, State.DONE, 2, 1)
    assert urgent.store.read(second.outputs["n"]).decode().strip() == "30"
    begun = int(log(urgent, second.id, 2).split()[1])
    assert begun >= 5
    assert f"step {begun}\n" not in log(urgent, second.id, 2)
    assert second.attained_s > 0.4
    assert second.started_at >= first.ended_at  # type: ignore[operator]
    with urgent.db.read() as connection:
        told = [(one.kind, one.body.get("for")) for one in ledger.entries(connection, subject=second.id, kind="job.preempted")]
        queued = [one.body["reason"] for one in ledger.entries(connection, subject=second.id, kind="job.queued")]
    assert told == [("job.preempted", first.id)]
    assert "was stopped for" in queued[0]
    assert "s of its work are kept" in queued[0]
    gone(urgent.settings.data_folder / "checkpoints" / second.id)


def test_a_job_that_does_not_stop_when_asked_is_killed_after_the_grace(urgent: Platform) -> None:
    low = submit(urgent, {"low": command("sh", "-c", IGNORES, cpus=2, checkpoint_s=3600.0)})
    begun = urgent.settings.data_folder / "checkpoints" / f"{low}.low" / "begun"
    until(urgent, low, lambda seen: seen["low"].state is State.RUNNING and begun.exists())
    high = submit(urgent, {"high": command("true", cpus=2, priority=5.0)})
    assert ended(urgent, high)["high"].state is State.DONE
    seen = until(urgent, low, lambda seen: seen["low"].attempt == 2)["low"]
    assert (seen.preemptions, seen.attained_s) == (1, 0.0), "less than one interval between checkpoints was done"
    urgent.db.write(lambda connection: jobs.ask_cancel(connection, seen.id, actor=SYSTEM, at=urgent.clock.now()))
    assert ended(urgent, low)["low"].state is State.CANCELLED
    gone(begun.parent)


def test_preemptions_use_up_no_retries_and_a_cancel_wins(urgent: Platform) -> None:
    low = submit(urgent, {"low": command("sh", "-c", "sleep 60", cpus=2)})
    for round_ in range(4):
        until(urgent, low, lambda seen, tries=round_ + 1: seen["low"].state is State.RUNNING and seen["low"].attempt == tries)  # type: ignore[misc]
        high = submit(urgent, {"high": command("true", cpus=2, priority=5.0)})
        assert ended(urgent, high)["high"].state is State.DONE
    seen = until(urgent, low, lambda seen: seen["low"].state is State.RUNNING)["low"]
    assert seen.preemptions == 4 > urgent.settings.job_attempts
    urgent.db.write(lambda connection: jobs.ask_cancel(connection, seen.id, actor=SYSTEM, at=urgent.clock.now()))
    assert ended(urgent, low)["low"].state is State.CANCELLED


def test_a_server_that_dies_while_it_stops_a_job_finishes_the_stop_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "urgent.toml").write_text(POLICY, encoding="utf-8")
    chosen = settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=4, policy=str(tmp_path / "urgent.toml"))
    with platform.opened(chosen) as site:
        site.found()
        before = Dispatcher(site)
        before.start()
        low = submit(site, {"low": command("sh", "-c", COUNTS, outputs=("n",), cpus=2, checkpoint_s=0.0)})
        running = until(site, low, lambda seen: seen["low"].state is State.RUNNING and "step 5" in log(site, seen["low"].id, 1))["low"]
        before.stop()
        at = site.clock.now()
        site.db.write(lambda connection: jobs.ask_room(connection, running, for_job="x", why="asked, then died", at=at, actor=SYSTEM))
        after = Dispatcher(site)
        after.start()
        seen = ended(site, low)["low"]
        after.stop()
    assert (seen.state, seen.attempt, seen.preemptions) == (State.DONE, 2, 1)
