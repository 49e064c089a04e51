"""An attempt as a Kubernetes Job, and what a Job and its pod tell of an attempt. Pure: figures and objects in, objects and facts out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.compute.engines.image import START
from headwater.compute.engines.kubernetes_nodes import Offer
from headwater.compute.engines.local import GRACE_S
from headwater.compute.engines.naming import outside_name
from headwater.compute.work import Observation, Phase, Reason
from headwater.core.steps import Resources

PLATFORM_LABEL = "headwater/platform"
ATTEMPT_ANNOTATION = "headwater/attempt"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
RUNNER_MIB = 64
"""Memory of the runner itself, asked for beside the job's own."""
STOP_S = math.ceil(2 * GRACE_S) + 5
"""What a pod that is told to go gets: the runner's own time for its job to clean up, and to write the exit record."""
AWAY_S = 60
"""How long a node may be out of reach before its pods are given up."""
NEVER_STARTS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
DOES_NOT_START = frozenset({
    "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError", "CrashLoopBackOff",
}) | NEVER_STARTS  # fmt: skip
SCHEDULER_PREEMPTED = "PreemptionByScheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where jobs go: the image they run in, the volume claim whose root is the folder of attempts, and Kueue's queue, if any."""

    image: str
    claim: str
    queue: str = ""
    launch_s: float = 300.0


def manifest(
    *, platform: str, key: str, folders: Mapping[Path, str], place: Place, resources: Resources, asked: Sequence[tuple[Offer, int]]
) -> dict[str, Any]:
    """Return the Job of an attempt. It waits for Kueue where a queue is named, and is tried once.

    `folders` are what the pod sees of the claim's volume, each by its path in the pod and below the volume's root; the first is the
    attempt's own.

    Its deadline stands behind the runner's, and behind the time that a start may take: also without this server nothing stays for ever.
    """
    labels = {"app.kubernetes.io/managed-by": "headwater", PLATFORM_LABEL: platform}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": outside_name(platform, key),
            "labels": labels | ({QUEUE_LABEL: place.queue} if place.queue else {}),
            "annotations": {ATTEMPT_ANNOTATION: key},
        },
        "spec": {
            "suspend": bool(place.queue),
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(resources.wall_s + place.launch_s + STOP_S) + AWAY_S,
            "template": {
                "metadata": {"labels": labels, "annotations": {ATTEMPT_ANNOTATION: key}},
                "spec": _pod(folders, place, resources, asked),
            },
        },
    }


def _pod(folders: Mapping[Path, str], place: Place, resources: Resources, asked: Sequence[tuple[Offer, int]]) -> dict[str, Any]:
    own = str(next(iter(folders)))
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": STOP_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsUser": os.getuid(),  # the folder of an attempt is its platform's alone
            "runAsGroup": os.getgid(),
            "runAsNonRoot": os.getuid() != 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": _tolerations(asked),
        **_affinity(asked),
        "volumes": [{"name": "attempts", "persistentVolumeClaim": {"claimName": place.claim}}],
        "containers": [
            {
                "name": "attempt",
                "image": place.image,
                "command": [*START, own],
                "workingDir": own,
                "volumeMounts": [{"name": "attempts", "mountPath": str(here), "subPath": there} for here, there in folders.items()],
                "resources": dict.fromkeys(("requests", "limits"), _amounts(resources, asked)),
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                # An image may show a container every accelerator of its node, unless this says none.
                "env": [] if asked else [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],
            }
        ],
    }


def _amounts(resources: Resources, asked: Sequence[tuple[Offer, int]]) -> dict[str, str]:
    own = {"cpu": f"{math.ceil(resources.cpus * 1000)}m", "memory": f"{math.ceil(resources.memory_gib * 1024) + RUNNER_MIB}Mi"}
    return own | {offer.resource: str(count) for offer, count in asked}


def _tolerations(asked: Sequence[tuple[Offer, int]]) -> list[dict[str, Any]]:
    away = [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": AWAY_S}
        for what in ("not-ready", "unreachable")
    ]
    return away + [{"key": offer.resource, "operator": "Exists"} for offer, _ in asked]


