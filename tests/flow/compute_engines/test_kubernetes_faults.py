"""What befalls a job on a Kubernetes that does as a test says: evictions, lost nodes, watches that break, credentials that lapse.

These stay with the API server of the tests' own, also where KUBECONFIG names a cluster: they change its objects by hand, drop its
versions and break its connections off.
"""

from __future__ import annotations

import base64
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from kubernetes_jobs import begun, ended, printed, shell, until
from tests.kubernetes import NAMESPACE, TOKEN, ApiServer
from tests.kubernetes_apart import certificate
from tests.kubernetes_cluster import CLAIM, IMAGE, QUEUE, Cluster
from tests.slurm import free_ports

from headwater.compute.engines import kubernetes_config
from headwater.compute.engines.kubernetes import KubernetesEngine
from headwater.compute.engines.kubernetes_client import Kind, KubernetesClient
from headwater.compute.engines.kubernetes_job import Place
from headwater.compute.work import Phase, Reason
from headwater.core.errors import BadInput, Unavailable
from headwater.core.store import Store

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.stop()


def opened(cluster: Cluster, folder: Path, *, queue: str = "") -> KubernetesEngine:
    return KubernetesEngine(
        root=folder / "jobs",
        claim_root=folder,
        store=Store(str(folder / "artifacts"), max_bytes=1 << 20),
        client=KubernetesClient(kubernetes_config.load(str(cluster.kubeconfig(folder)))),
        place=Place(image=IMAGE, claim=CLAIM, queue=queue, launch_s=60.0),
    )


@pytest.fixture
def engine(cluster: Cluster, tmp_path: Path) -> Iterator[KubernetesEngine]:
    made = opened(cluster, tmp_path)
    yield made
    made.close()


@pytest.fixture
def queued(cluster: Cluster, tmp_path: Path) -> Iterator[KubernetesEngine]:
    made = opened(cluster, tmp_path, queue=QUEUE)
    yield made
    made.close()


@contextmanager
def client_of(kubeconfig: Path) -> Iterator[KubernetesClient]:
    made = KubernetesClient(kubernetes_config.load(str(kubeconfig)))
    yield made
    made.close()


def no_jobs_left(cluster: Cluster) -> bool:
    last_s = time.monotonic() + 30
    while cluster.objects.listed("jobs") and time.monotonic() < last_s:
        time.sleep(0.02)
    return not cluster.objects.listed("jobs") and not cluster.pods()


def test_capacity_is_what_the_nodes_that_take_jobs_have_by_chip(engine: KubernetesEngine) -> None:
    capacity = engine.capacity()
    assert (round(capacity.cpus, 3), capacity.memory_gib) == (15.9, 64.0)
    assert dict(capacity.accelerators) == {"ascend910b3": 4, "h20": 2}


def test_capacity_under_kueue_is_no_more_than_the_queues_quota(queued: KubernetesEngine) -> None:
    capacity = queued.capacity()
    assert (capacity.cpus, capacity.memory_gib, capacity.accelerators["ascend910b3"]) == (6.0, 24.0, 4)


def test_a_job_goes_to_a_node_with_its_chip_and_is_shown_what_the_device_plugin_gave_it(engine: KubernetesEngine, cluster: Cluster) -> None:
    script = 'echo "${ASCEND_VISIBLE_DEVICES-unset} [${CUDA_VISIBLE_DEVICES-unset}]"; sleep 1'
    engine.submit(shell("npu", script, accelerators={"ascend910b3": 2}))
    engine.submit(shell("gpu", script, accelerators={"h20": 1}))
    engine.submit(shell("none", script))
    for key in ("npu", "gpu", "none"):
        begun(engine, key)
    nodes = {pod["metadata"]["annotations"]["headwater/attempt"]: pod["spec"]["nodeName"] for pod in cluster.pods()}
    assert (nodes["npu"], nodes["gpu"], nodes["none"]) == ("n1", "n2", "n1")
    assert {ended(engine, key).phase for key in nodes} == {Phase.SUCCEEDED}
    assert [printed(engine, key) for key in ("npu", "gpu", "none")] == ["0 [unset]", "unset [unset]", "unset []"]


