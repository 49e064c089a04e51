"""What every engine does, shown on each with the same step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine_bench import Bench

from headwater.compute.work import Engine, Phase, Reason
from headwater.core.errors import BadInput, Conflict, NotFound


def test_an_engine_has_the_protocol_and_something_to_give(bench: Bench) -> None:
    assert isinstance(bench.engine, Engine)
    capacity = bench.engine.capacity()
    assert capacity.cpus >= 1
    assert capacity.memory_gib > 0


def test_a_step_finds_its_input_and_leaves_its_result(bench: Bench) -> None:
    text = bench.platform.store.put_bytes("第一行\n".encode())
    bench.engine.submit(bench.work("one", text=text))
    ended = bench.ended("one")
    folder = bench.engine.folder("one")
    result = json.loads((folder / "result.json").read_text())
    assert (ended.phase, ended.reason, ended.exit_code, ended.message) == (Phase.SUCCEEDED, None, 0, "")
    assert (folder / result["outputs"]["copy"]).read_bytes() == "第一行\n".encode()
    assert result["metrics"] == {"rows": 3.0}
    assert "done" in (folder / "progress.jsonl").read_text()
    assert 0 < ended.usage.wall_s < 30


def test_an_input_cannot_be_written_to(bench: Bench) -> None:
    bench.engine.submit(bench.work("one", text=bench.platform.store.put_bytes(b"x")))
    bench.ended("one")
    assert (bench.engine.folder("one") / "inputs" / "text").stat().st_mode & 0o222 == 0


def test_a_refusal_ends_as_failed_with_its_own_words(bench: Bench) -> None:
    bench.engine.submit(bench.work("one", "refuse"))
    ended = bench.ended("one")
    assert (ended.phase, ended.reason, ended.exit_code) == (Phase.FAILED, Reason.FAILED, 1)
    assert ended.message == "The table has 0 rows. Give it rows."
    assert json.loads((bench.engine.folder("one") / "error.json").read_text())["code"] == "step.failed"


@pytest.mark.parametrize(("do", "told"), [("crash", "no rows to divide by"), ("exit", "7")])
def test_a_fault_ends_as_failed(bench: Bench, do: str, told: str) -> None:
    bench.engine.submit(bench.work("one", do))
    ended = bench.ended("one")
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.FAILED)
    assert told in ended.message
    assert not (bench.engine.folder("one") / "result.json").exists()


def test_a_fault_leaves_its_traceback_in_the_log(bench: Bench) -> None:
    bench.engine.submit(bench.work("one", "crash"))
    bench.ended("one")
    log = (bench.engine.folder("one") / "log.txt").read_text()
    assert "Traceback" in log
    assert "engine_contract_steps.py" in log


def test_submitting_again_starts_nothing(bench: Bench) -> None:
    work = bench.work("one", "wait")
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: bench.engine.submit(work), range(8)))
    bench.begun("one")
    bench.engine.submit(work)
    bench.let_go("one")
    assert bench.ended("one").phase is Phase.SUCCEEDED
    bench.engine.submit(work)
    assert bench.ended("one").phase is Phase.SUCCEEDED
    bench.reopen()
    bench.engine.submit(work)
    assert bench.ended("one").phase is Phase.SUCCEEDED
    assert bench.starts("one") == 1


def test_a_key_that_was_never_submitted_is_unknown_and_nothing_can_be_done_to_it(bench: Bench) -> None:
    bench.engine.cancel("never")
    bench.engine.forget("never")
    assert bench.engine.poll(["never"])["never"].phase is Phase.UNKNOWN
    assert bench.engine.sweep(()) == []


@pytest.mark.parametrize("key", ["", ".", "..", "../one", "a/b", ".hidden", "a\n", "a b", "/etc", "x" * 129, "作业"])
def test_a_key_that_is_no_plain_name_is_refused(bench: Bench, key: str) -> None:
    with pytest.raises(BadInput, match="cannot be the key of an attempt"):
        bench.engine.submit(bench.work(key))
    with pytest.raises(BadInput):
        bench.engine.folder(key)


def test_an_artifact_that_is_not_there_is_an_error_that_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(NotFound, match="No artifact"):
        bench.engine.submit(bench.work("one", text="sha256:" + "0" * 64))
    assert bench.engine.poll(["one"])["one"].phase is Phase.UNKNOWN
    assert not bench.engine.folder("one").exists()
    bench.engine.submit(bench.work("one"))
    assert bench.ended("one").phase is Phase.SUCCEEDED


def test_cancelling_what_has_ended_changes_nothing(bench: Bench) -> None:
    bench.engine.submit(bench.work("one"))
    ended = bench.ended("one")
    bench.engine.cancel("one")
    bench.engine.cancel("one")
    assert bench.engine.poll(["one"])["one"] == ended


def test_forgetting_leaves_the_log_and_the_memory_that_it_ran(bench: Bench) -> None:
    bench.engine.submit(bench.work("one", "crash"))
    ended = bench.ended("one")
    bench.engine.forget("one")
    bench.engine.forget("one")
    left = {path.name for path in bench.engine.folder("one").iterdir()}
    assert left <= {"log.txt", "exit.json", "runner.json", "lock"}
    assert "Traceback" in (bench.engine.folder("one") / "log.txt").read_text()
    bench.engine.submit(bench.work("one"))
    assert bench.engine.poll(["one"])["one"] == ended
    assert bench.starts("one") == 0


def test_a_running_attempt_is_not_forgotten(bench: Bench) -> None:
    bench.engine.submit(bench.work("one", "wait"))
    bench.begun("one")
    with pytest.raises(Conflict, match="still running"):
        bench.engine.forget("one")
    bench.let_go("one")
    assert bench.ended("one").phase is Phase.SUCCEEDED


def test_a_sweep_names_what_nobody_knows_and_leaves_the_rest(bench: Bench) -> None:
    for key in ("known", "stray"):
        bench.engine.submit(bench.work(key, "wait"))
        bench.begun(key)
    assert bench.engine.sweep({"known"}) == ["stray"]
    assert bench.engine.poll(["known"])["known"].phase is Phase.RUNNING
    for key in ("known", "stray"):
        bench.let_go(key)
    assert bench.ended("known").phase is Phase.SUCCEEDED
    assert bench.ended("stray").phase in (Phase.SUCCEEDED, Phase.FAILED)


def test_waiting_returns_as_soon_as_something_has_ended(bench: Bench) -> None:
    bench.engine.submit(bench.work("one", "wait"))
    bench.begun("one")
    bench.engine.wait(0.0)
    bench.let_go("one")
    asked_s = time.monotonic()
    bench.engine.wait(20.0)
    assert time.monotonic() - asked_s < 10
    assert bench.ended("one").phase is Phase.SUCCEEDED


def test_waiting_returns_after_its_time(bench: Bench) -> None:
    asked_s = time.monotonic()
    bench.engine.wait(0.1)
    assert 0.05 < time.monotonic() - asked_s < 5


SERVER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from headwater.compute.work import EngineFactory, Work
from headwater.core import platform, settings
from headwater.core.registry import Family

name, data, task, environment = sys.argv[1:5]
with platform.opened(settings.load(data_folder=data)) as site:
    engine = Family("engines", EngineFactory).get(name)(site)
    work = Work(key="one", task=eval(task), environment=eval(environment))
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: engine.submit(work), range(8)))
    print("submitted", flush=True)
    sys.stdin.read()
"""


