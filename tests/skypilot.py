"""A SkyPilot API server for tests, in this process: the endpoints that the engine uses, with machines that are processes here.

Answers have the fields of SkyPilot 0.14.1. As with the real one, a launch that fails leaves what it had rented, and a second launch
onto a cluster runs its task a second time. Nothing is mounted: the bucket's folder must be the very path on this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from headwater.compute.engines import leftovers

TOKEN = "sky_let-me-in"
BUCKET = "s3://city-jobs"


class Failed(Exception):
    """Why a request fails: the type of SkyPilot's exception, and its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.told = {"object": "", "type": kind, "message": message}


class SkyServer:
    """The server, its requests and its clusters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: dict[str, dict[str, Any]] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.next_failure: Failed | None = None
        self.holds_launches = False
        self.failing_downs = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.handle(self)

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def settings(self, token: str = TOKEN) -> str:
        """Give the settings file of a platform that uses this server."""
        file = self.folder.parent / "sky-token"
        file.write_text(token)
        told = {"url": self.url, "bucket": BUCKET, "folder": self.folder, "token_file": file}
        return "[skypilot]\n" + "".join(f'{name} = "{value}"\n' for name, value in told.items()) + "cpus = 16\nmemory_gib = 64\n"

    def stop(self) -> None:
        """End every machine's processes and the server."""
        self.holds_launches = False
        for cluster in list(self.clusters):
            self._kill(cluster)
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def take_back(self, cluster: str) -> None:
        """Have the cloud take a machine back."""
        self._kill(cluster)
        del self.clusters[cluster]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"null")
        parts = urlsplit(request.path)
        asked = parse_qs(parts.query)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(request, 401, {"detail": "Authentication required"})
        elif parts.path == "/api/health":
            self._answer(request, 200, {"status": "healthy", "api_version": "62", "version": "0.14.1"})
        elif parts.path == "/api/status":
            found = [one for one in list(self.requests.values()) if self._fits(one, asked)]
            self._answer(request, 200, [self._payload(one) | {"return_value": "null", "error": "null"} for one in found])
        elif parts.path == "/api/get":
            self._get(request, asked["request_id"][0])
        elif parts.path in WORK:
            self._take(request, parts.path, body)
        else:
            self._answer(request, 404, {"detail": "Not Found"})

    def _fits(self, one: dict[str, Any], asked: dict[str, list[str]]) -> bool:
        if "request_ids" in asked:
            return one["request_id"] in asked["request_ids"]
        over = one["status"] in ("SUCCEEDED", "FAILED", "CANCELLED")
        return one["cluster_name"] in asked.get("cluster_name", []) and (not over or "all_status" in asked)

    def _take(self, request: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        """Take a call as a request, which is worked on while the caller has its number."""
        if not body.get("env_vars", {}).get("SKYPILOT_USER_ID"):
            self._answer(request, 500, {"detail": "no user"})
            return
        number = str(uuid.uuid4())
        one: dict[str, Any] = {"request_id": number, "name": f"sky.{path.removeprefix('/').replace('/', '_')}", "status": "PENDING"}
        one |= {"cluster_name": body.get("cluster_name"), "return_value": None, "error": None, "done": threading.Event()}
        self.requests[number] = one
        threading.Thread(target=self._work, args=(one, WORK[path], body), daemon=True).start()
        self._answer(request, 200, None, number)

    def _work(self, one: dict[str, Any], work: Callable[..., Any], body: dict[str, Any]) -> None:
        one["status"] = "RUNNING"
        try:
            one["return_value"], status = work(self, one, body), "SUCCEEDED"
        except Failed as failed:
            one["error"], status = failed.told, "FAILED"
        if one["status"] == "RUNNING":
            one["status"] = status
        one["done"].set()

    def _get(self, request: BaseHTTPRequestHandler, number: str) -> None:
        one = self.requests.get(number)
        if one is None:
            self._answer(request, 404, {"detail": f"Request {number!r} not found"})
            return
        one["done"].wait(60)
        told = self._payload(one)
        self._answer(request, 500, {"detail": told}) if one["error"] else self._answer(request, 200, told)

    def _payload(self, one: dict[str, Any]) -> dict[str, Any]:
        told = {name: one[name] for name in ("request_id", "name", "status", "cluster_name")}
        told |= {"return_value": json.dumps(one["return_value"]), "error": json.dumps(one["error"]), "created_at": 0.0, "user_id": "x"}
        return told

    def _answer(self, request: BaseHTTPRequestHandler, code: int, told: object, number: str = "") -> None:
        data = json.dumps(told).encode()
        request.send_response(code)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        if number:
            request.send_header("X-Skypilot-Request-ID", number)
        request.end_headers()
        request.wfile.write(data)

    # What requests do.

    def launch(self, one: dict[str, Any], body: dict[str, Any]) -> Any:
        """Rent a machine, where there is none of that name, and start the task on it."""
        name, task = body["cluster_name"], yaml.safe_load(body["task"])
        self.clusters.setdefault(name, {"name": name, "status": "INIT"})
        if task["resources"]["autostop"] != {"idle_minutes": 10, "down": True}:
            raise Failed("ValueError", "the test's server wants clusters that end by themselves")
        while self.holds_launches and one["status"] == "RUNNING":
            time.sleep(0.02)
        if self.next_failure is not None:
            failure, self.next_failure = self.next_failure, None
            raise failure
        if one["status"] != "RUNNING" or name not in self.clusters:
            return None
        if task["file_mounts"] != {str(self.folder): {"source": BUCKET, "mode": "MOUNT_CACHED"}}:
            raise Failed("StorageError", f"no such bucket: {task['file_mounts']}")
        self.clusters[name]["status"] = "UP"
        environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": "/root", "SKYPILOT_NODE_RANK": "0"}
        process = subprocess.Popen(["bash", "-c", task["run"]], env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        self.processes.setdefault(name, []).append(process)
        return {"job_id": len(self.processes[name]), "handle": ""}

    def status(self, one: dict[str, Any], body: dict[str, Any]) -> Any:
        """List clusters."""
        wanted = body.get("cluster_names")
        return [dict(cluster) for name, cluster in list(self.clusters.items()) if wanted is None or name in wanted]

    def job_status(self, one: dict[str, Any], body: dict[str, Any]) -> Any:
        """Tell where a cluster's newest job is."""
        if body["cluster_name"] not in self.clusters:
            raise Failed("ClusterDoesNotExist", f"Cluster {body['cluster_name']!r} does not exist.")
        jobs = self.processes.get(body["cluster_name"], [])
        if not jobs:
            return {}
        code = jobs[-1].poll()
        return {str(len(jobs)): "RUNNING" if code is None else "SUCCEEDED" if code == 0 else "FAILED"}

    def down(self, one: dict[str, Any], body: dict[str, Any]) -> Any:
        """Give a machine back."""
        name = body["cluster_name"]
        if name not in self.clusters:
            raise Failed("ClusterDoesNotExist", f"Cluster {name!r} does not exist.")
        if self.failing_downs:
            self.failing_downs -= 1
            raise Failed("RuntimeError", "the cloud does not answer")
        self._kill(name)
        self.clusters.pop(name, None)

    def cancel(self, one: dict[str, Any], body: dict[str, Any]) -> Any:
        """End requests that are under way."""
        for number in body["request_ids"]:
            if self.requests[number]["status"] in ("PENDING", "RUNNING"):
                self.requests[number]["status"] = "CANCELLED"

    def _kill(self, name: str) -> None:
        for process in self.processes.pop(name, []):
            folder = Path(os.readlink(f"/proc/{process.pid}/cwd")) if process.poll() is None else None
            process.kill()
            process.wait()
            if folder is not None and folder.is_relative_to(self.folder):
                leftovers.end(folder)


WORK: dict[str, Callable[..., Any]] = {
    "/launch": SkyServer.launch,
    "/status": SkyServer.status,
    "/job_status": SkyServer.job_status,
    "/down": SkyServer.down,
    "/api/cancel": SkyServer.cancel,
}
