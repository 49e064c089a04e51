"""What objects of Kubernetes mean: a cluster's chips and quota, a Job's name, and why a pod ended or does not start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.engines.attempt import NAME
from headwater.compute.engines.kubernetes_job import Place, ending, eviction, hindrance, job_state, manifest
from headwater.compute.engines.kubernetes_nodes import Offer, cluster_of, offer_of, quantity, within_quota
from headwater.compute.engines.naming import outside_name
from headwater.compute.work import Phase, Reason
from headwater.core.errors import BadInput
from headwater.core.steps import Resources

HAMI_910B3 = "huawei.com/Ascend910B3"


def node(labels: dict[str, str] | None = None, *, ready: str = "True", spec: dict[str, Any] | None = None, **there: str) -> dict[str, Any]:
    allocatable = {"cpu": "10", "memory": "20Gi"} | {name.replace("__", "/").replace("_", "."): value for name, value in there.items()}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "n", "labels": labels or {}}, "spec": spec or {}, "status": status}


def queue(**quota: str) -> dict[str, Any]:
    resources = [{"name": name.replace("__", "/").replace("_", "."), "nominalQuota": most} for name, most in quota.items()]
    return {"spec": {"resourceGroups": [{"flavors": [{"name": "default", "resources": resources}]}]}}


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("3920m", 3.92), ("64Gi", 64 * 2**30), ("1e3", 1000), ("129M", 129e6), ("0", 0), ("", 0), ("many", 0)]
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


def test_a_chip_is_told_by_its_own_resource_by_the_vendors_label_or_by_the_operators() -> None:
    told = cluster_of(
        [
            node({"accelerator": "x"}, huawei_com__Ascend910B3="8"),
            node({"nvidia.com/gpu.product": "NVIDIA-H20", "kubernetes.io/hostname": "h200-1"}, nvidia_com__gpu="8"),
            node({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, nvidia_com__gpu="4"),
            node({"headwater/chip": "k100_ai"}, hygon_com__dcunum="2"),
            node(nvidia_com__gpu="1"),
        ]
    )
    assert dict(told.capacity.accelerators) == {"ascend910b3": 8, "h20": 8, "a100": 4, "k100_ai": 2, "nvidia.com/gpu": 1}
    assert told.offers["ascend910b3"] == Offer(resource=HAMI_910B3)
    assert told.offers["h20"] == Offer(resource="nvidia.com/gpu", labels=(("nvidia.com/gpu.product", "NVIDIA-H20"),))
    assert told.offers["k100_ai"] == Offer(resource="hygon.com/dcunum", labels=(("headwater/chip", "k100_ai"),))
    assert (told.capacity.cpus, told.capacity.memory_gib) == (50, 100)


@pytest.mark.parametrize(
    "one",
    [
        node(ready="False"),
        node(ready="Unknown"),
        node(spec={"unschedulable": True}),
        node(spec={"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}),
    ],
)
def test_a_node_that_takes_no_jobs_does_not_count(one: dict[str, Any]) -> None:
    assert cluster_of([one]).capacity.cpus == 0


def test_a_taint_that_keeps_others_off_an_accelerator_does_not_keep_its_jobs_off() -> None:
    tainted = node(spec={"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, nvidia_com__gpu="8")
    assert cluster_of([tainted]).capacity.accelerators == {"nvidia.com/gpu": 8}


def test_resources_that_are_no_accelerator_of_the_catalogue_are_left_out() -> None:
    assert cluster_of([node(rdma__hca="8", nvidia_com__gpumem="80")]).capacity.accelerators == {}


def test_a_quota_holds_where_it_is_less_than_the_nodes_have() -> None:
    cluster = cluster_of([node({"headwater/chip": "h20"}, nvidia_com__gpu="8")])
    capacity = within_quota(cluster, queue(cpu="64", memory="10Gi", nvidia_com__gpu="6"))
    assert (capacity.cpus, capacity.memory_gib, dict(capacity.accelerators)) == (10, 10, {"h20": 6})
    unseen = within_quota(cluster_of([]), queue(cpu="64", memory="10Gi", nvidia_com__gpu="6"))
    assert (unseen.cpus, unseen.memory_gib, dict(unseen.accelerators)) == (64, 10, {"nvidia.com/gpu": 6})


def test_a_chip_that_no_node_has_now_is_asked_for_by_the_catalogues_name() -> None:
    assert offer_of("ascend910b3", {}) == offer_of("huawei/ascend910b/b3", {}) == Offer(resource=HAMI_910B3)
    with pytest.raises(BadInput, match="No chip 'abacus'"):
        offer_of("abacus", {})


@given(st.from_regex(NAME, fullmatch=True), st.from_regex(NAME, fullmatch=True))
def test_a_jobs_name_is_valid_and_tells_keys_apart(one: str, other: str) -> None:
    name = outside_name("0a1b2c3d", one)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63 - len("-abcde")
    assert (name == outside_name("0a1b2c3d", other)) == (one == other)


def test_a_job_waits_for_kueue_only_where_a_queue_is_named_and_is_never_tried_twice() -> None:
    def made(place: Place) -> dict[str, Any]:
        told = Resources(cpus=1.5, memory_gib=2, wall_s=100)
        return manifest(platform="0a", key="one", folders={Path("/v/one"): "one"}, place=place, resources=told, asked=[])

    queued, free = made(Place(image="i", claim="c", queue="jobs")), made(Place(image="i", claim="c"))
    assert (queued["spec"]["suspend"], queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]) == (True, "jobs")
    assert (free["spec"]["suspend"], "kueue.x-k8s.io/queue-name" in free["metadata"]["labels"]) == (False, False)
    assert free["spec"]["backoffLimit"] == 0
    assert free["spec"]["activeDeadlineSeconds"] > 100 + 300
    assert free["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1500m", "memory": "2112Mi"}


def pod(*conditions: tuple[str, str, str], phase: str = "Failed", **state: Any) -> dict[str, Any]:
    told = [{"type": kind, "status": status, "reason": reason} for kind, status, reason in conditions]
    return {"metadata": {}, "status": {"phase": phase, "conditions": told, "containerStatuses": [{"state": state}]}}


@pytest.mark.parametrize(
    ("one", "phase", "reason"),
    [
        (pod(terminated={"exitCode": 137, "reason": "OOMKilled"}), Phase.FAILED, Reason.OUT_OF_MEMORY),
        (pod(terminated={"exitCode": 1, "reason": "Error"}), Phase.FAILED, Reason.FAILED),
        (pod(("DisruptionTarget", "True", "PreemptionByScheduler"), terminated={"exitCode": 143}), Phase.LOST, Reason.PREEMPTED),
        (pod(("DisruptionTarget", "True", "DeletionByTaintManager")), Phase.LOST, Reason.NODE_LOST),
        (pod(("DisruptionTarget", "True", "EvictionByEvictionAPI"), terminated={"exitCode": 143}), Phase.LOST, Reason.NODE_LOST),
        (pod(), Phase.LOST, Reason.NODE_LOST),
        (None, Phase.LOST, Reason.NODE_LOST),
    ],
)
def test_a_pod_tells_why_it_ended(one: dict[str, Any] | None, phase: Phase, reason: Reason) -> None:
    seen = ending(one)
    assert (seen.phase, seen.reason) == (phase, reason)


def test_a_pod_that_its_kubelet_evicted_is_lost_in_the_kubelets_words() -> None:
    evicted = {"metadata": {}, "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory"}}
    seen = ending(evicted)
    assert (seen.phase, seen.message) == (Phase.LOST, "The pod is lost: The node was low on resource: memory.")


def test_only_a_lack_of_room_may_pass() -> None:
    assert hindrance(pod(phase="Pending", waiting={"reason": "ContainerCreating"})) is None
    assert hindrance(pod(("PodScheduled", "False", "Unschedulable"), phase="Pending")) == ("Unschedulable: no node takes it", True)
    pulled = hindrance(pod(phase="Pending", waiting={"reason": "ErrImagePull", "message": "not found"}))
    assert pulled == ("ErrImagePull: not found", False)


def test_a_jobs_deadline_and_kueues_words_are_read_from_conditions() -> None:
    late = {"metadata": {}, "spec": {}, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}
    assert (job_state(late).over, job_state(late).deadline_passed) == (True, True)
    told = {"type": "Evicted", "status": "True", "reason": "Preempted", "message": "for a larger one"}
    assert eviction({"status": {"conditions": [told]}}) == "Kueue took its room back: for a larger one"
    assert eviction(None).endswith("it does not say why")
