"""What acts on the objects of the test's Kubernetes: Kueue, the Job controller, the scheduler, and kubelets that run pods as processes.

Nothing is mounted and no memory limit is enforced: a pod's folder must be the very path on this machine, and a test says itself
that a container ran out of memory or a node was lost.
"""

from __future__ import annotations

import base64
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from headwater.compute.engines import leftovers
from headwater.compute.engines.kubernetes_nodes import quantity
from tests.kubernetes import KUEUE, NAMESPACE, SCOPED, TOKEN, WIDE, ApiServer, Object, Refusal, now

IMAGE = "registry.example/headwater:1"
BARE = "registry.example/python:3"
"""An image whose Python has no Headwater."""
CLAIM = "headwater"
QUEUE = "jobs"
NPU = "huawei.com/Ascend910B3"
GPU = "nvidia.com/gpu"
TICK_S = 0.02
NODES: dict[str, tuple[dict[str, str], dict[str, str], list[dict[str, str]]]] = {
    "n1": ({"cpu": "8", "memory": "32Gi", NPU: "4"}, {}, []),
    "n2": (
        {"cpu": "7900m", "memory": "33554432Ki", GPU: "2"},
        {"nvidia.com/gpu.product": "NVIDIA-H20"},
        [{"key": GPU, "effect": "NoSchedule"}],
    ),
    "control": ({"cpu": "4", "memory": "8Gi"}, {}, [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]),
}


