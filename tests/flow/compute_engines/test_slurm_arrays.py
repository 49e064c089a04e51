"""Jobs that start together reach Slurm as one array, and are still each their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import begun, ended, opened, shell, until
from tests.slurm import Cluster

from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.work import Phase, Reason
from headwater.core.errors import BadInput


@pytest.fixture(params=["rest", "commands"])
def engine(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmEngine]:
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    made = opened(cluster, tmp_path, client=CommandClient() if request.param == "commands" else None)
    yield made
    for key in made.sweep(()):
        until(made, key, lambda seen: seen.phase is not Phase.RUNNING)
    made.close()


def arrays(cluster: Cluster) -> dict[str, int]:
    """Count the elements that Slurm knows by array."""
    found: dict[str, int] = {}
    for line in cluster.command("squeue", "-h", "--states=all", "-r", "-o", "%F %K").splitlines():
        number, index = line.split()
        if index != "N/A":
            found[number] = found.get(number, 0) + 1
    return found


def test_jobs_that_ask_for_the_same_are_one_array_and_each_ends_with_its_own_result(engine: SlurmEngine, cluster: Cluster) -> None:
    before = arrays(cluster)
    script = 'echo "$SLURM_ARRAY_TASK_ID in $(basename "$HOME")"; test {0} != 3'
    assert engine.submit_all([shell(f"job-{number}.1", script.format(number)) for number in range(8)]) == {}
    seen = {f"job-{number}.1": ended(engine, f"job-{number}.1") for number in range(8)}
    assert [one.phase for one in seen.values()] == [Phase.SUCCEEDED] * 3 + [Phase.FAILED] + [Phase.SUCCEEDED] * 4
    logs = [(engine.folder(key) / "log.txt").read_text().strip() for key in seen]
    assert logs == [f"{number} in job-{number}.1" for number in range(8)]
    assert [count for number, count in arrays(cluster).items() if number not in before] == [8]


def test_jobs_that_ask_for_other_things_are_other_arrays(engine: SlurmEngine, cluster: Cluster) -> None:
    before = arrays(cluster)
    small, large = ([shell(f"{name}-{number}", "true", cpus=cpus) for number in range(2)] for name, cpus in (("small", 1), ("large", 2)))
    assert engine.submit_all([*small, *large]) == {}
    assert {ended(engine, work.key).phase for work in (*small, *large)} == {Phase.SUCCEEDED}
    assert [count for number, count in arrays(cluster).items() if number not in before] == [2, 2]


def test_one_of_an_array_is_cancelled_and_the_others_go_on(engine: SlurmEngine) -> None:
    works = [shell(f"card-{number}", "sleep 3", accelerators={"ascend910b": 4}) for number in range(4)]  # two nodes of four
    engine.submit_all(works)
    begun(engine, "card-0")
    engine.cancel("card-0")
    engine.cancel("card-3")
    assert (ended(engine, "card-3").phase, ended(engine, "card-3").reason) == (Phase.FAILED, Reason.CANCELLED)
    assert ended(engine, "card-0").reason is Reason.CANCELLED
    assert [ended(engine, f"card-{number}").phase for number in (1, 2)] == [Phase.SUCCEEDED] * 2


def test_an_array_submitted_again_starts_nothing(engine: SlurmEngine, tmp_path: Path) -> None:
    works = [shell(f"once-{number}", f"echo ran >> {tmp_path}/ran.txt") for number in range(3)]
    engine.submit_all(works)
    engine.submit_all(works)
    engine.submit(works[1])
    assert {ended(engine, work.key).phase for work in works} == {Phase.SUCCEEDED}
    engine.submit_all(works)
    assert (tmp_path / "ran.txt").read_text() == "ran\n" * 3


def test_an_array_that_the_server_did_not_live_to_note_is_found_by_its_name(engine: SlurmEngine, tmp_path: Path, cluster: Cluster) -> None:
    works = [shell(f"found-{number}", f"sleep 1; echo ran >> {tmp_path}/ran.txt") for number in range(3)]
    engine.submit_all(works)
    noted = next((tmp_path / "jobs" / ".arrays").glob("*/slurm.json"))
    noted.unlink()  # as if the server had died between Slurm's answer and this note
    again = opened(cluster, tmp_path)
    again.submit(works[2])
    assert {ended(again, work.key).phase for work in works} == {Phase.SUCCEEDED}
    assert (tmp_path / "ran.txt").read_text() == "ran\n" * 3
    again.close()


def test_a_sweep_ends_the_elements_that_nobody_knows_and_leaves_no_array_behind(engine: SlurmEngine, tmp_path: Path) -> None:
    works = [shell(f"sweep-{number}", "exec sleep 60", accelerators={"ascend910b": 4}) for number in range(3)]
    engine.submit_all(works)
    begun(engine, "sweep-0")
    assert engine.sweep({"sweep-0"}) == ["sweep-1", "sweep-2"]
    assert {ended(engine, key).reason for key in ("sweep-1", "sweep-2")} == {Reason.CANCELLED}
    assert engine.sweep(()) == ["sweep-0"]
    assert ended(engine, "sweep-0").reason is Reason.CANCELLED
    for work in works:
        engine.forget(work.key)
    last_s = time.monotonic() + 20
    while list((tmp_path / "jobs" / ".arrays").iterdir()) and time.monotonic() < last_s:
        engine.sweep(())
        time.sleep(0.2)
    assert list((tmp_path / "jobs" / ".arrays").iterdir()) == []


def test_what_slurm_refuses_in_an_array_is_refused_for_each_and_the_rest_runs(engine: SlurmEngine) -> None:
    wide = [shell(f"wide-{number}", "true", accelerators={"ascend910b": 64}) for number in range(2)]
    refused = engine.submit_all([*wide, shell("fits", "true")])
    assert sorted(refused) == ["wide-0", "wide-1"]
    assert all(isinstance(error, BadInput) for error in refused.values())
    assert ended(engine, "fits").phase is Phase.SUCCEEDED
    assert not engine.folder("wide-0").exists()
