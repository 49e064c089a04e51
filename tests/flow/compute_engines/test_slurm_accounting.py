"""With Slurm's accounting: what a job used is Slurm's figure, and an end that the controller has forgotten is read there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import begun, ended, is_shared, opened, shell, until
from tests.slurm import Cluster

from headwater.compute.engines import slurm_arrays
from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.work import Phase, Reason

BUSY = "import time\nheld = bytearray(200 << 20)\nwhile time.process_time() < 1: pass\ntime.sleep(1.5)"


@pytest.fixture(params=["rest", "commands"])
def engine(request: pytest.FixtureRequest, accounting: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmEngine]:
    monkeypatch.setenv("SLURM_CONF", str(accounting.conf))
    client = CommandClient() if request.param == "commands" else None
    made = opened(accounting, tmp_path, client=client, accounting=True)
    yield made
    for key in made.sweep(()):
        until(made, key, lambda seen: seen.phase is not Phase.RUNNING)
    made.close()


def test_time_and_memory_are_what_slurm_accounts(engine: SlurmEngine, accounting: Cluster) -> None:
    engine.submit(shell("busy", f'exec python3 -c "{BUSY}"', memory_gib=0.5))
    seen = ended(engine, "busy")
    number = slurm_arrays.number_in(engine.folder("busy"))
    assert number is not None
    elapsed_s = accounting.command("sacct", "-n", "-P", "-X", "-j", number, "--format=ElapsedRaw")  # its list of all jobs may lack the last
    assert seen.phase is Phase.SUCCEEDED
    assert seen.usage.wall_s == float(elapsed_s)
    assert seen.usage.cpu_s is not None
    assert 1 <= seen.usage.cpu_s < 10
    assert seen.usage.peak_memory_gib is not None
    assert 0.19 < seen.usage.peak_memory_gib < 0.4
    assert seen.usage.energy_j is None  # this Slurm measures none


def test_elements_of_an_array_are_accounted_each_for_itself(engine: SlurmEngine) -> None:
    works = [shell(f"part-{number}", f"exec sleep {2 * number}") for number in (1, 2)]
    engine.submit_all(works)
    short, long = (ended(engine, work.key).usage.wall_s for work in works)
    assert short is not None
    assert long is not None
    assert 1 <= short < long < 12


def test_short_jobs_share_no_elements_so_that_each_has_a_record_of_its_own(engine: SlurmEngine, accounting: Cluster) -> None:
    works = [shell(f"short-{number}", "true", accelerators={"ascend910b": 4}) for number in range(4)]  # two nodes of four
    engine.submit_all(works)
    assert {ended(engine, work.key).phase for work in works} == {Phase.SUCCEEDED}
    assert not any(is_shared(engine, work.key) for work in works)


def test_the_end_of_a_job_that_the_controller_has_forgotten_is_read_from_the_accounting(engine: SlurmEngine, accounting: Cluster) -> None:
    engine.submit(shell("late", "exec sleep 60"))
    begun(engine, "late")
    number = accounting.command("squeue", "-h", "-o", "%i %j").split()[0]
    folder = engine.folder("late")
    accounting.command("scancel", "--signal=KILL", "--full", number)
    until(engine, "late", lambda _: accounting.command("sacct", "-n", "-X", "-P", "-j", number, "--format=State").split()[0] != "RUNNING")
    (folder / "exit.json").unlink(missing_ok=True)
    accounting.kill("slurmctld")
    accounting.start_controller("-c")  # it has forgotten every job
    accounting.settle()
    seen = ended(engine, "late")
    state = accounting.command("sacct", "-n", "-X", "-P", "-j", number, "--format=State").strip()
    assert "Slurm's state is FORGOTTEN" not in seen.message
    assert seen.phase is (Phase.LOST if state.startswith(("FAILED", "NODE_FAIL")) else Phase.FAILED)
    assert seen.reason in (Reason.NODE_LOST, Reason.CANCELLED)
    assert (state.split()[0] in seen.message) or seen.reason is Reason.CANCELLED