class Cluster:
    """A cluster of two nodes for jobs. A claim on a folder and a queue of Kueue's, with a quota of 6 CPUs, are there from the start."""

    def __init__(self, claim_root: Path, *, tls: ssl.SSLContext | None = None, kueue: bool = True) -> None:
        self.folder = claim_root
        self.api = ApiServer(tls, kueue=kueue)
        self.objects = self.api.objects
        self.api.logs = lambda pod: self.logs.get(pod, "")
        self.logs: dict[str, str] = {}
        self.held: set[str] = set()
        """Jobs that Kueue does not admit again."""
        self.dead: set[str] = set()
        """Nodes whose kubelet no longer answers."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._killed_for_memory: set[str] = set()
        self._asked: dict[str, float] = {}
        for name, (allocatable, labels, taints) in NODES.items():
            ready = {"type": "Ready", "status": "True"}
            node = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}
            self.objects.add("nodes", node | {"status": {"allocatable": allocatable, "conditions": [ready]}})
        amounts = (("cpu", "6"), ("memory", "24Gi"), (NPU, "4"))
        self.objects.add("clusterqueues", {"metadata": {"name": "city-queue"}, "spec": {"resourceGroups": [quota("default", amounts)]}})
        self.objects.add("localqueues", {"metadata": {"name": QUEUE}, "spec": {"clusterQueue": "city-queue"}})
        self.objects.add("persistentvolumes", {"metadata": {"name": "data"}, "spec": {"hostPath": {"path": str(claim_root)}}})
        self.objects.add("persistentvolumeclaims", {"metadata": {"name": CLAIM}, "spec": {"volumeName": "data"}})
        (claim_root / "bare").mkdir(parents=True, exist_ok=True)
        (claim_root / "bare" / "python3").symlink_to(os.path.realpath(sys.executable))  # outside its environment it has no packages
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def kubeconfig(self, folder: Path, token: str = TOKEN, *, authority: bytes = b"") -> Path:
        """Write a kubeconfig for this cluster, with the authority that signed its certificate where it has one."""
        signed = {"certificate-authority-data": base64.b64encode(authority).decode()} if authority else {}
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me", "namespace": NAMESPACE}}],
            "clusters": [{"name": "one", "cluster": {"server": self.api.url} | signed}],
            "users": [{"name": "me", "user": {"token": token}}],
        }
        path = folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump(told))
        return path

    def stop(self) -> None:
        """End every pod's process and the server."""
        self._stopping.set()
        self._thread.join()
        for name in list(self.processes):
            self._kill(name)
        self.api.stop()

    # What a test does to the cluster.

    def evict(self, job: str) -> None:
        """Have Kueue take a job's room back for another, and not admit it again."""
        self.held.add(job)
        told = {"reason": "Preempted", "message": "Preempted to accommodate a workload with precedence"}
        self.objects.change("workloads", f"job-{job}", lambda one: put(one, "Evicted", **told))
        self.objects.change("workloads", f"job-{job}", lambda one: put(one, "Admitted", "False"))
        self.objects.change("jobs", job, lambda one: one["spec"].update(suspend=True))

    def run_out_of_memory(self, pod: str) -> None:
        """Kill a pod's container as the kernel does at the limit of its control group."""
        self._killed_for_memory.add(pod)
        self._kill(pod)

    def lose(self, node: str) -> None:
        """Cut a node off with all that runs there, and have its pods marked for deletion after their toleration."""
        self.dead.add(node)
        for pod in self.pods(node):
            name = pod["metadata"]["name"]
            self._kill(name)
            self.disrupt(name, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")

    def disrupt(self, pod: str, reason: str, message: str) -> None:
        """Have Kubernetes end a pod: the scheduler for one of higher priority, a drain, or a taint."""
        self.objects.change("pods", pod, lambda one: put(one, "DisruptionTarget", reason=reason, message=message))
        self._delete_pod(pod)

    def pods(self, node: str = "") -> list[Object]:
        """Give the pods, of one node where it is named."""
        return [one for one in self.objects.listed("pods") if not node or one["spec"].get("nodeName") == node]

    # The controllers.

    def _work(self) -> None:
        while not self._stopping.is_set():
            for job in self.objects.listed("jobs"):
                self._admit(job)
                self._control(job, [pod for pod in self.pods() if pod["metadata"]["labels"]["job-name"] == job["metadata"]["name"]])
            for pod in self.pods():
                if "nodeName" not in pod["spec"] and "deletionTimestamp" not in pod["metadata"]:
                    self._place(pod)
                elif pod["spec"].get("nodeName") not in self.dead:
                    self._run(pod)
            for claim in self.objects.listed("persistentvolumeclaims"):
                self._bind_volume(claim)
            for space in self.objects.listed("namespaces"):
                self._empty(space)
            for collection in WIDE:
                self._let_go(collection)
            self._stopping.wait(TICK_S)

    def _admit(self, job: Object) -> None:
        """Be Kueue: hold a Workload for each Job of a queue, and unsuspend those that the quota has room for."""
        name, queue = job["metadata"]["name"], job["metadata"]["labels"].get(f"{KUEUE}/queue-name")
        if queue is None or finished(job) or "deletionTimestamp" in job["metadata"] or not job["spec"]["suspend"] or name in self.held:
            return
        if f"job-{name}" not in self.objects.all["workloads"]:
            meta = {
                "name": f"job-{name}",
                "labels": {f"{KUEUE}/job-uid": job["metadata"]["uid"]},
                "namespace": job["metadata"]["namespace"],
            }
            self.objects.add("workloads", {"metadata": meta, "spec": {"queueName": queue, "active": True}})
        queued = [one for one in self.objects.listed("jobs") if one["metadata"]["labels"].get(f"{KUEUE}/queue-name") == queue]
        asks = sum(cpus(one) for one in [*(one for one in queued if not one["spec"]["suspend"] and not finished(one)), job])
        behind = self.objects.read("localqueues", queue, job["metadata"]["namespace"])["spec"]["clusterQueue"]
        groups = self.objects.read("clusterqueues", behind)["spec"]["resourceGroups"]
        most = quantity(groups[0]["flavors"][0]["resources"][0]["nominalQuota"])
        told = ("QuotaReserved", "False") if asks > most else ("QuotaReserved", "True")
        self.objects.change("workloads", f"job-{name}", lambda one: put(one, *told, reason="Pending" if asks > most else "QuotaReserved"))
        if asks <= most:
            self.objects.change("workloads", f"job-{name}", lambda one: put(one, "Admitted"))
            self.objects.change("jobs", name, lambda one: one["spec"].update(suspend=False))

    def _control(self, job: Object, pods: list[Object]) -> None:
        """Be the Job controller: one pod for a Job that may run, none for one that may not, and its conditions."""
        name, late = job["metadata"]["name"], False
        if not finished(job) and job["status"].get("started_s"):
            late = time.monotonic() - job["status"]["started_s"] > job["spec"]["activeDeadlineSeconds"]
        if late:
            self.objects.change("jobs", name, lambda one: put(one, "FailureTarget", reason="DeadlineExceeded"))
        if "deletionTimestamp" in job["metadata"] or job["spec"]["suspend"] or late:
            for pod in pods:
                self._delete_pod(pod["metadata"]["name"])
            if "deletionTimestamp" in job["metadata"] and not pods:
                self.objects.remove("jobs", name)
                self.objects.remove("workloads", f"job-{name}")
            elif late and not pods:
                self.objects.change("jobs", name, lambda one: put(one, "Failed", reason="DeadlineExceeded"))
        elif not pods and not finished(job):
            self._make_pod(job)
        for pod in pods:
            if pod["status"]["phase"] in ("Succeeded", "Failed") and not finished(job):
                self._conclude(name, pod["status"]["phase"] == "Succeeded")

    def _conclude(self, job: str, well: bool) -> None:
        kind, reason = ("Complete", "CompletionsReached") if well else ("Failed", "BackoffLimitExceeded")
        self.objects.change("jobs", job, lambda one: put(one, kind, reason=reason))

    def _make_pod(self, job: Object) -> None:
        name, template = job["metadata"]["name"], job["spec"]["template"]
        tries = job["status"].get("pods_made", 0)
        if tries and not job["metadata"]["labels"].get(f"{KUEUE}/queue-name"):
            self.objects.change("jobs", name, lambda one: put(one, "Failed", reason="BackoffLimitExceeded"))
            return
        labels = template["metadata"]["labels"] | {"job-name": name, "batch.kubernetes.io/job-name": name}
        meta = {"name": f"{name}-{tries:05d}", "labels": labels, "namespace": job["metadata"]["namespace"]}
        meta |= {"annotations": template["metadata"]["annotations"]}
        self.objects.add("pods", {"metadata": meta, "spec": dict(template["spec"]), "status": {"phase": "Pending"}})
        self.objects.change("jobs", name, lambda one: one["status"].update(pods_made=tries + 1, started_s=time.monotonic()))

    def _place(self, pod: Object) -> None:
        """Be the scheduler: the first node with room, with the labels asked for, and without a taint that is not tolerated."""
        for node in self.objects.listed("nodes"):
            name = node["metadata"]["name"]
            if name not in self.dead and fits(pod, node, self.pods(name)):
                self._bind(pod["metadata"]["name"], name)
                return
        why = {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient resources."}
        self.objects.change("pods", pod["metadata"]["name"], lambda one: put(one, "PodScheduled", "False", **why))

    def _bind(self, pod: str, node: str) -> None:
        self.objects.change("pods", pod, lambda one: one["spec"].update(nodeName=node))
        self.objects.change("pods", pod, lambda one: put(one, "PodScheduled"))

    def _delete_pod(self, name: str) -> None:
        def mark(pod: Object) -> None:
            if "deletionTimestamp" not in pod["metadata"]:
                grace_s = pod["spec"]["terminationGracePeriodSeconds"]
                pod["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": grace_s}

        self.objects.change("pods", name, mark)

    def _run(self, pod: Object) -> None:
        """Be the kubelet of a pod's node."""
        name, process = pod["metadata"]["name"], self.processes.get(pod["metadata"]["name"])
        leaving = "deletionTimestamp" in pod["metadata"]
        if process is None and pod["status"]["phase"] == "Pending" and not leaving:
            self._start(pod)
        elif process is not None and process.poll() is not None:
            self._report(name, self.processes.pop(name))
        elif process is not None and leaving:
            asked_s = self._asked.setdefault(name, time.monotonic())
            if asked_s > time.monotonic() - TICK_S:
                process.send_signal(signal.SIGTERM)
            elif time.monotonic() - asked_s > pod["metadata"]["deletionGracePeriodSeconds"]:
                self._kill(name)
        elif process is None and leaving:
            self.objects.remove("pods", name)

    def _start(self, pod: Object) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        if container["image"] not in (IMAGE, BARE):
            told = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{container["image"]}"'}
            self._state(name, "Pending", waiting=told)
            return
        if problem := self._cannot_mount(pod):
            self._state(name, "Pending", waiting={"reason": "CreateContainerConfigError", "message": problem})
            return
        environment = {one["name"]: one["value"] for one in container["env"]}
        programs = Path(sys.executable).parent if container["image"] == IMAGE else self.folder / "bare"
        environment |= {"PATH": f"{programs}:{os.defpath}", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
        environment |= {"ASCEND_VISIBLE_DEVICES": "0"} if NPU in container["resources"]["limits"] else {}
        log = self.folder / f".{name}.log"
        with log.open("wb") as file:
            self.processes[name] = subprocess.Popen(
                container["command"], cwd=container["workingDir"], env=environment, stdout=file, stderr=file, start_new_session=True
            )
        self._state(name, "Running", running={"startedAt": now()})

    def _cannot_mount(self, pod: Object) -> str:
        claims = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"]}
        for mount in pod["spec"]["containers"][0]["volumeMounts"]:
            root = self._root_of(claims[mount["name"]], pod["metadata"]["namespace"])
            if root is None or root / mount["subPath"] != Path(mount["mountPath"]):
                return f"cannot mount {mount}"
        return "" if pod["spec"]["securityContext"]["runAsUser"] == os.getuid() else "cannot run as that user"

    def _root_of(self, claim: str, space: str) -> Path | None:
        """Give the folder on this machine that is the root of a claim's volume, if it is bound to one."""
        try:
            told = self.objects.read("persistentvolumeclaims", claim, space)
        except Refusal:
            return None
        if told["status"].get("phase") != "Bound":
            return None
        return Path(self.objects.read("persistentvolumes", told["spec"]["volumeName"])["spec"]["hostPath"]["path"])

    def _bind_volume(self, claim: Object) -> None:
        """Be the volume controller, for a claim that names its volume."""
        name, volume = claim["metadata"]["name"], claim["spec"]["volumeName"]
        if volume in self.objects.all["persistentvolumes"]:
            for collection, one in (("persistentvolumes", volume), ("persistentvolumeclaims", name)):
                self.objects.change(collection, one, lambda found: found["status"].update(phase="Bound"))

    def _empty(self, space: Object) -> None:
        """Be the namespace controller: what is in a namespace that was deleted goes, its Jobs first, with their pods."""
        if "deletionTimestamp" not in space["metadata"]:
            return
        name = space["metadata"]["name"]
        jobs = self.objects.listed("jobs", space=name)
        for job in jobs:
            self.objects.change("jobs", job["metadata"]["name"], lambda one: one["metadata"].setdefault("deletionTimestamp", now()))
        if not jobs and not self.objects.listed("pods", space=name):
            for collection in SCOPED:
                for one in self.objects.listed(collection, space=name):
                    self.objects.remove(collection, one["metadata"]["name"])
            self.objects.remove("namespaces", name)

    def _let_go(self, collection: str) -> None:
        """Take out what was deleted and belongs to no namespace, once no claim holds it."""
        held = {one["spec"]["volumeName"] for one in self.objects.listed("persistentvolumeclaims")}
        for one in self.objects.listed(collection):
            if collection != "namespaces" and "deletionTimestamp" in one["metadata"] and one["metadata"]["name"] not in held:
                self.objects.remove(collection, one["metadata"]["name"])

    def _report(self, name: str, process: subprocess.Popen[bytes]) -> None:
        log = self.folder / f".{name}.log"
        self.logs[name] = log.read_text(errors="replace") if log.exists() else ""
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        reason = "OOMKilled" if name in self._killed_for_memory else "Completed" if code == 0 else "Error"
        self._state(name, "Failed" if code else "Succeeded", terminated={"exitCode": code, "reason": reason, "finishedAt": now()})

    def _state(self, name: str, phase: str, **state: Any) -> None:
        status = {"phase": phase, "containerStatuses": [{"name": "attempt", "state": state}]}
        self.objects.change("pods", name, lambda one: one["status"].update(status))

    def _kill(self, name: str) -> None:
        process = self.processes.get(name)
        if process is not None and process.poll() is None:
            folder = Path(os.readlink(f"/proc/{process.pid}/cwd"))
            process.kill()
            leftovers.end(folder)
            process.wait()


def quota(flavor: str, amounts: Iterable[tuple[str, str]]) -> Object:
    """Give the resource group of a ClusterQueue that gives out these amounts, by resource."""
    resources = [{"name": one, "nominalQuota": most} for one, most in amounts]
    return {"coveredResources": [one["name"] for one in resources], "flavors": [{"name": flavor, "resources": resources}]}


def put(one: Object, kind: str, status: str = "True", **more: str) -> None:
    """Set a condition of an object."""
    conditions = one["status"].setdefault("conditions", [])
    conditions[:] = [told for told in conditions if told["type"] != kind] + [{"type": kind, "status": status, **more}]


def finished(job: Object) -> bool:
    """Tell whether a Job is complete or has failed."""
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in job["status"].get("conditions", ()))


def cpus(job: Object) -> float:
    """Give the CPUs that a Job asks for."""
    return quantity(job["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])


def fits(pod: Object, node: Object, there: list[Object]) -> bool:
    """Tell whether a node takes a pod beside those that it has."""
    spec = pod["spec"]
    tolerated = {one["key"] for one in spec.get("tolerations", ())}
    if any(taint["key"] not in tolerated for taint in node["spec"].get("taints", ())):
        return False
    affinity = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = affinity.get("nodeSelectorTerms", [])
    labels = node["metadata"]["labels"]
    if terms and not any(all(labels.get(rule["key"]) in rule["values"] for rule in term["matchExpressions"]) for term in terms):
        return False
    live = [one for one in there if one["status"]["phase"] in ("Pending", "Running")]
    asked = [one["spec"]["containers"][0]["resources"]["requests"] for one in [pod, *live]]
    return all(
        sum(quantity(one.get(name, 0)) for one in asked) <= quantity(node["status"]["allocatable"].get(name, 0)) for name in asked[0]
    )