def test_an_attempt_outlives_its_server_or_is_lost_and_never_starts_twice(bench: Bench) -> None:
    work = bench.work("one", "wait")
    data = bench.platform.settings.data_folder
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), bench.name, str(data), repr(dict(work.task or {})), repr(dict(bench.environment))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([bench.environment["PYTHONPATH"], os.environ.get("PYTHONPATH", "")])},
    )
    assert server.stdout is not None
    assert server.stdin is not None
    assert server.stdout.readline() == b"submitted\n"
    bench.until("one", lambda _: bench.starts("one") > 0)
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    server.stdin.close()
    bench.reopen()
    bench.engine.submit(work)
    bench.let_go("one")
    ended = bench.ended("one")
    assert ended.phase is (Phase.LOST if bench.name == "platform" else Phase.SUCCEEDED)
    bench.engine.submit(work)
    assert bench.ended("one").phase is ended.phase
    assert bench.starts("one") == 1


def test_an_attempt_that_was_only_laid_out_when_the_server_died_can_be_submitted_again(bench: Bench) -> None:
    folder = bench.engine.folder("one")
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs" / "half.part").write_text("half a file")
    assert bench.engine.poll(["one"])["one"].phase is Phase.UNKNOWN
    bench.engine.submit(bench.work("one"))
    assert bench.ended("one").phase is Phase.SUCCEEDED
    assert not list(Path(folder).rglob("half.part"))