def _affinity(asked: Sequence[tuple[Offer, int]]) -> dict[str, Any]:
    """Return the rule that sends a job to nodes with the very chip it asks for, where a resource alone does not tell."""
    terms = [
        {"matchExpressions": [{"key": name, "operator": "In", "values": [value]}]} for offer, _ in asked for name, value in offer.labels
    ]
    if not terms:
        return {}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What matters of a Job."""

    suspended: bool
    """It holds no room: Kueue has not admitted it yet, or has taken its room back."""
    over: bool
    """Its pod has ended, or it was given up."""
    leaving: bool
    """It was deleted, and its pod is being ended."""
    deadline_passed: bool


def job_state(job: Mapping[str, Any]) -> JobState:
    """Return what a Job tells."""
    conditions = _conditions(job)
    failed = conditions.get("Failed") or conditions.get("FailureTarget") or {}
    return JobState(
        suspended=bool(job["spec"].get("suspend")),
        over="Failed" in conditions or "Complete" in conditions,
        leaving="deletionTimestamp" in job["metadata"],
        deadline_passed=failed.get("reason") == "DeadlineExceeded",
    )


def is_disrupted(pod: Mapping[str, Any] | None) -> bool:
    """Tell whether Kubernetes itself ends a pod, and says so."""
    return pod is not None and "DisruptionTarget" in _conditions(pod)


def ending(pod: Mapping[str, Any] | None) -> Observation:
    """Return what a pod tells of an attempt whose runner wrote no exit record, or only that it was told to go."""
    if pod is None:
        return Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, message="The job's pod is gone.")
    status, disrupted = pod.get("status") or {}, _conditions(pod).get("DisruptionTarget")
    ended = _container(pod).get("terminated") or {}
    exit_code = ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        message = "The pod went over its memory limit. Ask for more under resources: memory_gib, or make the work smaller."
        return Observation(phase=Phase.FAILED, reason=Reason.OUT_OF_MEMORY, exit_code=exit_code, message=message)
    if disrupted is not None:
        why = f"Kubernetes ended the pod: {disrupted.get('message') or disrupted.get('reason')}."
        reason = Reason.PREEMPTED if disrupted.get("reason") == SCHEDULER_PREEMPTED else Reason.NODE_LOST
        return Observation(phase=Phase.LOST, reason=reason, exit_code=exit_code, message=why)
    if exit_code is None or status.get("reason"):
        why = f"The pod is lost: {status.get('message') or status.get('reason') or 'its node no longer answers'}."
        return Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, exit_code=exit_code, message=why)
    message = ended.get("message") or f"The pod's container ended with exit code {exit_code} and left no exit record."
    return Observation(phase=Phase.FAILED, reason=Reason.FAILED, exit_code=exit_code, message=message)


def hindrance(pod: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Return why a pod does not start, and whether another attempt may do better; None where nothing hinders it.

    That no node has room may pass; that its image is not there will not.
    """
    waiting = _container(pod).get("waiting") or {}
    if waiting.get("reason") in DOES_NOT_START:
        return f"{waiting['reason']}: {waiting.get('message') or 'Kubernetes says no more'}", False
    placed = _conditions(pod, "False").get("PodScheduled")
    if placed is not None and placed.get("reason") == "Unschedulable":
        return f"Unschedulable: {placed.get('message') or 'no node takes it'}", True
    return None


def cannot_ever_start(pod: Mapping[str, Any]) -> bool:
    """Tell whether waiting is of no use: the image's name itself is wrong."""
    return (_container(pod).get("waiting") or {}).get("reason") in NEVER_STARTS


def eviction(workload: Mapping[str, Any] | None) -> str:
    """Return Kueue's own words for taking a job's room back."""
    evicted = _conditions(workload or {}).get("Evicted") or {}
    return f"Kueue took its room back: {evicted.get('message') or evicted.get('reason') or 'it does not say why'}"


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of a pod's only container, such as `{"waiting": …}`."""
    told = (pod.get("status") or {}).get("containerStatuses") or [{}]
    state: Mapping[str, Any] = told[0].get("state") or {}
    return state


def _conditions(one: Mapping[str, Any], status: str = "True") -> dict[str, Mapping[str, Any]]:
    return {told["type"]: told for told in (one.get("status") or {}).get("conditions") or () if told["status"] == status}
