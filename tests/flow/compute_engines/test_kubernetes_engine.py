"""What only Kubernetes shows: admission and eviction, pods that do not start, lost nodes, watches that break, and whose Jobs are whose."""

from __future__ import annotations

import base64
import ipaddress
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests import kubernetes_cluster
from tests.kubernetes import NAMESPACE, TOKEN, ApiServer
from tests.kubernetes_cluster import CLAIM, IMAGE, NPU, QUEUE, Cluster
from tests.slurm import free_ports

from headwater.compute.checkpoints import VARIABLE
from headwater.compute.engines import kubernetes_config, kubernetes_site
from headwater.compute.engines.kubernetes import KubernetesEngine
from headwater.compute.engines.kubernetes_client import KubernetesClient
from headwater.compute.engines.kubernetes_job import Place
from headwater.compute.engines.kubernetes_site import KubernetesOptions
from headwater.compute.work import Observation, Phase, Reason, Work
from headwater.core import platform, settings
from headwater.core.errors import BadInput, NotFound, Unavailable
from headwater.core.steps import Resources
from headwater.core.store import Store

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"

LIVE = ("KUBECONFIG", "KUBE_TEST_IMAGE", "KUBE_TEST_CLAIM", "KUBE_TEST_FOLDER")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.stop()


