"""Where the tests of the Kubernetes engine run: a namespace made for one test, on the cluster that KUBECONFIG names or on the tests' own.

Both are reached in the same way, through a kubeconfig; the tests' own is a process of its own (`kubernetes_apart.py`). What a test
needs of a cluster, and what may be set for it, is in `docs/kubernetes.md`.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.compute.engines import kubernetes_config
from headwater.compute.engines.kubernetes import KubernetesEngine
from headwater.compute.engines.kubernetes_client import KUEUE, Kind, KubernetesClient, Object
from headwater.compute.engines.kubernetes_job import Place
from headwater.core.errors import HeadwaterError
from headwater.core.store import Store
from tests import kubernetes_cluster

CORE = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A namespace of a cluster, with a claim whose root is `folder` here, and a queue of `cpus` CPUs where the cluster has Kueue."""

    kubeconfig: Path
    namespace: str
    folder: Path
    queue: str
    cpus: float
    image: str
    bare: str
    """An image whose `python3` has no Headwater; empty where there is none."""

    def client(self) -> KubernetesClient:
        """Give a client of the namespace."""
        return KubernetesClient(kubernetes_config.load(str(self.kubeconfig)), namespace=self.namespace)

    def engine(self, *, root: str = "jobs", queue: str = "", image: str = "", launch_s: float = 300.0) -> KubernetesEngine:
        """Open an engine on the namespace, without Kueue unless a queue is named."""
        return KubernetesEngine(
            root=self.folder / root,
            claim_root=self.folder,
            store=Store(str(self.folder / "artifacts"), max_bytes=1 << 20),
            client=self.client(),
            place=Place(image=image or self.image, claim=self.namespace, queue=queue, launch_s=launch_s),
        )

    def settings(self) -> str:
        """Give the settings file of a platform that uses this namespace, through Kueue where it is there."""
        told = {"kubeconfig": self.kubeconfig, "namespace": self.namespace, "queue": self.queue, "image": self.image}
        told |= {"claim": self.namespace, "folder": self.folder}
        return "kubernetes = true\n" + "".join(f'kubernetes_{name} = "{value}"\n' for name, value in told.items())

    def jobs(self) -> list[Object]:
        """Give the namespace's Jobs."""
        client = self.client()
        try:
            return list(client.listed(Kind.JOB)[0])
        finally:
            client.close()

    def pods(self) -> list[Object]:
        """Give the namespace's pods."""
        client = self.client()
        try:
            return list(client.listed(Kind.POD)[0])
        finally:
            client.close()

    def nothing_left(self) -> bool:
        """Tell whether every Job and pod goes within a minute."""
        last_s = time.monotonic() + 60
        while (left := [*self.jobs(), *self.pods()]) and time.monotonic() < last_s:
            time.sleep(0.05)
        return not left


class Administrator:
    """Makes and removes what a test needs on a cluster, as whom the kubeconfig names."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        access = kubernetes_config.load(str(kubeconfig))
        self._http = httpx.Client(base_url=access.server, verify=access.tls, headers=access.headers(), timeout=20, trust_env=False)
        self._made: list[str] = []

    def close(self) -> None:
        """Return once every namespace that was made is gone."""
        last_s = time.monotonic() + 180
        while left := [path for path in self._made if self._http.get(path).status_code != httpx.codes.NOT_FOUND]:
            assert time.monotonic() < last_s, f"{left} does not go"
            time.sleep(0.2)
        self._http.close()

    @contextmanager
    def stand(self, folders: Path) -> Iterator[Stand]:
        """Make a namespace with all that a test needs in it, and remove it again. Skips the test where that is not allowed."""
        name = f"headwater-test-{secrets.token_hex(4)}"
        folder = folders / name
        folder.mkdir(parents=True)
        made: list[str] = []
        try:
            made.append(self._make(f"{CORE}/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            self._made.append(made[0])
            made.append(self._make(f"{CORE}/persistentvolumes", volume(name, folder)))
            self._make(f"{made[0]}/persistentvolumeclaims", claim(name))
            queue = self._queue(name, made)
            self._until_usable(made[0])
            yield Stand(
                kubeconfig=self.kubeconfig,
                namespace=name,
                folder=folder,
                queue=queue,
                cpus=float(asked("CPUS", "4")),
                image=asked("IMAGE", "headwater:test"),
                bare=asked("BARE_IMAGE", "python:3.11-slim"),
            )
        finally:
            for path in made:
                self._http.request("DELETE", path, json={"propagationPolicy": "Background"})

    def _queue(self, name: str, made: list[str]) -> str:
        """Make a LocalQueue of Kueue's, with a ClusterQueue of its own, and give its name; none where the cluster has no Kueue."""
        found = self._http.get(f"/apis/{KUEUE}")
        if found.status_code == httpx.codes.NOT_FOUND:
            return ""
        version = found.json()["preferredVersion"]["groupVersion"]
        about = {"apiVersion": version, "metadata": {"name": name}}
        made.append(self._make(f"/apis/{version}/resourceflavors", about | {"kind": "ResourceFlavor"}))
        amounts = (("cpu", asked("CPUS", "4")), ("memory", asked("MEMORY", "8Gi")))
        spec = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
            "resourceGroups": [kubernetes_cluster.quota(name, amounts)],
        }
        made.append(self._make(f"/apis/{version}/clusterqueues", about | {"kind": "ClusterQueue", "spec": spec}))
        self._make(f"/apis/{version}/namespaces/{name}/localqueues", about | {"kind": "LocalQueue", "spec": {"clusterQueue": name}})
        return name

    def _make(self, path: str, one: Mapping[str, Any]) -> str:
        answer = self._http.post(path, json=one)
        if answer.status_code == httpx.codes.FORBIDDEN:
            pytest.skip(f"the cluster of KUBECONFIG does not let these tests make what they need: {answer.json().get('message')}")
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return f"{path}/{one['metadata']['name']}"

    def _until_usable(self, namespace: str) -> None:
        """Return once the claim is bound, and pods can be made: they need the account that the namespace's controller makes."""
        name, last_s = namespace.rpartition("/")[2], time.monotonic() + 60
        account, bound = f"{namespace}/serviceaccounts/default", f"{namespace}/persistentvolumeclaims/{name}"
        while not (self._http.get(account).is_success and self._http.get(bound).json().get("status", {}).get("phase") == "Bound"):
            assert time.monotonic() < last_s, f"{bound} is not bound"
            time.sleep(0.02)


def asked(name: str, otherwise: str) -> str:
    """Give what the environment says of the cluster under test, such as KUBE_TEST_IMAGE."""
    return os.environ.get(f"KUBE_TEST_{name}", otherwise)


def volume(name: str, folder: Path) -> dict[str, Any]:
    """Give a volume that is a folder of this machine: the nodes' own folder of that path, or one that they mount over NFS."""
    server, _, exported = asked("NFS", "").partition(":")
    where: dict[str, Any] = {"hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}}
    if server:
        where = {"nfs": {"server": server, "path": f"{exported.rstrip('/')}/{name}"}}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"namespace": name, "name": name},
        **where,
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(name: str) -> dict[str, Any]:
    """Give the claim on the volume of the same name."""
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": name,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def reachable() -> Path | None:
    """Give the kubeconfig that KUBECONFIG names, if an API server answers behind it."""
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        return None
    try:
        access = kubernetes_config.load(path)
        httpx.get(f"{access.server}/version", verify=access.tls, timeout=10, trust_env=False)
    except (HeadwaterError, httpx.HTTPError):
        return None
    return Path(path).expanduser()
