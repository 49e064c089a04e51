"""The local engine with real processes: limits, cancelling, killing, logs, full disks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_jobs import Jobs, appears, cpu_s_of, processes_of, zombies

from headwater.compute.engines.local import capacity_of, memory_gib
from headwater.compute.work import Phase, Reason, Work
from headwater.core import settings
from headwater.core.errors import BadInput, Unavailable

RUNNER = Path(__file__).resolve().parents[3] / "src/headwater/compute/engines/runner.py"
HOLD = "import time\nx = bytearray({mib} << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\ntime.sleep({s})"
STUBBORN = (
    """trap '' TERM; setsid sh -c "(trap '' TERM; exec sleep {s}) & (trap '' TERM; exec sleep {s}) &"; touch ready; sleep {s}; sleep {s}"""
)


def test_a_command_runs_in_its_folder_and_its_output_is_kept(jobs: Jobs) -> None:
    ended = jobs.run("one", "sh", "-c", "pwd; echo made > outputs/file; echo to stderr >&2")
    assert (ended.phase, ended.exit_code, ended.message) == (Phase.SUCCEEDED, 0, "")
    assert jobs.log("one") == f"{jobs.engine.folder('one')}\nto stderr\n"
    assert (jobs.engine.folder("one") / "outputs" / "file").read_text() == "made\n"


def test_a_failure_tells_its_exit_code_and_its_last_lines(jobs: Jobs) -> None:
    ended = jobs.run("one", "sh", "-c", "seq 100; echo '坏了' >&2; exit 3")
    assert (ended.phase, ended.reason, ended.exit_code) == (Phase.FAILED, Reason.FAILED, 3)
    assert ended.message.splitlines()[0] == "82"
    assert ended.message.splitlines()[-1] == "坏了"


def test_a_job_that_dies_of_a_signal_says_so(jobs: Jobs) -> None:
    ended = jobs.run("one", "sh", "-c", "kill -SEGV $$")
    assert (ended.phase, ended.exit_code) == (Phase.FAILED, 128 + signal.SIGSEGV)
    assert "signal 11" in ended.message


def test_a_program_that_is_not_there_says_so(jobs: Jobs) -> None:
    ended = jobs.run("one", "no-such-program")
    assert (ended.phase, ended.exit_code) == (Phase.FAILED, 127)
    assert ended.message == "no-such-program could not be started: No such file or directory."


def test_an_attempt_with_nothing_to_run_is_refused(jobs: Jobs) -> None:
    with pytest.raises(BadInput, match="neither a command nor a step"):
        jobs.engine.submit(Work(key="one"))


def test_the_wall_limit_ends_a_job(jobs: Jobs) -> None:
    ended = jobs.run("one", "sleep", "60", wall_s=0.3)
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.OUT_OF_TIME)
    assert "may use 0.3 s" in ended.message
    assert 0.3 <= ended.usage.wall_s < 5


def test_the_cpu_limit_counts_all_processes_also_those_that_have_ended(jobs: Jobs) -> None:
    burn = f"""{sys.executable} -S -c "while __import__('time').process_time() < 0.2: pass" """
    ended = jobs.run("one", "sh", "-c", f"for i in 1 2 3 4 5 6 7 8; do {burn}; done; sleep 20", cpu_s=0.7)
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.OUT_OF_CPU_TIME)
    assert 0.7 <= ended.usage.cpu_s < 1.5


def test_the_memory_limit_counts_all_processes_together(jobs: Jobs) -> None:
    hold = f"{sys.executable} -S -c '{HOLD.format(mib=60, s=20)}'"
    ended = jobs.run("one", "sh", "-c", f"{hold} & {hold} & wait", memory_gib=0.1)
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.OUT_OF_MEMORY)
    assert "may use 0.10 GiB" in ended.message
    assert 0.1 < ended.usage.peak_memory_gib < 0.2


def test_memory_that_processes_share_is_counted_once(jobs: Jobs) -> None:
    forks = "import os, time\nx = b'x' * (60 << 20)\nfor _ in range(4):\n  if os.fork() == 0: time.sleep(1); os._exit(0)\n"
    forks += "for _ in range(4): os.wait()"
    ended = jobs.run("one", sys.executable, "-S", "-c", forks, memory_gib=0.15)
    assert ended.phase is Phase.SUCCEEDED
    assert 0.06 < ended.usage.peak_memory_gib < 0.15


def test_usage_is_what_the_job_used(jobs: Jobs) -> None:
    ended = jobs.run("one", sys.executable, "-S", "-c", HOLD.format(mib=100, s=0.3), memory_gib=1)
    assert 0.1 <= ended.usage.peak_memory_gib < 0.13
    assert 0.3 <= ended.usage.wall_s < 5
    assert 0 < ended.usage.cpu_s < 2


def test_a_cancelled_job_may_clean_up(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", "trap 'echo cleaned; exit 0' TERM; touch ready; while :; do sleep 0.05; done")
    appears(folder / "ready")
    jobs.engine.cancel("one")
    jobs.engine.cancel("one")
    ended = jobs.ended("one")
    assert (ended.phase, ended.reason, ended.message) == (Phase.FAILED, Reason.CANCELLED, "The job was cancelled.")
    assert jobs.log("one").endswith("cleaned\n")


def test_no_process_survives_a_cancel_though_it_ignores_being_asked_and_left_its_session(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", STUBBORN.format(s="61.25"))
    appears(folder / "ready")
    assert len(processes_of("sleep 61.25")) >= 3
    jobs.engine.cancel("one")
    assert jobs.ended("one").reason is Reason.CANCELLED
    assert processes_of("sleep 61.25") == []


def test_a_job_that_floods_its_log_and_ignores_being_asked_is_ended_all_the_same(jobs: Jobs) -> None:
    jobs.start("one", "sh", "-c", "trap '' TERM; exec yes 68.25", wall_s=0.3)
    ended = jobs.ended("one")
    assert (ended.reason, ended.exit_code) == (Reason.OUT_OF_TIME, 128 + signal.SIGKILL)
    assert ended.usage.wall_s < 5
    assert processes_of("yes 68.25") == []


def test_a_runner_that_waits_for_its_job_to_clean_up_rests_meanwhile(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", "trap '' TERM; sleep 0.1; touch ready; sleep 69.25; sleep 69.25")
    appears(folder / "ready")
    runner = jobs.runner("one")
    jobs.engine.cancel("one")
    used_s = 0.0
    while jobs.engine.poll(["one"])["one"].phase is Phase.RUNNING:
        used_s = max(used_s, cpu_s_of(runner))
        time.sleep(0.02)
    assert used_s < 0.35


def test_no_process_survives_a_job_that_has_succeeded(jobs: Jobs) -> None:
    ended = jobs.run("one", "sh", "-c", "setsid sleep 62.25 & (env -i /bin/sleep 62.25 &)")
    assert ended.phase is Phase.SUCCEEDED
    assert processes_of("sleep 62.25") == []


def test_a_job_cancelled_before_its_runner_was_there_never_begins(jobs: Jobs) -> None:
    folder = jobs.engine.folder("one")
    folder.mkdir()
    jobs.engine.cancel("one")
    ended = jobs.run("one", "touch", "begun")
    assert ended.reason is Reason.CANCELLED
    assert not (folder / "begun").exists()


def test_a_killed_runner_leaves_a_lost_attempt_and_no_process(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", STUBBORN.format(s="63.25"))
    appears(folder / "ready")
    os.kill(jobs.runner("one"), signal.SIGKILL)
    ended = jobs.ended("one")
    assert (ended.phase, ended.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert processes_of("sleep 63.25") == []
    jobs.start("one", "touch", "again")
    assert jobs.ended("one").phase is Phase.LOST
    assert not (folder / "again").exists()


def test_a_machine_that_goes_down_loses_the_attempt_and_does_not_fail_it(jobs: Jobs) -> None:
    jobs.start("one", "sleep", "64.25")
    os.kill(jobs.runner("one"), signal.SIGTERM)
    ended = jobs.ended("one")
    assert (ended.phase, ended.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert processes_of("sleep 64.25") == []


def test_a_new_server_finds_a_running_attempt_and_can_cancel_it(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", "touch ready; sleep 65.25")
    appears(folder / "ready")
    jobs.engine.close()
    jobs.engine = jobs.opened()
    assert jobs.engine.poll(["one"])["one"].phase is Phase.RUNNING
    jobs.engine.cancel("one")
    assert jobs.ended("one").reason is Reason.CANCELLED


def test_a_sweep_ends_a_stray_attempt_and_the_processes_of_one_whose_runner_was_killed(jobs: Jobs) -> None:
    for key in ("kept", "stray", "orphan"):
        appears(jobs.start(key, "sh", "-c", "(trap '' TERM; exec sleep 66.25) & touch ready; wait") / "ready")
    os.kill(jobs.runner("orphan"), signal.SIGKILL)
    time.sleep(0.1)
    assert jobs.engine.sweep({"kept"}) == ["orphan", "stray"]
    assert jobs.ended("stray").reason is Reason.CANCELLED
    assert len([command for command in processes_of("sleep 66.25") if command.startswith("sleep")]) == 1
    assert jobs.engine.poll(["kept"])["kept"].phase is Phase.RUNNING


def test_a_runner_gives_way_where_an_attempt_was_made_already(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", "echo begun >> begins; sleep 1")
    appears(folder / "begins")
    for _ in range(2):
        again = subprocess.run([sys.executable, "-I", "-S", str(RUNNER), str(folder)], capture_output=True, timeout=20)
        assert (again.returncode, again.stdout, again.stderr) == (0, b"", b"")
        assert jobs.ended("one").phase is Phase.SUCCEEDED
    assert (folder / "begins").read_text() == "begun\n"


def test_a_job_gets_none_of_the_servers_environment_and_none_of_its_files(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("SECRET", "x")
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        jobs.run("one", "sh", "-c", "env; ls -l /proc/self/fd; cat", environment={"CUDA_VISIBLE_DEVICES": "1,3"}, cpus=2.5)
    log = jobs.log("one")
    folder = jobs.engine.folder("one")
    told = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
    assert not {"HEADWATER_DATABASE_URL", "SECRET", "USER", "PYTHONPATH"} & told.keys()
    assert (told["HOME"], told["TMPDIR"], told["HW_ATTEMPT"]) == (str(folder), f"{folder}/tmp", str(folder))
    assert (told["OMP_NUM_THREADS"], told["CUDA_VISIBLE_DEVICES"], told["ASCEND_RT_VISIBLE_DEVICES"]) == ("2", "1,3", "")
    opened = [line.split(" -> ")[1] for line in log.splitlines() if " -> " in line]
    assert {path for path in opened if not path.startswith(("pipe:", "/proc/"))} == {"/dev/null"}
    assert len(opened) == 4  # the three standard ones, and that of ls on the folder


def test_a_large_log_keeps_its_head_and_its_tail(jobs: Jobs) -> None:
    ended = jobs.run("one", "sh", "-c", "echo the head; seq 3000000; echo the tail; exit 1")
    log = jobs.log("one")
    assert ended.message.endswith("3000000\nthe tail")
    assert log.startswith("the head\n1\n2\n")
    assert log.endswith("2999999\n3000000\nthe tail\n")
    assert len(log) < 4 << 20
    left_out = int(log.partition("[... ")[2].partition(" bytes left out")[0])
    marker = f"\n[... {left_out} bytes left out ...]\n"
    assert left_out + len(log.replace(marker, "")) == len("the head\nthe tail\n") + sum(len(f"{i}\n") for i in range(1, 3000001))


def test_output_that_is_not_text_does_no_harm(jobs: Jobs) -> None:
    ended = jobs.run("one", "sh", "-c", "head -c 100000 /dev/urandom; exit 1")
    assert ended.phase is Phase.FAILED
    assert (jobs.engine.folder("one") / "log.txt").stat().st_size == 100000


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """Give a disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "headwater-test", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.decode().strip()}")
    return place