def opened(
    cluster: Cluster, folder: Path, *, queue: str = "", image: str = IMAGE, launch_s: float = 60.0, root: str = "jobs"
) -> KubernetesEngine:
    return KubernetesEngine(
        root=folder / root,
        claim_root=folder,
        store=Store(str(folder / "artifacts"), max_bytes=1 << 20),
        client=KubernetesClient(kubernetes_config.load(str(cluster.kubeconfig(folder)))),
        place=Place(image=image, claim=CLAIM, queue=queue, launch_s=launch_s),
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


@pytest.fixture(params=["in-process", "live"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KubernetesEngine]:
    """Give the engine on the test's own cluster, and on the one that KUBECONFIG names, if it names one."""
    if request.param == "in-process":
        yield request.getfixturevalue("engine")
        return
    missing = [name for name in LIVE if name not in os.environ]
    if missing:
        pytest.skip(f"no live cluster: {', '.join(missing)} not set")
    folder = Path(os.environ["KUBE_TEST_FOLDER"])
    options = KubernetesOptions(
        kubeconfig=os.environ["KUBECONFIG"],
        image=os.environ["KUBE_TEST_IMAGE"],
        claim=os.environ["KUBE_TEST_CLAIM"],
        folder=str(folder),
        queue=os.environ.get("KUBE_TEST_QUEUE", ""),
    )
    with platform.opened(settings.load(data_folder=tmp_path / "data")) as site:
        made = kubernetes_site.opened(site, f"test-{os.getpid()}", options)
        yield made
        made.sweep(())
        made.close()


@contextmanager
def client_of(kubeconfig: Path, namespace: str = "") -> Iterator[KubernetesClient]:
    made = KubernetesClient(kubernetes_config.load(str(kubeconfig)), namespace=namespace)
    yield made
    made.close()


def until(engine: KubernetesEngine, key: str, holds: Callable[[Observation], bool], most_s: float = 60.0) -> Observation:
    last_s = time.monotonic() + most_s
    while not holds(seen := engine.poll([key])[key]):
        assert time.monotonic() < last_s, f"{key} stayed {seen}"
        engine.wait(0.05)
    return seen


def ended(engine: KubernetesEngine, key: str) -> Observation:
    return until(engine, key, lambda seen: seen.phase is not Phase.RUNNING)


def begun(engine: KubernetesEngine, key: str) -> None:
    until(engine, key, lambda _: (engine.folder(key) / "runner.json").exists())


def shell(key: str, script: str, environment: dict[str, str] | None = None, **resources: object) -> Work:
    asked = Resources(memory_gib=0.1, **resources)  # type: ignore[arg-type]
    return Work(key=key, argv=("/bin/sh", "-c", script), resources=asked, environment=environment or {})


def printed(engine: KubernetesEngine, key: str) -> str:
    return (engine.folder(key) / "log.txt").read_text().strip()


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


def test_a_chip_that_neither_the_cluster_nor_the_catalogue_knows_is_refused(engine: KubernetesEngine) -> None:
    with pytest.raises(BadInput, match="Chips here: ascend910b3, h20"):
        engine.submit(shell("odd", "true", accelerators={"abacus": 1}))
    assert not engine.folder("odd").exists()


def test_the_platforms_environment_does_not_reach_a_job(any_engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "open sesame")
    any_engine.submit(shell("env", "env"))
    assert ended(any_engine, "env").phase is Phase.SUCCEEDED
    assert "sesame" not in printed(any_engine, "env")


def test_what_kubernetes_refuses_is_refused_in_its_own_words_and_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    path = cluster.kubeconfig(tmp_path)
    with client_of(path, "elsewhere") as client, pytest.raises(NotFound, match="Kubernetes answered 404"):
        client.create_job({"metadata": {"name": "one"}})
    with client_of(path) as client, pytest.raises(BadInput, match="restartPolicy: Required value"):
        client.create_job({"metadata": {"name": "one"}, "spec": {"template": {"spec": {}}}})


def test_a_job_that_waits_for_kueue_starts_when_there_is_room_and_can_be_cancelled_before(queued: KubernetesEngine) -> None:
    queued.submit(shell("first", "while [ ! -e go ]; do sleep 0.05; done", cpus=4))
    begun(queued, "first")
    queued.submit(shell("second", "true", cpus=4))
    queued.submit(shell("third", "true", cpus=5))
    assert queued.poll(["second"])["second"].phase is Phase.RUNNING
    queued.cancel("third")
    seen = ended(queued, "third")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    assert not (queued.folder("second") / "runner.json").exists()
    (queued.folder("first") / "go").touch()
    assert ended(queued, "first").phase is Phase.SUCCEEDED
    assert ended(queued, "second").phase is Phase.SUCCEEDED
    assert not (queued.folder("third") / "runner.json").exists()


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


def test_a_job_past_its_time_is_ended_for_that(any_engine: KubernetesEngine) -> None:
    any_engine.submit(shell("long", "sleep 60", wall_s=1.0))
    seen = ended(any_engine, "long")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.OUT_OF_TIME)


def test_a_job_that_is_cancelled_gets_to_clean_up_and_ends_as_cancelled(any_engine: KubernetesEngine) -> None:
    any_engine.submit(shell("stops", "trap 'echo cleaned; exit 0' TERM; echo on; while :; do sleep 0.1; done"))
    until(any_engine, "stops", lambda _: (any_engine.folder("stops") / "log.txt").exists() and printed(any_engine, "stops") == "on")
    any_engine.cancel("stops")
    seen = ended(any_engine, "stops")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.CANCELLED)
    assert printed(any_engine, "stops").endswith("cleaned")


def test_a_pod_whose_node_does_not_answer_is_lost_though_it_never_goes(engine: KubernetesEngine, cluster: Cluster) -> None:
    engine.submit(shell("doomed", "sleep 120"))
    begun(engine, "doomed")
    (pod,) = cluster.pods()
    cluster.lose(pod["spec"]["nodeName"])
    seen = ended(engine, "doomed")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert cluster.pods() != []


def test_an_image_that_cannot_be_pulled_frees_its_room_in_bounded_time(cluster: Cluster, tmp_path: Path) -> None:
    engine = opened(cluster, tmp_path, queue=QUEUE, image="registry.example/missing:1", launch_s=1.0)
    asked_s = time.monotonic()
    engine.submit(shell("absent", "true", cpus=6))
    seen = ended(engine, "absent")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.FAILED)
    assert 'ImagePullBackOff: Back-off pulling image "registry.example/missing:1"' in seen.message
    assert no_jobs_left(cluster)
    assert time.monotonic() - asked_s < 15
    engine.close()


