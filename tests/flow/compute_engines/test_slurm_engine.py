"""What only Slurm shows: jobs that wait, are preempted, lose their node or their controller, and share counted accelerators."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import begun, ended, kill_group, opened, shell, until, until_text
from tests.slurm import Cluster, free_ports

from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens
from headwater.compute.work import Phase, Reason
from headwater.core.errors import BadInput, Unavailable


@pytest.fixture
def engine(cluster: Cluster, tmp_path: Path) -> Iterator[SlurmEngine]:
    made = opened(cluster, tmp_path)
    yield made
    for key in made.sweep(()):
        until(made, key, lambda seen: seen.phase is not Phase.RUNNING)
    made.close()


def test_capacity_is_what_the_nodes_that_are_up_have_by_chip(engine: SlurmEngine) -> None:
    capacity = engine.capacity()
    assert (capacity.cpus, dict(capacity.accelerators)) == (192, {"ascend910b": 8})


def test_jobs_on_one_node_are_shown_accelerators_of_their_own(engine: SlurmEngine) -> None:
    keys = [f"card-{number}" for number in range(4)]
    for key in keys:
        engine.submit(
            shell(key, 'echo "$SLURMD_NODENAME" > outputs/x; echo "$ASCEND_RT_VISIBLE_DEVICES"; sleep 3', accelerators={"ascend910b": 2})
        )
    assert {ended(engine, key).phase for key in keys} == {Phase.SUCCEEDED}
    shown = [(engine.folder(key) / "log.txt").read_text().strip() for key in keys]
    assert sorted(shown) == ["0,1", "0,1", "2,3", "2,3"]  # two nodes of four


def test_a_job_without_accelerators_is_shown_none(engine: SlurmEngine) -> None:
    engine.submit(shell("none", 'echo "[$CUDA_VISIBLE_DEVICES]"'))
    assert ended(engine, "none").phase is Phase.SUCCEEDED
    assert (engine.folder("none") / "log.txt").read_text().strip() == "[]"


def test_the_platforms_environment_does_not_reach_a_job(engine: SlurmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "open sesame")
    engine.submit(shell("env", "env"))
    assert ended(engine, "env").phase is Phase.SUCCEEDED
    assert "sesame" not in (engine.folder("env") / "log.txt").read_text()


def test_what_slurm_refuses_is_refused_in_its_own_words_and_leaves_nothing(engine: SlurmEngine) -> None:
    with pytest.raises(BadInput, match="Slurm refuses"):
        engine.submit(shell("wide", "true", accelerators={"ascend910b": 64}))
    assert not engine.folder("wide").exists()


def test_a_job_that_waits_in_slurm_can_be_cancelled(engine: SlurmEngine) -> None:
    engine.submit(shell("wall", "sleep 60", accelerators={"ascend910b": 4}))
    engine.submit(shell("wall2", "sleep 60", accelerators={"ascend910b": 4}))
    engine.submit(shell("waits", "true", accelerators={"ascend910b": 4}))
    begun(engine, "wall")
    begun(engine, "wall2")
    assert engine.poll(["waits"])["waits"].phase is Phase.RUNNING
    engine.cancel("waits")
    seen = ended(engine, "waits")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    for key in ("wall", "wall2"):
        engine.cancel(key)
        assert ended(engine, key).reason is Reason.CANCELLED


def test_a_job_past_its_time_is_ended_for_that(engine: SlurmEngine) -> None:
    engine.submit(shell("long", "sleep 60", wall_s=1.0))
    seen = ended(engine, "long")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_TIME)


def test_a_preempted_job_is_lost_for_that_reason_and_may_be_tried_again(engine: SlurmEngine, cluster: Cluster, tmp_path: Path) -> None:
    for key in ("low", "low2"):
        engine.submit(shell(key, "exec sleep 60", accelerators={"ascend910b": 4}))
        begun(engine, key)
    urgent = opened(cluster, tmp_path / "urgent", "urgent")
    urgent.submit(shell("high", "true", accelerators={"ascend910b": 4}))
    assert ended(urgent, "high").phase is Phase.SUCCEEDED
    urgent.close()
    until(engine, "low", lambda _: any(seen.phase is not Phase.RUNNING for seen in engine.poll(["low", "low2"]).values()))
    seen = [seen for seen in engine.poll(["low", "low2"]).values() if seen.phase is not Phase.RUNNING]
    assert [(one.phase, one.reason) for one in seen] == [(Phase.LOST, Reason.PREEMPTED)]


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_submission_that_the_server_did_not_live_to_note_is_found_by_its_name(
    engine: SlurmEngine, cluster: Cluster, tmp_path: Path, has_begun: bool
) -> None:
    work = shell("once", 'echo ran >> "$HOME/../ran.txt"; sleep 1')
    engine.submit(work)
    if has_begun:
        begun(engine, "once")
    (engine.folder("once") / "slurm.json").unlink()  # as if the server had died between Slurm's answer and this note
    again = opened(cluster, tmp_path)
    again.submit(work)
    assert ended(again, "once").phase is Phase.SUCCEEDED
    assert (engine.folder("once").parent / "ran.txt").read_text() == "ran\n"
    again.close()


SAVED_S = 7.0
"""More than what slurmctld waits at most before it writes a change down (SAVE_MAX_WAIT, 5 s)."""


def test_jobs_outlive_their_controller_and_submitting_waits_for_it(engine: SlurmEngine, cluster: Cluster) -> None:
    engine.submit(shell("through", "until [ -e go ]; do sleep 0.1; done"))
    begun(engine, "through")
    # A controller that is killed before it has saved this job gives its number to the next, and takes the end of one for the other's.
    time.sleep(SAVED_S)
    cluster.kill("slurmctld")
    (engine.folder("through") / "go").touch()
    assert engine.poll(["through"])["through"].phase in (Phase.RUNNING, Phase.SUCCEEDED)
    assert engine.capacity().cpus == 192
    until(engine, "through", lambda seen: seen.phase is Phase.SUCCEEDED)
    cluster.start_controller()
    engine.submit(shell("after", "true"))
    assert ended(engine, "after").phase is Phase.SUCCEEDED


def test_a_job_whose_node_dies_is_lost(engine: SlurmEngine, cluster: Cluster) -> None:
    engine.submit(shell("doomed", 'echo "$SLURMD_NODENAME"; sleep 120'))
    begun(engine, "doomed")
    node = until_text(engine.folder("doomed") / "log.txt")
    runner = json.loads((engine.folder("doomed") / "runner.json").read_text())["pid"]
    cluster.kill(node)
    kill_group(runner)
    try:
        seen = ended(engine, "doomed")
        assert seen.phase is Phase.LOST
        assert seen.reason is Reason.NODE_LOST
    finally:
        cluster.start_node(node)


def test_a_controller_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="slurmrestd does not answer"):
        RestClient(f"http://127.0.0.1:{free_ports(1)[0]}", Tokens())


def test_a_token_that_is_refused_is_said_so(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("SLURM_JWT=nonsense")
    with pytest.raises(Unavailable, match="token"):
        RestClient(cluster.url, Tokens("root", file=tmp_path / "token")).nodes()
