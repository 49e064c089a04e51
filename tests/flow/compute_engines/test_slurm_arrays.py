"""Jobs that start together reach Slurm as one array, and are still each their own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import begun, element, ended, is_shared, kill_group, opened, shell, until
from tests.slurm import Cluster

from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_turns import FIRST
from headwater.compute.work import Phase, Reason, Work
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


def on_whole_nodes(*scripts: str) -> list[Work]:
    """Give attempts of one array of which two run at a time: there are two nodes with four cards."""
    return [shell(f"turn-{index}", script, accelerators={"ascend910b": 4}, memory_gib=0.5) for index, script in enumerate(scripts)]


def number_of(tmp_path: Path) -> str:
    noted = next((tmp_path / "jobs" / ".arrays").glob("*/slurm.json"))
    return str(json.loads(noted.read_text())["id"])


def waiting(cluster: Cluster, number: str) -> list[str]:
    return cluster.command("squeue", "-h", "-r", "-t", "PD", "-j", number, "-o", "%i").split()


def until_shared(engine: SlurmEngine, *keys: str) -> None:
    for key in keys:
        begun(engine, key)
        assert is_shared(engine, key)


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


def test_slurm_is_told_to_run_nothing_again(engine: SlurmEngine, cluster: Cluster) -> None:
    engine.submit(shell("alone", "exec sleep 60"))
    engine.submit_all([shell(f"part-{index}", "exec sleep 60", cpus=2.0) for index in range(2)])
    shown = cluster.command("scontrol", "-o", "show", "job").splitlines()
    assert {line.split("Requeue=")[1].split()[0] for line in shown if "JobState=RUNNING" in line or "JobState=PENDING" in line} == {"0"}


def test_a_sweep_ends_an_element_that_an_operator_has_slurm_run_again(engine: SlurmEngine, cluster: Cluster, tmp_path: Path) -> None:
    engine.submit_all(on_whole_nodes("sleep 2.5", "sleep 2.5"))
    begun(engine, "turn-1")
    again = f"{number_of(tmp_path)}_1"
    cluster.command("scontrol", "update", f"jobid={again}", "requeue=1")
    assert {ended(engine, f"turn-{index}").phase for index in range(2)} == {Phase.SUCCEEDED}
    last_s = time.monotonic() + 30
    while waiting(cluster, again) != [again]:
        assert time.monotonic() < last_s
        cluster.command("scontrol", "requeuehold", again)
        time.sleep(0.2)
    assert engine.sweep(()) == []
    assert waiting(cluster, again) == []


def test_what_slurm_refuses_in_an_array_is_refused_for_each_and_the_rest_runs(engine: SlurmEngine) -> None:
    wide = [shell(f"wide-{number}", "true", accelerators={"ascend910b": 64}) for number in range(2)]
    refused = engine.submit_all([*wide, shell("fits", "true")])
    assert sorted(refused) == ["wide-0", "wide-1"]
    assert all(isinstance(error, BadInput) for error in refused.values())
    assert ended(engine, "fits").phase is Phase.SUCCEEDED
    assert not engine.folder("wide-0").exists()


BUSY = "import time; held = bytearray(100 << 20)\nwhile time.process_time() < 0.4: pass"


def test_short_jobs_share_elements_and_each_runs_once_with_its_own_log_and_use(
    engine: SlurmEngine, cluster: Cluster, tmp_path: Path
) -> None:
    told = f'echo "$SLURM_ARRAY_TASK_ID $(basename "$HOME")"; echo ran >> {tmp_path}/ran.txt'
    works = on_whole_nodes(*[f'{told}; python3 -c "{BUSY}"'] * 2, *[told] * 8)
    assert engine.submit_all(works) == {}
    seen = [ended(engine, work.key) for work in works]
    assert {one.phase for one in seen} == {Phase.SUCCEEDED}
    assert any(is_shared(engine, work.key) for work in works)
    assert (tmp_path / "ran.txt").read_text() == "ran\n" * 10
    assert [(engine.folder(work.key) / "log.txt").read_text() for work in works] == [f"{index} turn-{index}\n" for index in range(10)]
    assert all(one.usage.cpu_s is not None and 0.4 <= one.usage.cpu_s < 5 for one in seen[:2])
    assert all(one.usage.cpu_s is not None and one.usage.cpu_s < 0.3 for one in seen[2:])
    assert all(one.usage.peak_memory_gib is not None and one.usage.peak_memory_gib > 0.09 for one in seen[:2])
    assert all(one.usage.peak_memory_gib is not None and one.usage.peak_memory_gib < 0.05 for one in seen[2:])
    until(engine, "turn-0", lambda _: waiting(cluster, number_of(tmp_path)) == [])


def test_a_job_that_is_not_short_takes_no_other_along(engine: SlurmEngine) -> None:
    works = on_whole_nodes(*["sleep 2.5"] * 4)
    engine.submit_all(works)
    assert {ended(engine, work.key).phase for work in works} == {Phase.SUCCEEDED}
    assert [element(engine, work.key) for work in works] == [(index, index) for index in range(4)]


def test_a_job_that_fails_is_the_last_of_its_element(engine: SlurmEngine) -> None:
    works = on_whole_nodes(*["false"] * 4)
    engine.submit_all(works)
    assert {ended(engine, work.key).phase for work in works} == {Phase.FAILED}
    assert not any(is_shared(engine, work.key) for work in works)


def test_cancelling_a_job_in_anothers_element_ends_that_job_alone(engine: SlurmEngine, cluster: Cluster, tmp_path: Path) -> None:
    engine.submit_all(on_whole_nodes("true", "true", "exec sleep 60", "exec sleep 60"))
    until_shared(engine, "turn-2", "turn-3")
    for index in (2, 3):
        cluster.command("scancel", f"{number_of(tmp_path)}_{index}")  # their own elements, which run nothing
    engine.cancel("turn-3")
    assert ended(engine, "turn-3").reason is Reason.CANCELLED
    assert [engine.poll([f"turn-{index}"])[f"turn-{index}"].phase for index in range(3)] == [Phase.SUCCEEDED] * 2 + [Phase.RUNNING]
    assert engine.sweep({"turn-2"}) == []
    time.sleep(1)
    assert engine.poll(["turn-2"])["turn-2"].phase is Phase.RUNNING
    assert engine.sweep(()) == ["turn-2"]
    assert ended(engine, "turn-2").reason is Reason.CANCELLED


def test_an_element_that_is_killed_loses_the_job_that_it_had_and_no_other(engine: SlurmEngine) -> None:
    engine.submit_all(on_whole_nodes("true", "true", "exec sleep 60", "exec sleep 60"))
    until_shared(engine, "turn-2", "turn-3")
    kill_group(json.loads((engine.folder("turn-3") / "runner.json").read_text())["pid"])
    seen = ended(engine, "turn-3")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert [engine.poll([f"turn-{index}"])[f"turn-{index}"].phase for index in range(3)] == [Phase.SUCCEEDED] * 2 + [Phase.RUNNING]


def test_a_preempted_element_loses_the_job_that_it_had_for_that_reason(engine: SlurmEngine, cluster: Cluster, tmp_path: Path) -> None:
    engine.submit_all(on_whole_nodes("true", "true", "exec sleep 60", "exec sleep 60"))
    until_shared(engine, "turn-2", "turn-3")
    urgent = opened(cluster, tmp_path / "urgent", "urgent")
    urgent.submit(shell("high", "true", accelerators={"ascend910b": 4}))
    assert ended(urgent, "high").phase is Phase.SUCCEEDED
    urgent.close()
    until(engine, "turn-2", lambda _: any(one.phase is not Phase.RUNNING for one in engine.poll(["turn-2", "turn-3"]).values()))
    seen = engine.poll([f"turn-{index}" for index in range(4)])
    lost = [one for one in seen.values() if one.phase is Phase.LOST]
    assert [one.reason for one in lost] == [Reason.PREEMPTED]
    assert [seen[f"turn-{index}"].phase for index in (0, 1)] == [Phase.SUCCEEDED] * 2


def test_a_job_that_was_called_ended_before_it_began_is_taken_by_no_element(engine: SlurmEngine, cluster: Cluster, tmp_path: Path) -> None:
    held = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    engine.submit_all(on_whole_nodes(held, held, "true", "true"))
    for key in ("turn-0", "turn-1"):
        begun(engine, key)
    cluster.command("scancel", f"{number_of(tmp_path)}_3")
    assert ended(engine, "turn-3").phase is Phase.LOST  # Slurm keeps no record of an element that was cancelled while it waited
    (tmp_path / "go").touch()
    assert {ended(engine, f"turn-{index}").phase for index in range(3)} == {Phase.SUCCEEDED}
    assert not (engine.folder("turn-3") / "log.txt").exists()
    assert ended(engine, "turn-3").phase is Phase.LOST


def test_an_array_of_long_jobs_soon_runs_as_wide_as_slurm_can(engine: SlurmEngine, tmp_path: Path) -> None:
    works = [shell(f"wide-{number}", f"until [ -e {tmp_path}/go ]; do sleep 0.2; done") for number in range(FIRST + 4)]
    engine.submit_all(works)
    for work in works:
        begun(engine, work.key)
    assert {one.phase for one in engine.poll([work.key for work in works]).values()} == {Phase.RUNNING}
    (tmp_path / "go").touch()
    assert {ended(engine, work.key).phase for work in works} == {Phase.SUCCEEDED}