def test_a_pod_that_no_node_takes_frees_its_place_and_may_be_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    engine = opened(cluster, tmp_path, launch_s=1.0)
    engine.submit(shell("wide", "true", accelerators={NPU: 64}))
    seen = ended(engine, "wide")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert "Unschedulable: 0/3 nodes are available" in seen.message
    assert no_jobs_left(cluster)
    engine.close()


def test_an_image_without_headwater_is_told_by_what_its_container_printed(cluster: Cluster, tmp_path: Path) -> None:
    engine = opened(cluster, tmp_path, image=kubernetes_cluster.BARE)
    engine.submit(shell("bare", "true"))
    seen = ended(engine, "bare")
    assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, Reason.FAILED, 1)
    assert "No module named 'headwater'" in seen.message
    engine.close()


def test_a_job_that_someone_else_deletes_is_lost(engine: KubernetesEngine, cluster: Cluster, tmp_path: Path) -> None:
    engine.submit(shell("gone", "exec sleep 60"))
    begun(engine, "gone")
    with client_of(tmp_path / "kubeconfig.yaml") as someone:
        someone.delete_job(cluster.objects.listed("jobs")[0]["metadata"]["name"])
    assert ended(engine, "gone").phase is Phase.LOST


def test_a_forgotten_attempt_leaves_no_job_behind(engine: KubernetesEngine, cluster: Cluster) -> None:
    engine.submit(shell("one", "true"))
    assert ended(engine, "one").phase is Phase.SUCCEEDED
    assert len(cluster.objects.listed("jobs")) == 1
    engine.forget("one")
    assert no_jobs_left(cluster)


def test_a_submission_that_the_server_did_not_live_to_note_is_found_by_its_name(any_engine: KubernetesEngine) -> None:
    work = shell("once", 'echo ran >> "$HOME/../ran.txt"; sleep 1')
    any_engine.submit(work)
    (any_engine.folder("once") / "kubernetes.json").unlink()  # as if the server had died between the answer and this note
    any_engine.submit(work)
    assert ended(any_engine, "once").phase is Phase.SUCCEEDED
    assert (any_engine.folder("once").parent / "ran.txt").read_text() == "ran\n"


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


def test_a_sweep_leaves_the_jobs_of_another_platform_in_the_namespace_alone(
    engine: KubernetesEngine, cluster: Cluster, tmp_path: Path
) -> None:
    other = opened(cluster, tmp_path, root="other-jobs")
    other.submit(shell("theirs", "while [ ! -e go ]; do sleep 0.05; done"))
    begun(other, "theirs")
    assert engine.sweep(()) == []
    (other.folder("theirs") / "go").touch()
    assert ended(other, "theirs").phase is Phase.SUCCEEDED
    other.close()


def test_a_job_sees_its_folder_for_checkpoints_where_the_volume_has_it(engine: KubernetesEngine, cluster: Cluster, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints" / "job"
    kept.mkdir(parents=True)
    engine.submit(shell("keeps", f'echo step-7 > "${VARIABLE}/state"; sleep 1', {VARIABLE: str(kept)}))
    begun(engine, "keeps")
    mounts = cluster.pods()[0]["spec"]["containers"][0]["volumeMounts"]
    assert [one["subPath"] for one in mounts] == ["jobs/keeps", "checkpoints/job"]
    assert ended(engine, "keeps").phase is Phase.SUCCEEDED
    assert (kept / "state").read_text() == "step-7\n"
    with pytest.raises(BadInput, match="cannot see the folder for checkpoints"):
        engine.submit(shell("elsewhere", "true", {VARIABLE: "/var/lib/elsewhere"}))


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


def certificate(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None) -> tuple[bytes, bytes, Any]:
    """Give a certificate for a name, its key, and both as objects, signed by an authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer[0].subject if issuer else subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem), secret, (made, key)


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
        assert client.listed(client.jobs_path())[0] == []
    del told["users"][0]["user"]["client-key"]  # type: ignore[index]
    path.write_text(yaml.safe_dump(told))
    with client_of(path) as client, pytest.raises(Unavailable, match="Kubernetes does not answer"):
        client.listed(client.jobs_path())
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