@pytest.fixture
def small_jobs(small_disk: Path) -> object:
    made = Jobs(small_disk)
    yield made
    made.engine.close()
    subprocess.run(["umount", "-l", str(small_disk)], check=True)


@pytest.mark.parametrize(
    "command",
    [
        "dd if=/dev/zero of=large bs=1M count=64",
        "seq 10000000; cat /dev/zero > large; exit 1",
        f"""{sys.executable} -S -c "open('large', 'wb').write(bytes(64 << 20))" """,
        """cat /dev/zero > large; printf '{"code": "unavailable", "mess' > error.json || exit 1; exit 1""",
    ],
)
def test_a_full_disk_is_told_as_such(small_jobs: Jobs, command: str) -> None:
    ended = small_jobs.run("one", "sh", "-c", command)
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.DISK_FULL)


def test_nothing_starts_on_a_full_disk_until_there_is_space_again(small_jobs: Jobs) -> None:
    small_jobs.run("one", "dd", "if=/dev/zero", "of=large", "bs=1M", "count=64")
    with pytest.raises(Unavailable, match="cannot be written: No space left on device"):
        small_jobs.start("two", "true")
    assert not small_jobs.engine.folder("two").exists()
    small_jobs.engine.forget("one")
    assert small_jobs.run("two", "true").phase is Phase.SUCCEEDED


