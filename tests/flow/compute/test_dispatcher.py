"""The dispatcher over the real local engine: graphs run in order, ends are recorded once, and failures say why."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines.local import LocalEngine
from headwater.compute.jobs import State
from headwater.compute.work import Capacity
from headwater.core import evidence, ledger, platform, settings
from headwater.core.errors import Unavailable
from headwater.core.platform import Platform
from headwater.core.statement import LINEAGE
from tests.flow.compute.graphs import command, ended, graph_of, submit, until

PYTHON = (sys.executable, "-I", "-S", "-c")


@pytest.fixture
def running(any_site: Platform) -> Iterator[Platform]:
    dispatcher = Dispatcher(any_site)
    dispatcher.start()
    yield any_site
    dispatcher.stop()


def test_a_graph_runs_in_order_and_hands_outputs_on(running: Platform) -> None:
    graph = submit(
        running,
        {
            "make": command("sh", "-c", "mkdir -p outputs && echo 数据 > outputs/text", outputs=("text",)),
            "double": command(
                "sh",
                "-c",
                "mkdir -p outputs && cat inputs/text inputs/text > outputs/text",
                inputs={"text": "make.text"},
                outputs=("text",),
            ),
        },
    )
    seen = ended(running, graph)
    assert [job.state for job in seen.values()] == [State.DONE, State.DONE]
    assert running.store.read(seen["double"].outputs["text"]).decode() == "数据\n数据\n"
    assert seen["make"].ended_at <= seen["double"].started_at  # type: ignore[operator]


def test_each_output_has_a_signed_lineage_that_names_what_it_was_made_from(running: Platform) -> None:
    make = command("sh", "-c", "mkdir -p outputs && echo 1 > outputs/one", outputs=("one",))
    copy = command(
        "sh", "-c", "mkdir -p outputs && cp inputs/one outputs/two && echo >> outputs/two", inputs={"one": "make.one"}, outputs=("two",)
    )
    seen = ended(running, submit(running, {"make": make, "copy": copy}))
    with running.db.read() as connection:
        held, _ = evidence.valid(connection, running.keyring, seen["copy"].outputs["two"], LINEAGE, now=running.clock.now())
    assert held is not None
    assert held.statement.predicate["inputs"] == {"one": seen["make"].outputs["one"]}
    assert held.statement.predicate["job"] == seen["copy"].id


def test_what_needs_a_failed_job_is_skipped_and_says_so(running: Platform) -> None:
    graph = submit(
        running,
        {
            "bad": command("sh", "-c", "echo going wrong >&2; exit 3"),
            "after": command("true", needs=("bad",)),
            "later": command("true", needs=("after",)),
            "apart": command("true"),
        },
    )
    seen = ended(running, graph)
    assert {name: job.state for name, job in seen.items()} == {
        "bad": State.FAILED,
        "after": State.SKIPPED,
        "later": State.SKIPPED,
        "apart": State.DONE,
    }
    assert "going wrong" in json.dumps(seen["bad"].error)
    assert "needs 'bad', which did not succeed" in seen["after"].reason


@pytest.mark.parametrize(
    ("argv", "limits", "code"),
    [
        ((*PYTHON, "x = bytearray(300 << 20); import time; time.sleep(30)"), {"memory_gib": 0.1}, "compute.out_of_memory"),
        (("sleep", "30"), {"wall_s": 0.5}, "compute.out_of_time"),
        ((*PYTHON, "while True: pass"), {"cpu_s": 1.0}, "compute.out_of_cpu_time"),
        (("sh", "-c", "exit 7"), {}, "compute.failed"),
        (("there-is-no-such-command",), {}, "compute.failed"),
    ],
)
def test_a_job_that_ends_badly_is_recorded_with_the_reason(
    running: Platform, argv: tuple[str, ...], limits: dict[str, float], code: str
) -> None:
    (job,) = ended(running, submit(running, {"job": command(*argv, **limits)})).values()
    assert (job.state, (job.error or {})["code"]) == (State.FAILED, code)


def test_a_failing_job_is_tried_as_often_as_it_asks(running: Platform) -> None:
    flaky = "test $(ls .. | grep -c job) -ge 3 || exit 1"
    (job,) = ended(running, submit(running, {"job": command("sh", "-c", flaky, retries=3)})).values()
    assert (job.state, job.attempt) == (State.DONE, 3)


def test_cancelling_ends_a_running_job_and_skips_what_needs_it(running: Platform) -> None:
    graph = submit(running, {"long": command("sleep", "60"), "after": command("true", needs=("long",))})
    until(running, graph, lambda seen: seen["long"].state is State.RUNNING)
    running.db.write(lambda connection: jobs.ask_cancel(connection, f"{graph}.long", actor="tester", at=running.clock.now()))
    seen = ended(running, graph, within_s=20)
    assert (seen["long"].state, seen["after"].state) == (State.CANCELLED, State.SKIPPED)


class Reluctant(LocalEngine):
    """A local engine that cannot be told to end anything at first, as where its disk is full."""

    refused = 0

    def cancel(self, key: str) -> None:
        if self.refused < 2:
            self.refused += 1
            raise Unavailable("The job's folder cannot be written.", "Free some space.")
        super().cancel(key)


def test_an_engine_that_could_not_be_told_to_end_a_job_is_told_again(site: Platform, tmp_path: Path) -> None:
    engine = Reluctant(root=tmp_path / "local", store=site.store, capacity=Capacity(cpus=2, memory_gib=2))
    dispatcher = Dispatcher(site, {"local": engine})
    dispatcher.start()
    graph = submit(site, {"long": command("sleep", "60")})
    until(site, graph, lambda seen: seen["long"].state is State.RUNNING)
    site.db.write(lambda connection: jobs.ask_cancel(connection, f"{graph}.long", actor="tester", at=site.clock.now()))
    assert ended(site, graph, within_s=20)["long"].state is State.CANCELLED
    assert engine.refused == 2
    dispatcher.stop()


def test_a_job_that_could_never_fit_fails_at_once_with_the_figures(running: Platform) -> None:
    (job,) = ended(running, submit(running, {"huge": command("true", cpus=64)})).values()
    assert "64 CPUs where 2 are in all" in job.reason


def test_a_waiting_job_says_what_it_waits_for(running: Platform) -> None:
    graph = submit(running, {"first": command("sleep", "3", cpus=2), "second": command("true", cpus=1)})
    seen = until(running, graph, lambda seen: "waits" in seen["second"].reason, within_s=3)
    assert "asks for 1 CPUs where 0 are free" in seen["second"].reason
    assert ended(running, graph)["second"].state is State.DONE


def test_an_output_that_was_not_made_fails_the_job(running: Platform) -> None:
    (job,) = ended(running, submit(running, {"job": command("true", outputs=("model",))})).values()
    assert (job.state, "did not make its output 'outputs/model'" in job.reason) == (State.FAILED, True)


def test_an_output_that_points_outside_is_refused(running: Platform) -> None:
    (job,) = ended(
        running, submit(running, {"job": command("sh", "-c", "mkdir -p outputs && ln -s /etc outputs/stolen", outputs=("stolen",))})
    ).values()
    assert job.state is State.REFUSED
    assert not job.outputs


def test_every_change_of_a_job_is_in_the_ledger_once(running: Platform) -> None:
    graph = submit(running, {"job": command("true")})
    ended(running, graph)
    with running.db.read() as connection:
        kinds = [entry.kind for entry in ledger.entries(connection, subject=f"{graph}.job")]
        ledger.verify(connection)
    assert [kind for kind in kinds if kind != "job.running"] == ["job.starting", "job.done"]


def test_submitting_the_same_graph_twice_runs_it_once(running: Platform) -> None:
    graph = submit(running, {"job": command("true")})
    again = graph_of(running, graph)
    running.db.write(
        lambda connection: jobs.submit(
            connection,
            graph,
            [jobs.NewJob(id=job.id, name=job.name, spec=job.spec, engine=job.engine) for job in again.values()],
            organisation="city",
            actor="tester",
            at=running.clock.now(),
        )
    )
    assert len(ended(running, graph)) == 1


def test_each_job_sees_the_accelerators_that_are_its_own(tmp_path: Path) -> None:
    chosen = settings.load(data_folder=tmp_path / "data", local_cpus=8, local_memory_gib=4, local_accelerators={"ascend910b": 4})
    see = "mkdir -p outputs; echo $ASCEND_RT_VISIBLE_DEVICES > outputs/seen; sleep 1"
    with platform.opened(chosen) as site:
        site.found()
        dispatcher = Dispatcher(site)
        dispatcher.start()
        graph = submit(site, {name: command("sh", "-c", see, outputs=("seen",), accelerators={"ascend910b": 2}) for name in "abc"})
        seen = ended(site, graph)
        dispatcher.stop()
        told = {name: site.store.read(job.outputs["seen"]).decode().strip() for name, job in seen.items()}
    assert {told["a"], told["b"]} == {"0,1", "2,3"}
    assert told["c"] in {"0,1", "2,3"}
    assert seen["c"].started_at >= min(seen["a"].ended_at, seen["b"].ended_at)  # type: ignore[operator, type-var]


def test_a_job_whose_worker_was_killed_is_tried_again_and_done(site: Platform) -> None:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    graph = submit(site, {"job": command("sh", "-c", "test -e ../../second || { touch ../../second; sleep 60; }")})
    until(site, graph, lambda seen: seen["job"].state is State.RUNNING and (site.settings.data_folder / "second").exists())
    runner = json.loads((site.settings.data_folder / "jobs" / f"{graph}.job.1" / "runner.json").read_text(encoding="utf-8"))
    os.kill(runner["pid"], signal.SIGKILL)
    job = ended(site, graph)["job"]
    dispatcher.stop()
    assert (job.state, job.attempt) == (State.DONE, 2)
    with site.db.read() as connection:
        reasons = [entry.body["reason"] for entry in ledger.entries(connection, kind="job.queued", subject=job.id)]
    assert reasons == ["attempt 1 was lost with its process; it is tried again"]


def test_a_job_that_loses_its_worker_every_time_fails_in_the_end(tmp_path: Path) -> None:
    with platform.opened(settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=4, job_attempts=2)) as site:
        site.found()
        dispatcher = Dispatcher(site)
        dispatcher.start()
        graph = submit(site, {"job": command("sh", "-c", "kill -9 $PPID; sleep 60")})
        job = ended(site, graph)["job"]
        dispatcher.stop()
    assert (job.state, job.attempt, (job.error or {})["code"]) == (State.FAILED, 2, "compute.node_lost")
