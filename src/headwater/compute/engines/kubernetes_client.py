"""Talking to a Kubernetes API server: the six calls that the engine needs, as plain JSON over HTTP.

Nothing is known of attempts here. `kubernetes_config.py` says where the server is and who asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from headwater.compute.engines.kubernetes_config import Access
from headwater.core.errors import BadInput, Conflict, HeadwaterError, NotFound, Unavailable

TIMEOUT_S = 20.0
WATCH_S = 240
"""How long one watch is asked to last; the server may end it sooner."""
LOG_LINES = 20
KUEUE = "/apis/kueue.x-k8s.io"

Object = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as the API writes it."""


class KubernetesClient:
    """One namespace of a cluster. Each call raises Unavailable where the API server does not answer or does not know us."""

    def __init__(self, access: Access, *, namespace: str = "") -> None:
        """Make a client; nothing is asked yet. `namespace` goes before the one that the access names."""
        self.namespace = namespace or access.namespace or "default"
        self._access = access
        self._http = httpx.Client(base_url=access.server, verify=access.tls, timeout=TIMEOUT_S, trust_env=False)
        self._kueue = ""

    def jobs_path(self) -> str:
        """Return the path of the namespace's Jobs."""
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    def pods_path(self) -> str:
        """Return the path of the namespace's pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def create_job(self, job: Object) -> Object:
        """Create a Job and return it as the server has it. Raises Conflict where its name is taken, BadInput where it is refused."""
        return self._call("POST", self.jobs_path(), body=job)

    def job(self, name: str) -> Object | None:
        """Return a Job, or None where there is none of that name."""
        try:
            return self._call("GET", f"{self.jobs_path()}/{name}")
        except NotFound:
            return None

    def delete_job(self, name: str) -> None:
        """Delete a Job; it stays, marked, until its pods are gone. One that is gone already is no error."""
        try:
            self._call("DELETE", f"{self.jobs_path()}/{name}", body={"propagationPolicy": "Foreground"})
        except NotFound:
            return

    def listed(self, path: str, label: str = "") -> tuple[Sequence[Object], str]:
        """Return the objects at a path that carry a label (`name=value`), and the version of the list, from which a watch goes on."""
        told = self._call("GET", path, params={"labelSelector": label} if label else {})
        return told.get("items") or [], str(told["metadata"].get("resourceVersion", ""))

    def watch(self, path: str, label: str, since: str, opened: Callable[[httpx.Response], None]) -> Iterator[tuple[str, Object]]:
        """Yield each change after a version as its type (`ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`) and object, until the server ends it.

        `opened` is given the response, through which the watch can be broken off. Raises Conflict where the server has dropped that
        version.
        """
        asked: dict[str, str | int] = {
            "labelSelector": label,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": WATCH_S,
        }
        timeout = httpx.Timeout(TIMEOUT_S, read=WATCH_S + TIMEOUT_S)
        with self._reached(), self._http.stream("GET", path, params=asked, headers=self._access.headers(), timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                raise self._refusal(answer)
            opened(answer)
            for line in answer.iter_lines():
                told = json.loads(line)
                if told["type"] == "ERROR":
                    raise refusal(int(told["object"].get("code", 500)), str(told["object"].get("message", "")), self._access.server)
                yield told["type"], told["object"]

    def pod_log(self, pod: str) -> str:
        """Return the last lines that a pod's container printed, or nothing where there is no log."""
        try:
            with self._reached():
                answer = self._http.get(f"{self.pods_path()}/{pod}/log", params={"tailLines": LOG_LINES}, headers=self._access.headers())
        except Unavailable:
            return ""
        return answer.text.strip() if answer.is_success else ""

    def nodes(self) -> Sequence[Object]:
        """Return the cluster's nodes, or none where we may not see them."""
        try:
            return self.listed("/api/v1/nodes")[0]
        except BadInput:
            return []

    def cluster_queue(self, local_queue: str) -> Object:
        """Return the ClusterQueue behind a LocalQueue of Kueue's. Raises NotFound where Kueue or either queue is not there."""
        root = self._kueue_root()
        local = self._call("GET", f"{root}/namespaces/{self.namespace}/localqueues/{local_queue}")
        return self._call("GET", f"{root}/clusterqueues/{local['spec']['clusterQueue']}")

    def workload(self, job_uid: str) -> Object | None:
        """Return what Kueue holds about a Job, if it holds anything."""
        try:
            found = self.listed(f"{self._kueue_root()}/namespaces/{self.namespace}/workloads", f"kueue.x-k8s.io/job-uid={job_uid}")[0]
        except (NotFound, BadInput):
            return None
        return found[0] if found else None

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _kueue_root(self) -> str:
        """Return Kueue's path with the version that this server prefers."""
        if not self._kueue:
            self._kueue = f"/apis/{self._call('GET', KUEUE)['preferredVersion']['groupVersion']}"
        return self._kueue

    def _call(self, method: str, path: str, *, body: Object | None = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self._reached():
            answer = self._http.request(method, path, json=body, params=params, headers=self._access.headers())
        if not answer.is_success:
            raise self._refusal(answer)
        try:
            return dict(answer.json())
        except ValueError as error:
            what = f"Kubernetes answered {answer.status_code} without JSON."
            raise Unavailable(what, "Check that the address is that of an API server.", where=self._access.server) from error

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.StreamError) as error:
            what = f"Kubernetes does not answer: {str(error).rstrip('.') or type(error).__name__}."
            raise Unavailable(what, "Check kubernetes_kubeconfig and that the API server runs.", where=self._access.server) from error

    def _refusal(self, answer: httpx.Response) -> HeadwaterError:
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._access.renew()
        try:
            message = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            message = answer.text[:300] or f"status {answer.status_code}"
        return refusal(answer.status_code, message, self._access.server)


def refusal(status: int, message: str, where: str) -> HeadwaterError:
    """Return the error for a status of the API's: what cannot be as asked is BadInput, what may pass is Unavailable."""
    said = f"Kubernetes answered {status}: {message.rstrip('.')[:500]}."
    if status == httpx.codes.CONFLICT:
        return Conflict(said, "Look at what has that name.", where=where)
    if status == httpx.codes.NOT_FOUND:
        return NotFound(said, "Check the namespace, and that what is named is installed.", where=where)
    if status == httpx.codes.GONE:
        return Conflict(said, "List again.", where=where)
    if status == httpx.codes.UNAUTHORIZED:
        return Unavailable(said, "Renew the credentials in the kubeconfig.", where=where)
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Unavailable(said, "Wait, then look at the API server.", where=where)
    return BadInput(said, "Change what the job asks for, or what the namespace allows.", where=where)