def test_a_step_on_a_full_disk_tells_so(small_jobs: Jobs) -> None:
    assert (
        small_jobs.run("one", sys.executable, "-c", f"raise OSError({errno.ENOSPC}, 'No space left on device')").reason is Reason.DISK_FULL
    )


def test_a_job_that_removes_its_own_folder_fails_once(jobs: Jobs) -> None:
    folder = jobs.start("one", "sh", "-c", 'rm -rf "$HOME"; sleep 67.25')
    ended = jobs.ended("one")
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.FAILED)
    assert "removed the files of its own folder" in ended.message
    assert processes_of("sleep 67.25") == []
    jobs.start("one", "touch", "again")
    assert not (folder / "again").exists()


def test_what_a_job_writes_into_the_runners_files_is_not_believed(jobs: Jobs) -> None:
    told = json.dumps({"phase": "succeeded", "reason": None, "exit_code": 0, "message": "", "usage": {}})
    folder = jobs.start("one", "sh", "-c", f"echo '{told}' > exit.json; touch ready; sleep 0.5; exit 4")
    appears(folder / "ready")
    assert jobs.engine.poll(["one"])["one"].phase is Phase.RUNNING
    assert jobs.ended("one").exit_code == 4


def test_thirty_attempts_at_once_all_end_and_leave_no_zombie(jobs: Jobs) -> None:
    keys = [f"job-{number}" for number in range(30)]
    for key in keys:
        jobs.start(key, "sh", "-c", "sleep 0.2; echo $HW_ATTEMPT")
    assert {jobs.ended(key).phase for key in keys} == {Phase.SUCCEEDED}
    assert [jobs.log(key).strip() for key in keys] == [str(jobs.engine.folder(key)) for key in keys]
    last_s = time.monotonic() + 5
    while processes_of(str(jobs.root)) and time.monotonic() < last_s:
        time.sleep(0.01)
    jobs.engine.poll(())
    assert zombies() == []


def test_an_engine_lives_in_a_folder_with_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 30) / ("深" * 30)
    deep.mkdir(parents=True)
    jobs = Jobs(deep)
    asked_s = time.monotonic()
    jobs.start("one", "true")
    jobs.engine.wait(20)
    assert time.monotonic() - asked_s < 10
    assert jobs.ended("one").phase is Phase.SUCCEEDED
    jobs.engine.close()


def test_capacity_is_what_the_settings_say_or_what_the_machine_has(tmp_path: Path) -> None:
    told = capacity_of(settings.load(data_folder=tmp_path, local_cpus=3.5, local_memory_gib=7, local_accelerators={"h20": 8}))
    assert (told.cpus, told.memory_gib, told.accelerators) == (3.5, 7, {"h20": 8})
    found = capacity_of(settings.load(data_folder=tmp_path))
    assert found.cpus == len(os.sched_getaffinity(0))
    assert found.memory_gib == pytest.approx(0.8 * memory_gib())
    assert found.accelerators == {}
