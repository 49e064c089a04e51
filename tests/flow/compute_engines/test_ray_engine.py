"""What only Ray shows: jobs that wait, share counted accelerators, span nodes, lose their node, are preempted, or are stopped in Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.ray_cluster import CHIP, NODES, Cluster
from tests.slurm import free_ports

from headwater.compute.engines.ray import RAY, RayEngine
from headwater.compute.engines.ray_client import RayClient
from headwater.compute.work import Observation, Phase, Reason, Work
from headwater.core.errors import BadInput, Unavailable
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from headwater.core.store import Store


def opened(cluster: Cluster, folder: Path) -> RayEngine:
    store = Store(str(folder / "artifacts"), max_bytes=1 << 20)
    return RayEngine(root=folder / "jobs", store=store, client=RayClient(cluster.url, token_file=cluster.token_file))


@pytest.fixture
def engine(ray_nodes: Cluster, tmp_path: Path) -> Iterator[RayEngine]:
    made = opened(ray_nodes, tmp_path)
    yield made
    for key in made.sweep(()):
        until(made, key, lambda seen: seen.phase is not Phase.RUNNING)
    made.close()


def until(engine: RayEngine, key: str, holds: Callable[[Observation], bool], most_s: float = 60.0) -> Observation:
    last_s = time.monotonic() + most_s
    while not holds(seen := engine.poll([key])[key]):
        assert time.monotonic() < last_s, f"{key} stayed {seen}"
        time.sleep(0.05)
    return seen


def ended(engine: RayEngine, key: str) -> Observation:
    return until(engine, key, lambda seen: seen.phase is not Phase.RUNNING)


def begun(engine: RayEngine, key: str) -> None:
    until(engine, key, lambda _: (engine.folder(key) / "runner.json").exists())


def shell(key: str, script: str, **resources: object) -> Work:
    return Work(key=key, argv=("/bin/sh", "-c", script), resources=Resources(**{"memory_gib": 0.1, **resources}))  # type: ignore[arg-type]


def said(engine: RayEngine, key: str) -> str:
    return (engine.folder(key) / "log.txt").read_text().strip()


def idle(cluster: Cluster) -> bool:
    """Tell whether nothing is set aside for gangs."""
    return all(group["state"] == "REMOVED" for group in cluster.listed("placement_groups"))


def within(most_s: float, holds: Callable[[], bool]) -> bool:
    last_s = time.monotonic() + most_s
    while not (now := holds()) and time.monotonic() < last_s:
        time.sleep(0.1)
    return now


def test_capacity_is_what_the_nodes_that_are_up_have_by_chip(engine: RayEngine) -> None:
    capacity = engine.capacity()
    assert (capacity.cpus, capacity.memory_gib, dict(capacity.accelerators)) == (18, 192, {CHIP: 8})


def test_jobs_on_one_node_are_shown_accelerators_of_their_own(engine: RayEngine) -> None:
    keys = [f"card-{number}" for number in range(4)]
    for key in keys:
        engine.submit(shell(key, 'echo "$ASCEND_RT_VISIBLE_DEVICES"; sleep 4', accelerators={CHIP: 2}))
    assert {ended(engine, key).phase for key in keys} == {Phase.SUCCEEDED}
    assert sorted(said(engine, key) for key in keys) == ["0,1", "0,1", "2,3", "2,3"]  # two nodes of four


def test_a_job_without_accelerators_is_shown_none(engine: RayEngine) -> None:
    engine.submit(shell("none", 'echo "[$CUDA_VISIBLE_DEVICES]"'))
    assert ended(engine, "none").phase is Phase.SUCCEEDED
    assert said(engine, "none") == "[]"


def test_neither_the_platforms_environment_nor_rays_reaches_a_job(engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "open sesame")
    engine.submit(shell("env", "env"))
    assert ended(engine, "env").phase is Phase.SUCCEEDED
    assert "sesame" not in said(engine, "env")
    assert "RAY_" not in said(engine, "env")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"accelerators": {CHIP: 9}}, "has 8 of 'ascend910b', the job asks for 9"),
        ({"accelerators": {"h20": 1}}, "has 0 of 'h20'"),
        ({"accelerators": {CHIP: 8, "h20": 1}}, "accelerators of one chip"),
        ({"cpus": 9.0}, "No node of the Ray cluster has all"),
        ({"memory_gib": 65.0}, "No node of the Ray cluster has all"),
    ],
)
def test_what_no_node_can_ever_hold_is_refused_and_leaves_nothing(engine: RayEngine, asked: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        engine.submit(shell("wide", "true", **asked))
    assert not list(engine.folder("wide").glob("work.json"))


def test_a_job_past_its_time_is_ended_for_that(engine: RayEngine) -> None:
    engine.submit(shell("long", "sleep 60", wall_s=1.0))
    seen = ended(engine, "long")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_TIME)


def test_a_job_past_its_memory_is_ended_for_that(engine: RayEngine) -> None:
    engine.submit(shell("large", "exec python3 -c 'import time; x = bytearray(300 << 20); time.sleep(60)'"))
    seen = ended(engine, "large")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_MEMORY)


def test_a_job_that_waits_in_ray_is_cancelled_at_once_and_never_begins(engine: RayEngine) -> None:
    for key in ("wall", "wall2"):
        engine.submit(shell(key, "sleep 60", accelerators={CHIP: 4}))
        begun(engine, key)
    engine.submit(shell("waits", "touch ../ran", accelerators={CHIP: 4}))
    assert engine.poll(["waits"])["waits"].phase is Phase.RUNNING
    engine.cancel("waits")
    seen = engine.poll(["waits"])["waits"]
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    for key in ("wall", "wall2"):
        engine.cancel(key)
        assert ended(engine, key).reason is Reason.CANCELLED
    engine.submit(shell("next", "true", accelerators={CHIP: 4}))
    assert ended(engine, "next").phase is Phase.SUCCEEDED
    assert not (engine.folder("waits").parent / "ran").exists()


def test_a_job_that_ray_cannot_start_in_time_is_lost_and_what_it_asked_for_is_free(engine: RayEngine, ray_nodes: Cluster) -> None:
    for key in ("wall", "wall2"):
        engine.submit(shell(key, "sleep 60", accelerators={CHIP: 3}))
        begun(engine, key)
    engine.submit(shell("single", "true", accelerators={CHIP: 4}))
    engine.submit(shell("gang", "true", accelerators={CHIP: 6}))
    for key in ("single", "gang"):
        seen = ended(engine, key)
        assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
        assert "12" in seen.message  # seconds, see tests/ray_cluster.py
    assert within(10, lambda: idle(ray_nodes))
    for key in ("wall", "wall2"):
        engine.cancel(key)
        assert ended(engine, key).reason is Reason.CANCELLED
    engine.submit(shell("next", "true", accelerators={CHIP: 4}))
    assert ended(engine, "next").phase is Phase.SUCCEEDED


def test_a_job_that_is_stopped_in_ray_was_cancelled(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("stopped", "sleep 60"))
    begun(engine, "stopped")
    [job] = [job for job in ray_nodes.jobs() if job.endswith("-stopped")]
    with closing(RayClient(ray_nodes.url, token_file=ray_nodes.token_file)) as client:
        client.stop(job)
    seen = ended(engine, "stopped")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_submission_that_the_server_did_not_live_to_note_is_found_by_its_id(engine: RayEngine, has_begun: bool) -> None:
    work = shell("once", 'echo ran >> "$HOME/../ran.txt"; sleep 1')
    engine.submit(work)
    if has_begun:
        begun(engine, "once")
    (engine.folder("once") / "ray.json").unlink()  # as if the server had died between Ray's answer and this note
    engine.submit(work)
    assert ended(engine, "once").phase is Phase.SUCCEEDED
    assert (engine.folder("once").parent / "ran.txt").read_text() == "ran\n"


def test_ray_forgets_what_the_platform_forgets(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("over", "true"))
    assert ended(engine, "over").phase is Phase.SUCCEEDED
    engine.forget("over")
    engine.submit(shell("other", "sleep 60"))
    until(engine, "other", lambda _: not [job for job in ray_nodes.jobs() if job.endswith("-over")])
    time.sleep(2)  # Ray would have brought it back by then
    assert not [job for job in ray_nodes.jobs() if job.endswith("-over")]


GANG = """
import os, ray
from ray.util import get_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
ray.init(namespace="headwater", log_to_driver=False)
group = get_placement_group(os.environ["HW_PLACEMENT_GROUP"])
here = ray.remote(num_cpus=0, resources={"ascend910b": 3})(lambda: ray.util.get_node_ip_address())
seen = [here.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)).remote() for index in range(2)]
print(",".join(ray.get(seen)), os.environ["HW_NODES"], os.environ["HW_NODE_DEVICES"], os.environ["CUDA_VISIBLE_DEVICES"])
"""


def python(key: str, script: str, **resources: object) -> Work:
    import sys

    asked = Resources(**{"memory_gib": 4.0, "cpus": 2.0, **resources})  # type: ignore[arg-type]
    return Work(key=key, argv=(sys.executable, "-c", script), resources=asked)


def test_more_accelerators_than_a_node_has_are_a_gang_that_reaches_each_of_its_nodes(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(python("gang", GANG, accelerators={CHIP: 6}))
    seen = ended(engine, "gang")
    assert seen.phase is Phase.SUCCEEDED, seen.message
    reached, nodes, devices, own = said(engine, "gang").splitlines()[-1].split()
    assert reached == nodes
    assert sorted(nodes.split(",")) == sorted(NODES.values())
    assert (devices, own) == ("0,1,2;0,1,2", "0,1,2")
    assert within(10, lambda: idle(ray_nodes))


def test_a_gang_that_is_cancelled_ends_and_gives_back_its_nodes(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("gang", "sleep 60", accelerators={CHIP: 8}))
    begun(engine, "gang")
    engine.cancel("gang")
    seen = ended(engine, "gang")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    assert within(10, lambda: idle(ray_nodes))
    engine.submit(shell("next", "true", accelerators={CHIP: 8}))
    assert ended(engine, "next").phase is Phase.SUCCEEDED


def test_a_gang_that_loses_a_node_is_lost_with_all_its_processes(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("gang", 'echo "$HW_NODES"; echo $$; exec sleep 120', accelerators={CHIP: 8}))
    begun(engine, "gang")
    assert within(10, lambda: len(said(engine, "gang").splitlines()) == 2)
    nodes, process = said(engine, "gang").splitlines()
    [other] = [name for name, address in NODES.items() if address == nodes.split(",")[1]]
    ray_nodes.kill(other)
    try:
        seen = ended(engine, "gang")
        assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST), seen.message
        assert not Path(f"/proc/{process}").exists()
        assert within(10, lambda: idle(ray_nodes))
    finally:
        ray_nodes.start_node(other)


def test_a_job_whose_node_dies_is_lost_and_leaves_no_process(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("doomed", "sleep 120 & echo $!; wait", accelerators={CHIP: 1}))
    begun(engine, "doomed")
    assert within(10, lambda: bool(said(engine, "doomed")))
    process = int(said(engine, "doomed"))
    node = node_of(process)
    ray_nodes.kill(node)
    try:
        seen = ended(engine, "doomed")
        assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
        assert within(10, lambda: not Path(f"/proc/{process}").exists())
    finally:
        ray_nodes.start_node(node)


def node_of(process: int) -> str:
    """Give the name of the Ray node that a job's process runs on: it is in the environment of what Ray started."""
    while process > 1:
        for entry in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"HW_NODE="):
                return entry.decode().rpartition("-")[2]
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    raise AssertionError("no Ray node among its parents")


