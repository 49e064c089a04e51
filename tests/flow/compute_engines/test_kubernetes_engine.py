"""What only Kubernetes shows, on any cluster: admission, chips, pods that do not start, and whose Jobs are whose.

These run on the cluster that KUBECONFIG names, where one can be reached, and otherwise on the tests' own, in the same way. What
needs a cluster that does as a test says (evictions, lost nodes, watches that break) is in `test_kubernetes_faults.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from kubernetes_jobs import begun, ended, printed, shell, until
from tests.kubernetes_stand import Stand

from headwater.compute.checkpoints import VARIABLE
from headwater.compute.engines.kubernetes import KubernetesEngine
from headwater.compute.engines.kubernetes_nodes import quantity
from headwater.compute.work import Phase, Reason
from headwater.core.errors import BadInput, NotFound

OVER = "exec python3 -c 'import time; held = bytes([1]) * (125 << 20); time.sleep(60)'"
"""Takes more than a tenth of a GiB, which it asks for, and less than its pod has with the runner's share."""


@pytest.fixture
def engine(kubernetes: Stand) -> Iterator[KubernetesEngine]:
    made = kubernetes.engine()
    yield made
    made.sweep(())
    made.close()


@pytest.fixture
def queued(kubernetes: Stand) -> Iterator[KubernetesEngine]:
    if not kubernetes.queue:
        pytest.skip("this cluster has no Kueue")
    made = kubernetes.engine(queue=kubernetes.queue)
    yield made
    made.sweep(())
    made.close()


def test_capacity_under_kueue_is_no_more_than_the_queues_quota(
    engine: KubernetesEngine, queued: KubernetesEngine, kubernetes: Stand
) -> None:
    assert queued.capacity().cpus == min(kubernetes.cpus, engine.capacity().cpus)
    assert 0 < queued.capacity().memory_gib <= engine.capacity().memory_gib


def test_a_job_goes_to_a_node_with_its_chip(engine: KubernetesEngine, kubernetes: Stand) -> None:
    chips = engine.capacity().accelerators
    if not chips:
        pytest.skip("no node of this cluster has accelerators")
    client = kubernetes.client()
    nodes = {node["metadata"]["name"]: node for node in client.nodes()}
    client.close()
    for key, chip in enumerate(chips):
        engine.submit(shell(f"on-{key}", "sleep 1", accelerators={chip: 1}))
        begun(engine, f"on-{key}")
        (pod,) = [pod for pod in kubernetes.pods() if pod["metadata"]["annotations"]["headwater/attempt"] == f"on-{key}"]
        ((resource, asked),) = [one for one in pod["spec"]["containers"][0]["resources"]["limits"].items() if "/" in one[0]]
        assert quantity(asked) == 1
        assert quantity(nodes[pod["spec"]["nodeName"]]["status"]["allocatable"][resource]) >= 1
        assert ended(engine, f"on-{key}").phase is Phase.SUCCEEDED


def test_a_chip_that_neither_the_cluster_nor_the_catalogue_knows_is_refused(engine: KubernetesEngine) -> None:
    there = ", ".join(sorted(engine.capacity().accelerators)) or "none"
    with pytest.raises(BadInput, match=f"Chips here: {there}"):
        engine.submit(shell("odd", "true", accelerators={"abacus": 1}))
    assert not engine.folder("odd").exists()


def test_the_platforms_environment_does_not_reach_a_job(engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "open sesame")
    engine.submit(shell("env", "env"))
    assert ended(engine, "env").phase is Phase.SUCCEEDED
    assert "sesame" not in printed(engine, "env")


def test_what_kubernetes_refuses_is_refused_in_its_own_words_and_leaves_nothing(kubernetes: Stand) -> None:
    client = kubernetes.client()
    with pytest.raises(BadInput, match="spec.template.spec.restartPolicy"):
        client.create_job({"metadata": {"name": "one"}, "spec": {"template": {"spec": {}}}})
    assert client.job("one") is None
    client.close()
    client = replace(kubernetes, namespace=f"{kubernetes.namespace}-elsewhere").client()
    with pytest.raises(NotFound, match="Kubernetes answered 404"):
        client.create_job({"metadata": {"name": "one"}, "spec": {"template": {"spec": {}}}})
    client.close()


def test_a_job_that_waits_for_kueue_starts_when_there_is_room_and_can_be_cancelled_before(
    queued: KubernetesEngine, kubernetes: Stand
) -> None:
    most = kubernetes.cpus
    queued.submit(shell("first", "while [ ! -e go ]; do sleep 0.05; done", cpus=most * 0.7))
    begun(queued, "first")
    queued.submit(shell("second", "true", cpus=most * 0.7))
    queued.submit(shell("third", "true", cpus=most * 0.8))
    assert queued.poll(["second"])["second"].phase is Phase.RUNNING
    queued.cancel("third")
    seen = ended(queued, "third")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    assert not (queued.folder("second") / "runner.json").exists()
    (queued.folder("first") / "go").touch()
    assert ended(queued, "first").phase is Phase.SUCCEEDED
    assert ended(queued, "second").phase is Phase.SUCCEEDED
    assert not (queued.folder("third") / "runner.json").exists()


