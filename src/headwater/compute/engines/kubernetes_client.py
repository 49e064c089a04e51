"""Talking to a Kubernetes API server through `lightkube`: the calls that the engine needs, with objects as the API writes them.

Nothing is known of attempts here. `kubernetes_config.py` says where the server is and who asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import httpx

from headwater.compute.engines.kubernetes_config import Access
from headwater.core.errors import BadInput, Conflict, HeadwaterError, NotFound, Unavailable

TIMEOUT_S = 20.0
WATCH_S = 240
"""How long one watch is asked to last; the server may end it sooner."""
LOG_LINES = 20
KUEUE = "kueue.x-k8s.io"

Object = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as the API writes it."""


class Kind(StrEnum):
    """What is listed and watched."""

    JOB = "Job"
    POD = "Pod"
    NODE = "Node"


class Transport(httpx.BaseTransport):
    """Reaches the API server as whom an access names, and lets a watch be broken off.

    `lightkube` by itself knows no credential plug-ins of version 1, gives them our whole environment, and ends no watch from outside.
    """

    def __init__(self, access: Access) -> None:
        """Make it; nothing is asked yet."""
        self._access = access
        self._http = httpx.HTTPTransport(verify=access.tls)
        self._watch = threading.local()

    def __deepcopy__(self, _: object) -> Transport:
        """Return itself: lightkube copies its options."""
        return self

    def watching(self, opened: Callable[[httpx.Response], None]) -> None:
        """Have `opened` told of each answer to the watch that this thread begins now, through which it can be broken off."""
        self._watch.opened = opened

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer. Raises Unavailable where there are no credentials."""
        request.headers.update(self._access.headers())
        is_watch = request.url.params.get("watch") == "true"
        if is_watch:  # lightkube would wait for ever for a server that is gone
            request.extensions["timeout"]["read"] = WATCH_S + TIMEOUT_S
        answer = self._http.handle_request(request)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._access.renew()
        if is_watch:
            self._watch.opened(answer)
        return answer

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()


class KubernetesClient:
    """One namespace of a cluster. Each call raises Unavailable where the API server does not answer or does not know us."""

    def __init__(self, access: Access, *, namespace: str = "") -> None:
        """Make a client; nothing is asked yet. `namespace` goes before the one that the access names."""
        import lightkube  # 0.4 s with its models
        from lightkube.config.kubeconfig import KubeConfig
        from lightkube.config.models import Cluster, User
        from lightkube.resources import batch_v1, core_v1

        space = namespace or access.namespace or "default"
        self._server = access.server
        self._transport = Transport(access)
        config, timeout = KubeConfig.from_one(cluster=Cluster(server=access.server), user=User()), httpx.Timeout(TIMEOUT_S)
        self._kube = lightkube.Client(config, namespace=space, timeout=timeout, trust_env=False, transport=self._transport)
        self._http = httpx.Client(base_url=access.server, timeout=timeout, trust_env=False, transport=self._transport)
        self._kinds: Mapping[Kind, Any] = {Kind.JOB: batch_v1.Job, Kind.POD: core_v1.Pod, Kind.NODE: core_v1.Node}
        self._kueue = ""

    def create_job(self, job: Object) -> Object:
        """Create a Job and return it as the server has it. Raises Conflict where its name is taken, BadInput where it is refused."""
        with self._reached():
            return _plain(self._kube.create(self._kinds[Kind.JOB].from_dict(dict(job))))

    def job(self, name: str) -> Object | None:
        """Return a Job, or None where there is none of that name."""
        try:
            with self._reached():
                return _plain(self._kube.get(self._kinds[Kind.JOB], name))
        except NotFound:
            return None

    def delete_job(self, name: str) -> None:
        """Delete a Job; it stays, marked, until its pods are gone. One that is gone already is no error."""
        from lightkube.types import CascadeType

        try:
            with self._reached():
                self._kube.delete(self._kinds[Kind.JOB], name, cascade=CascadeType.FOREGROUND)
        except NotFound:
            return

    def listed(self, kind: Kind, label: str = "") -> tuple[Sequence[Object], str]:
        """Return the objects that carry a label (`name=value`), and the version of the list, from which a watch goes on."""
        with self._reached():
            found = self._kube.list(self._kinds[kind], labels=_selector(label))
            return [_plain(one) for one in found], found.resourceVersion

    def watch(self, kind: Kind, label: str, since: str, opened: Callable[[httpx.Response], None]) -> Iterator[tuple[str, Object]]:
        """Yield each change after a version as its type (`ADDED`, `MODIFIED`, `DELETED`) and object; where the server ends it, it goes on.

        `opened` is given each answer, through which the watch can be broken off. Raises Conflict where the server has dropped that
        version.
        """
        with self._reached():
            self._transport.watching(opened)
            changes = self._kube.watch(self._kinds[kind], labels=_selector(label), resource_version=since, server_timeout=WATCH_S)
            for change, one in changes:
                yield change, _plain(one)

    def pod_log(self, pod: str) -> str:
        """Return the last lines that a pod's container printed, or nothing where there is no log."""
        try:
            with self._reached():
                return "".join(self._kube.log(pod, tail_lines=LOG_LINES)).strip()
        except HeadwaterError:
            return ""

    def nodes(self) -> Sequence[Object]:
        """Return the cluster's nodes, or none where we may not see them."""
        try:
            return self.listed(Kind.NODE)[0]
        except BadInput:
            return []

    def cluster_queue(self, local_queue: str) -> Object:
        """Return the ClusterQueue behind a LocalQueue of Kueue's. Raises NotFound where Kueue or either queue is not there."""
        from lightkube.generic_resource import create_global_resource, create_namespaced_resource

        version = self._kueue_version()
        with self._reached():
            local = self._kube.get(create_namespaced_resource(KUEUE, version, "LocalQueue", "localqueues"), local_queue)
            queues = create_global_resource(KUEUE, version, "ClusterQueue", "clusterqueues")
            return _plain(self._kube.get(queues, local["spec"]["clusterQueue"]))

    def workload(self, job_uid: str) -> Object | None:
        """Return what Kueue holds about a Job, if it holds anything."""
        from lightkube.generic_resource import create_namespaced_resource

        try:
            workloads = create_namespaced_resource(KUEUE, self._kueue_version(), "Workload", "workloads")
            with self._reached():
                return next(map(_plain, self._kube.list(workloads, labels={f"{KUEUE}/job-uid": job_uid})), None)
        except (NotFound, BadInput):
            return None

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()

    def _kueue_version(self) -> str:
        """Return the version of Kueue's objects that this server prefers, which lightkube does not ask for."""
        if not self._kueue:
            with self._reached():
                answer = self._http.get(f"/apis/{KUEUE}")
                answer.raise_for_status()
                self._kueue = str(answer.json()["preferredVersion"]["version"])
        return self._kueue

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raise what the server or its absence means in our own errors."""
        from lightkube.core.exceptions import ApiError, NotReadyError

        try:
            yield
        except ApiError as error:
            raise refusal(error.status.code or 0, str(error.status.message), self._server) from error
        except httpx.HTTPStatusError as error:
            raise refusal(error.response.status_code, _message(error.response), self._server) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            what = f"Kubernetes does not answer: {str(error).rstrip('.') or type(error).__name__}."
            raise Unavailable(what, "Check kubernetes_kubeconfig and that the API server runs.", where=self._server) from error
        except (ValueError, KeyError, NotReadyError) as error:
            what = f"Kubernetes answered with something else than its JSON ({type(error).__name__}: {str(error)[:100]})."
            raise Unavailable(what, "Check that the address is that of an API server.", where=self._server) from error


def _plain(one: Any) -> dict[str, Any]:
    """Return an object of lightkube's as the API writes it."""
    return dict(one.to_dict())


def _selector(label: str) -> dict[str, Any] | None:
    name, _, value = label.partition("=")
    return {name: value} if name else None


def _message(answer: httpx.Response) -> str:
    """Return what a refusal says. That of a watch was not read yet."""
    try:
        answer.read()
        return str(answer.json()["message"])
    except (httpx.HTTPError, httpx.StreamError):
        return f"status {answer.status_code}"
    except (ValueError, KeyError, TypeError):
        return answer.text[:300] or f"status {answer.status_code}"


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