def test_a_job_that_kueue_evicts_is_lost_for_that_and_is_not_started_a_second_time(queued: KubernetesEngine, cluster: Cluster) -> None:
    queued.submit(shell("low", 'echo ran >> "$HOME/../ran.txt"; exec sleep 60'))
    begun(queued, "low")
    (job,) = cluster.objects.listed("jobs")
    cluster.evict(job["metadata"]["name"])
    seen = ended(queued, "low")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.PREEMPTED)
    assert "Preempted to accommodate a workload with precedence" in seen.message
    cluster.held.clear()
    assert no_jobs_left(cluster)
    assert cluster.api.policies == {"Foreground"}
    assert queued.poll(["low"])["low"] == seen
    assert (queued.folder("low").parent / "ran.txt").read_text() == "ran\n"


@pytest.mark.parametrize(("why", "reason"), [("PreemptionByScheduler", Reason.PREEMPTED), ("EvictionByEvictionAPI", Reason.NODE_LOST)])
def test_a_pod_that_kubernetes_ends_is_lost_for_the_reason_that_it_gives(
    engine: KubernetesEngine, cluster: Cluster, why: str, reason: Reason
) -> None:
    engine.submit(shell("low", "exec sleep 60"))
    begun(engine, "low")
    cluster.disrupt(cluster.pods()[0]["metadata"]["name"], why, "to make room")
    seen = ended(engine, "low")
    assert (seen.phase, seen.reason, seen.message) == (Phase.LOST, reason, "Kubernetes ended the pod: to make room.")


def test_a_job_past_the_deadline_of_kubernetes_is_out_of_time(engine: KubernetesEngine, cluster: Cluster) -> None:
    engine.submit(shell("late", "exec sleep 60"))
    begun(engine, "late")
    cluster.objects.change(
        "jobs", cluster.objects.listed("jobs")[0]["metadata"]["name"], lambda one: one["spec"].update(activeDeadlineSeconds=0)
    )
    seen = ended(engine, "late")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_TIME)


def test_a_container_over_its_memory_is_out_of_memory(engine: KubernetesEngine, cluster: Cluster) -> None:
    engine.submit(shell("greedy", "sleep 60"))
    begun(engine, "greedy")
    cluster.run_out_of_memory(cluster.pods()[0]["metadata"]["name"])
    seen = ended(engine, "greedy")
    assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, Reason.OUT_OF_MEMORY, 137)


def test_a_pod_whose_node_does_not_answer_is_lost_though_it_never_goes(engine: KubernetesEngine, cluster: Cluster) -> None:
    engine.submit(shell("doomed", "sleep 120"))
    begun(engine, "doomed")
    (pod,) = cluster.pods()
    cluster.lose(pod["spec"]["nodeName"])
    seen = ended(engine, "doomed")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert cluster.pods() != []


def test_jobs_outlive_their_api_server_and_submitting_waits_for_it(engine: KubernetesEngine, cluster: Cluster) -> None:
    engine.submit(shell("through", "sleep 1; echo done"))
    begun(engine, "through")
    with cluster.api.out_of_reach():
        assert engine.poll(["through"])["through"].phase in (Phase.RUNNING, Phase.SUCCEEDED)
        until(engine, "through", lambda seen: seen.phase is Phase.SUCCEEDED)
        later = threading.Thread(target=engine.submit, args=[shell("after", "true")])
        later.start()
        time.sleep(1.5)
    later.join()
    assert ended(engine, "after").phase is Phase.SUCCEEDED


@pytest.mark.parametrize("broken", [True, False])
def test_changes_that_a_watch_has_missed_and_the_server_has_dropped_are_listed_anew(
    engine: KubernetesEngine, cluster: Cluster, broken: bool
) -> None:
    engine.submit(shell("one", "sleep 1; exit 3"))
    begun(engine, "one")
    lists = cluster.api.requests.count(f"GET {JOBS}")
    if broken:
        with cluster.api.out_of_reach():
            time.sleep(1.5)  # the job's end passes unseen
            cluster.objects.compact()
    else:
        cluster.objects.version += 1
        cluster.objects.compact()  # the watch that is open is told that it is too far behind
    asked_s = time.monotonic()
    assert ended(engine, "one").exit_code == 3
    engine.submit(shell("two", "true"))
    assert ended(engine, "two").phase is Phase.SUCCEEDED
    while cluster.api.requests.count(f"GET {JOBS}") == lists:
        assert time.monotonic() - asked_s < 15
        engine.wait(0.05)