def test_a_job_past_its_time_is_ended_for_that(engine: KubernetesEngine) -> None:
    engine.submit(shell("long", "sleep 60", wall_s=1.0))
    seen = ended(engine, "long")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_TIME)


def test_a_job_that_takes_more_memory_than_it_asked_for_is_ended_for_that(engine: KubernetesEngine) -> None:
    engine.submit(shell("greedy", OVER))
    seen = ended(engine, "greedy")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_MEMORY)


def test_a_job_that_is_cancelled_gets_to_clean_up_and_ends_as_cancelled(engine: KubernetesEngine) -> None:
    engine.submit(shell("stops", "trap 'echo cleaned; exit 0' TERM; echo on; while :; do sleep 0.1; done"))
    until(engine, "stops", lambda _: (engine.folder("stops") / "log.txt").exists() and printed(engine, "stops") == "on")
    engine.cancel("stops")
    seen = ended(engine, "stops")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    assert printed(engine, "stops").endswith("cleaned")


def test_an_image_that_cannot_be_pulled_frees_its_room_in_bounded_time(kubernetes: Stand) -> None:
    engine = kubernetes.engine(queue=kubernetes.queue, image="registry.invalid/missing:1", launch_s=1.0)
    asked_s = time.monotonic()
    engine.submit(shell("absent", "true", cpus=kubernetes.cpus))
    seen = ended(engine, "absent")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.FAILED)
    assert "registry.invalid/missing:1" in seen.message
    assert any(why in seen.message for why in ("ErrImagePull: ", "ImagePullBackOff: "))
    assert kubernetes.nothing_left()
    assert time.monotonic() - asked_s < 60
    engine.close()


def test_a_pod_that_no_node_takes_frees_its_place_and_may_be_tried_again(kubernetes: Stand) -> None:
    engine = kubernetes.engine(launch_s=1.0)
    engine.submit(shell("wide", "true", cpus=100_000))
    seen = ended(engine, "wide")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert "Unschedulable: 0/" in seen.message
    assert kubernetes.nothing_left()
    engine.close()


def test_an_image_without_headwater_is_told_by_what_its_container_printed(kubernetes: Stand) -> None:
    if not kubernetes.bare:
        pytest.skip("KUBE_TEST_BARE_IMAGE is empty")
    engine = kubernetes.engine(image=kubernetes.bare)
    engine.submit(shell("bare", "true"))
    seen = ended(engine, "bare")
    assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, Reason.FAILED, 1)
    assert "No module named 'headwater'" in seen.message
    engine.close()


def test_a_job_that_someone_else_deletes_is_lost(engine: KubernetesEngine, kubernetes: Stand) -> None:
    engine.submit(shell("gone", "exec sleep 60"))
    begun(engine, "gone")
    someone = kubernetes.client()
    someone.delete_job(kubernetes.jobs()[0]["metadata"]["name"])
    someone.close()
    assert ended(engine, "gone").phase is Phase.LOST


def test_a_forgotten_attempt_leaves_no_job_behind(engine: KubernetesEngine, kubernetes: Stand) -> None:
    engine.submit(shell("one", "true"))
    assert ended(engine, "one").phase is Phase.SUCCEEDED
    assert len(kubernetes.jobs()) == 1
    engine.forget("one")
    assert kubernetes.nothing_left()


def test_a_submission_that_the_server_did_not_live_to_note_is_found_by_its_name(engine: KubernetesEngine, kubernetes: Stand) -> None:
    kept = kubernetes.folder / "kept"
    kept.mkdir()
    work = shell("once", f'echo ran >> "${VARIABLE}/ran.txt"; sleep 1', {VARIABLE: str(kept)})
    engine.submit(work)
    (engine.folder("once") / "kubernetes.json").unlink()  # as if the server had died between the answer and this note
    engine.submit(work)
    assert ended(engine, "once").phase is Phase.SUCCEEDED
    assert (kept / "ran.txt").read_text() == "ran\n"


def test_a_sweep_leaves_the_jobs_of_another_platform_in_the_namespace_alone(engine: KubernetesEngine, kubernetes: Stand) -> None:
    other = kubernetes.engine(root="other-jobs")
    other.submit(shell("theirs", "while [ ! -e go ]; do sleep 0.05; done"))
    begun(other, "theirs")
    assert engine.sweep(()) == []
    (other.folder("theirs") / "go").touch()
    assert ended(other, "theirs").phase is Phase.SUCCEEDED
    other.close()


def test_a_job_sees_its_folder_for_checkpoints_where_the_volume_has_it(engine: KubernetesEngine, kubernetes: Stand) -> None:
    kept = kubernetes.folder / "checkpoints" / "job"
    kept.mkdir(parents=True)
    engine.submit(shell("keeps", f'echo step-7 > "${VARIABLE}/state"; sleep 1', {VARIABLE: str(kept)}))
    begun(engine, "keeps")
    mounts = kubernetes.pods()[0]["spec"]["containers"][0]["volumeMounts"]
    assert [one["subPath"] for one in mounts] == ["jobs/keeps", "checkpoints/job"]
    assert ended(engine, "keeps").phase is Phase.SUCCEEDED
    assert (kept / "state").read_text() == "step-7\n"
    with pytest.raises(BadInput, match="cannot see the folder for checkpoints"):
        engine.submit(shell("elsewhere", "true", {VARIABLE: "/var/lib/elsewhere"}))