def test_a_job_whose_node_is_preempted_is_lost_for_that_reason(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("spot", "sleep 120 & echo $!; wait", accelerators={CHIP: 1}))
    begun(engine, "spot")
    assert within(10, lambda: bool(said(engine, "spot")))
    name = node_of(int(said(engine, "spot")))
    [node] = [node for node in ray_nodes.listed("nodes") if node["node_ip"] == NODES[name] and node["state"] == "ALIVE"]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "preemption", "--deadline-remaining-seconds", "1"]
    ray_nodes.command("drain-node", "--node-id", str(node["node_id"]), *reason)
    ray_nodes.kill(name)
    try:
        seen = ended(engine, "spot")
        assert (seen.phase, seen.reason) == (Phase.LOST, Reason.PREEMPTED), seen.message
    finally:
        ray_nodes.start_node(name)


def test_an_address_where_nothing_answers_is_said_so(tmp_path: Path) -> None:
    with closing(RayClient(f"http://127.0.0.1:{free_ports(1)[0]}")) as client, pytest.raises(Unavailable, match="Ray does not answer"):
        client.nodes()


def test_a_token_that_is_refused_is_said_so(ray_nodes: Cluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nonsense")
    client = RayClient(ray_nodes.url, token_file=tmp_path / "token")
    with closing(client), pytest.raises(Unavailable, match="Ray refuses the token"):
        client.nodes()


def test_a_registered_site_is_an_engine_of_its_own_name(ray_nodes: Cluster, site: Platform, tmp_path: Path) -> None:
    assert RAY.site is not None
    shared = tmp_path / "shared"
    options = RAY.options.model_validate({"url": ray_nodes.url, "token_file": str(ray_nodes.token_file), "folder": str(shared)})
    engine = RAY.site(site, "north", options)
    engine.submit(shell("one", "echo here"))
    last_s = time.monotonic() + 30
    while engine.poll(["one"])["one"].phase is Phase.RUNNING and time.monotonic() < last_s:
        engine.wait(0.1)
    engine.close()
    assert engine.name == "north"
    assert (shared / "one" / "log.txt").read_text() == "here\n"


def test_jobs_outlive_the_head_and_are_lost_where_a_new_one_does_not_know_them(engine: RayEngine, ray_nodes: Cluster) -> None:
    engine.submit(shell("through", "while [ ! -e go ]; do sleep 0.1; done", accelerators={CHIP: 1}))
    engine.submit(shell("doomed", "sleep 120", accelerators={CHIP: 1}))
    for key in ("through", "doomed"):
        begun(engine, key)
    ray_nodes.kill("head")
    assert {seen.phase for seen in engine.poll(["through", "doomed"]).values()} == {Phase.RUNNING}
    assert engine.capacity().cpus == 18
    (engine.folder("through") / "go").touch()
    assert ended(engine, "through").phase is Phase.SUCCEEDED
    for node in NODES:
        ray_nodes.kill(node)
    ray_nodes.start_head()
    for node in NODES:
        ray_nodes.start_node(node)
    assert ended(engine, "doomed").phase is Phase.LOST
    engine.submit(shell("after", "true"))
    assert ended(engine, "after").phase is Phase.SUCCEEDED