def test_a_watch_that_the_server_ends_goes_on_where_it_was(engine: KubernetesEngine, cluster: Cluster) -> None:
    cluster.api.watch_s = 0.2
    for number in range(4):
        engine.submit(shell(f"job-{number}", "sleep 0.3"))
        assert ended(engine, f"job-{number}").phase is Phase.SUCCEEDED
    assert cluster.api.requests.count(f"WATCH {JOBS}") >= 4
    assert cluster.api.requests.count(f"GET {JOBS}") == 1


def test_a_server_that_is_not_there_is_said_so(cluster: Cluster, tmp_path: Path) -> None:
    path = cluster.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace(cluster.api.url, f"http://127.0.0.1:{free_ports(1)[0]}"))
    with client_of(path) as client, pytest.raises(Unavailable, match="Kubernetes does not answer"):
        client.nodes()


def test_a_token_that_is_refused_is_said_so(cluster: Cluster, tmp_path: Path) -> None:
    with client_of(cluster.kubeconfig(tmp_path, "stale")) as client, pytest.raises(Unavailable, match="401: Unauthorized"):
        client.nodes()


def test_a_credential_plugin_is_asked_again_once_its_token_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    told = tmp_path / "token"
    plugin = tmp_path / "plugin"
    plugin.write_text(f'#!/bin/sh\nprintf \'{{"status": {{"token": "%s"}}}}\' "$(cat {told})"\n')
    plugin.chmod(0o755)
    path = cluster.kubeconfig(tmp_path)
    asked = f"exec: {{command: {plugin}, apiVersion: client.authentication.k8s.io/v1}}"
    path.write_text(path.read_text().replace(f"token: {TOKEN}", asked))
    told.write_text("stale")
    with client_of(path) as client:
        with pytest.raises(Unavailable, match="401"):
            client.nodes()
        told.write_text(TOKEN)
        assert len(client.nodes()) == 3


def test_a_kubeconfig_with_an_authority_and_a_client_certificate_is_let_in(tmp_path: Path) -> None:
    authority, _, signer = certificate("the authority")
    for name in ("server", "client"):
        made, key, _ = certificate(name, signer)
        (tmp_path / f"{name}.pem").write_bytes(made)
        (tmp_path / f"{name}.key").write_bytes(key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    tls.load_verify_locations(cadata=authority.decode())
    tls.verify_mode = ssl.CERT_REQUIRED
    server = ApiServer(tls)
    told = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me", "namespace": NAMESPACE}}],
        "clusters": [
            {"name": "one", "cluster": {"server": server.url, "certificate-authority-data": base64.b64encode(authority).decode()}}
        ],
        "users": [{"name": "me", "user": {"client-certificate": "client.pem", "client-key": "client.key"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(told))
    with client_of(path) as client:
        assert client.listed(Kind.JOB)[0] == []
    del told["users"][0]["user"]["client-key"]  # type: ignore[index]
    path.write_text(yaml.safe_dump(told))
    with client_of(path) as client, pytest.raises(Unavailable, match="Kubernetes does not answer"):
        client.listed(Kind.JOB)
    server.stop()


def test_a_kubeconfig_without_a_current_context_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("contexts: []\ncurrent-context: gone\n")
    with pytest.raises(BadInput, match="no usable current context"):
        kubernetes_config.load(str(tmp_path / "kubeconfig"))
    with pytest.raises(Unavailable, match="cannot be read"):
        kubernetes_config.load(str(tmp_path / "absent"))
    if not os.path.exists("/var/run/secrets/kubernetes.io"):
        with pytest.raises(Unavailable, match="does not run in a pod"):
            kubernetes_config.load("")
