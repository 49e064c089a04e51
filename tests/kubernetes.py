"""A Kubernetes for tests: an API server over HTTP in this process, with the controllers that jobs meet (`kubernetes_cluster.py`).

It answers as the real one does where the engine depends on it: one counter of versions, lists and watches that go on from a version,
410 for a version that was dropped, 409 for a name that is taken, 401 without the token, 422 for an object that is not valid,
deletion in the foreground, label selectors, namespaces. It is no proof that a real cluster takes what the engine sends.
One thing is simpler: an object's name is taken in every namespace at once.
"""

from __future__ import annotations

import copy
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

NAMESPACE = "city"
TOKEN = "let-me-in"
KUEUE = "kueue.x-k8s.io"
KUEUE_PATH = f"/apis/{KUEUE}/v1beta1"
WIDE = {
    "nodes": "/api/v1",
    "namespaces": "/api/v1",
    "persistentvolumes": "/api/v1",
    "resourceflavors": KUEUE_PATH,
    "clusterqueues": KUEUE_PATH,
}
"""What belongs to the cluster as a whole, and the path before it."""
SCOPED = {
    "pods": "/api/v1",
    "serviceaccounts": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "jobs": "/apis/batch/v1",
    "localqueues": KUEUE_PATH,
    "workloads": KUEUE_PATH,
}
"""What belongs to a namespace."""
PATH = re.compile(r"(/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(/log)?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
QUANTITY = re.compile(r"[0-9.]+(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def now() -> str:
    """Give the time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Refusal(Exception):
    """What the server answers in place of an object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


class Target(NamedTuple):
    """What a path names: a collection, of a namespace or of the cluster, and perhaps one object of it, or a pod's log."""

    collection: str
    space: str
    name: str
    log: bool


def target(path: str, *, kueue: bool) -> Target:
    """Give what a path names. Raises Refusal where that is nothing here."""
    found = PATH.fullmatch(path)
    group, space, collection, name, log = found.groups(default="") if found else ("", "", "", "", "")
    known = (SCOPED if space else WIDE).get(collection)
    if not found or known != group or (known == KUEUE_PATH and not kueue):
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    return Target(collection, space, name, bool(log))


class Objects:
    """Every object, by collection and name, with the changes that a watch can go on from."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.version = 1000
        self.dropped = 1000
        self.all: dict[str, dict[str, Object]] = {name: {} for name in [*WIDE, *SCOPED]}
        self.changes: list[tuple[int, str, str, Object]] = []

    def add(self, collection: str, one: Object) -> Object:
        """Take in a new object. Raises Refusal where its name is taken."""
        with self.changed:
            name = one["metadata"]["name"]
            if name in self.all[collection]:
                raise Refusal(409, "AlreadyExists", f'{collection} "{name}" already exists')
            if collection in SCOPED:
                one["metadata"].setdefault("namespace", NAMESPACE)
            one["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            one.setdefault("status", {})
            self.all[collection][name] = one
            self._note(collection, "ADDED", one)
            return copy.deepcopy(one)

    def change(self, collection: str, name: str, edit: Callable[[Object], object]) -> None:
        """Change an object, if it is there, and tell those who watch where anything is different afterwards."""
        with self.changed:
            one = self.all[collection].get(name)
            before = copy.deepcopy(one)
            if one is not None:
                edit(one)
                if one != before:
                    self._note(collection, "MODIFIED", one)

    def remove(self, collection: str, name: str) -> None:
        """Take an object out."""
        with self.changed:
            one = self.all[collection].pop(name, None)
            if one is not None:
                self._note(collection, "DELETED", one)

    def read(self, collection: str, name: str, space: str = "") -> Object:
        """Give a copy of an object, of a namespace where one is named. Raises Refusal where there is none."""
        with self.changed:
            one = self.all[collection].get(name)
            if one is None or not within(one, space):
                raise Refusal(404, "NotFound", f'{collection} "{name}" not found')
            return copy.deepcopy(one)

    def listed(self, collection: str, label: str = "", space: str = "") -> list[Object]:
        """Give copies of the objects that carry a label, of a namespace where one is named."""
        with self.changed:
            return copy.deepcopy([one for one in self.all[collection].values() if carries(one, label) and within(one, space)])

    def compact(self) -> None:
        """Drop all changes so far, as etcd does after some minutes."""
        with self.changed:
            self.dropped = self.version
            self.changes.clear()
            self.changed.notify_all()

    def _note(self, collection: str, kind: str, one: Object) -> None:
        self.version += 1
        one["metadata"]["resourceVersion"] = str(self.version)
        self.changes.append((self.version, collection, kind, copy.deepcopy(one)))
        self.changed.notify_all()


def carries(one: Mapping[str, Any], label: str) -> bool:
    """Tell whether an object fits a selector `name=value`."""
    name, _, value = label.partition("=")
    return not label or (one["metadata"].get("labels") or {}).get(name) == value


def within(one: Mapping[str, Any], space: str) -> bool:
    """Tell whether an object is of a namespace; every one is of the namespace without a name."""
    return not space or one["metadata"].get("namespace") == space


class ApiServer:
    """The HTTP end, over TLS where it is given, with Kueue's objects or without. `watch_s` is how long it lets a watch last at most."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, kueue: bool = True) -> None:
        self.kueue = kueue
        self.objects = Objects()
        self.objects.add("namespaces", {"metadata": {"name": NAMESPACE}})
        self.logs: Callable[[str], str] = lambda _: ""
        self.watch_s = 60.0
        self.away = False
        self.stopping = False
        self.requests: list[str] = []
        self.policies: set[str | None] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # an answer's head and body are two packets

            def do_GET(self) -> None:
                server.handle(self)

            def do_POST(self) -> None:
                server.handle(self)

            def do_DELETE(self) -> None:
                server.handle(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every watch and stop listening."""
        self.stopping = True
        with self.objects.changed:
            self.objects.changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Break off each connection without an answer, and every watch."""
        self.away = True
        with self.objects.changed:
            self.objects.changed.notify_all()
        yield
        self.away = False

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"null")
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.away:
            request.close_connection = True
            return
        self.requests.append(f"{'WATCH' if asked.get('watch') else request.command} {parts.path}")
        code: int
        told: Object | str
        try:
            certified = isinstance(request.connection, ssl.SSLSocket) and request.connection.getpeercert()
            if request.headers.get("Authorization") != f"Bearer {TOKEN}" and not certified:
                raise Refusal(401, "Unauthorized", "Unauthorized")
            if asked.get("watch") == "true":
                self._watch(request, parts.path, asked)
                return
            code, told = (
                (201, self._created(parts.path, body)) if request.command == "POST" else (200, self._told(request, parts.path, asked))
            )
        except Refusal as refusal:
            code, told = refusal.status["code"], refusal.status
        self._answer(request, code, told)

    def _answer(self, request: BaseHTTPRequestHandler, code: int, told: object) -> None:
        data = told.encode() if isinstance(told, str) else json.dumps(told).encode()
        request.send_response(code)
        request.send_header("Content-Type", "text/plain" if isinstance(told, str) else "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _created(self, path: str, body: Object) -> Object:
        collection, space, _, _ = target(path, kueue=self.kueue)
        if space:
            self.objects.read("namespaces", space)
            body["metadata"]["namespace"] = space
        if collection == "jobs" and (problem := wrong_with_job(body)):
            raise Refusal(422, "Invalid", f'Job.batch "{body["metadata"].get("name")}" is invalid: {problem}')
        return self.objects.add(collection, body)

    def _told(self, request: BaseHTTPRequestHandler, path: str, asked: Mapping[str, str]) -> Object | str:
        if path == "/version":
            return {"major": "1", "minor": "37", "gitVersion": "v1.37.0-test"}
        if path == f"/apis/{KUEUE}" and self.kueue:
            return {"kind": "APIGroup", "name": KUEUE, "preferredVersion": {"groupVersion": f"{KUEUE}/v1beta1", "version": "v1beta1"}}
        collection, space, name, log = target(path, kueue=self.kueue)
        if not name:
            with self.objects.changed:
                items = self.objects.listed(collection, asked.get("labelSelector", ""), space)
                return {"kind": "List", "metadata": {"resourceVersion": str(self.objects.version)}, "items": items}
        if (collection, name) == ("serviceaccounts", "default"):  # its controller makes one in each namespace
            self.objects.read("namespaces", space)
            return {"kind": "ServiceAccount", "metadata": {"name": name, "namespace": space}}
        one = self.objects.read(collection, name, space)
        if log:
            return "\n".join(self.logs(name).splitlines()[-int(asked.get("tailLines", "1000")) :])
        if request.command == "DELETE":
            self.policies.add(asked.get("propagationPolicy"))
            self._deleted(collection, one)
        return one

    def _deleted(self, collection: str, one: Object) -> None:
        """Mark an object; what stands under it goes first, and its controller takes it out."""
        self.objects.change(collection, one["metadata"]["name"], lambda found: found["metadata"].setdefault("deletionTimestamp", now()))

    def _watch(self, request: BaseHTTPRequestHandler, path: str, asked: Mapping[str, str]) -> None:
        collection, space, _, _ = target(path, kueue=self.kueue)
        since = int(asked["resourceVersion"])
        if since < self.objects.dropped:
            raise expired(since)
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.flush()
        try:
            self._stream(request, (collection, space, asked.get("labelSelector", "")), since, float(asked["timeoutSeconds"]))
            if self.away:
                request.close_connection = True
                return
            request.wfile.write(b"0\r\n\r\n")
        except OSError:
            request.close_connection = True

    def _stream(self, request: BaseHTTPRequestHandler, what: tuple[str, str, str], since: int, most_s: float) -> None:
        collection, space, label = what
        began_s = time.monotonic()
        while not (self.away or self.stopping) and time.monotonic() < (end_s := began_s + min(most_s, self.watch_s)):
            with self.objects.changed:
                if since < self.objects.dropped:
                    send(request, {"type": "ERROR", "object": expired(since).status})
                    return
                fresh = [one for one in self.objects.changes if one[0] > since]
                if not fresh:
                    self.objects.changed.wait(max(0.0, min(0.5, end_s - time.monotonic())))
            for version, where, kind, one in fresh:
                since = version
                if where == collection and carries(one, label) and within(one, space):
                    send(request, {"type": kind, "object": one})


def expired(since: int) -> Refusal:
    """Give the refusal of a version that was dropped."""
    return Refusal(410, "Expired", f"too old resource version: {since}")


def send(request: BaseHTTPRequestHandler, told: Object) -> None:
    """Write one line of a watch."""
    data = json.dumps(told).encode() + b"\n"
    request.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    request.wfile.flush()


def wrong_with_job(job: Object) -> str:
    """Give what the real server would say of a Job that is not valid, for the rules that an engine may break."""
    meta, spec = job.get("metadata", {}), job.get("spec", {})
    pod = spec.get("template", {}).get("spec", {})
    name = str(meta.get("name", ""))
    if not (DNS_LABEL.fullmatch(name) and len(name) <= 63):
        return f"metadata.name: Invalid value: {name!r}"
    for value in [*meta.get("labels", {}).values(), *spec["template"].get("metadata", {}).get("labels", {}).values()]:
        if not LABEL_VALUE.fullmatch(value) or len(value) > 63:
            return f"metadata.labels: Invalid value: {value!r}"
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        return "spec.template.spec.restartPolicy: Required value: valid values: OnFailure, Never"
    volumes = {one["name"] for one in pod.get("volumes", ())}
    for container in pod.get("containers", ()):
        amounts = container.get("resources", {})
        for value in [*amounts.get("requests", {}).values(), *amounts.get("limits", {}).values()]:
            if not (isinstance(value, str) and QUANTITY.fullmatch(value)):
                return f"resources: Invalid value: {value!r}"
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                return f"volumeMounts.name: Not found: {mount['name']!r}"
            if ".." in mount.get("subPath", "").split("/") or mount.get("subPath", "").startswith("/"):
                return "volumeMounts.subPath: Invalid value: must be a relative path"
    if not pod.get("containers") or not isinstance(spec.get("activeDeadlineSeconds", 1), int):
        return "spec: Invalid value"
    return ""
