"""Talking to a Ray cluster: its Jobs API and its list of nodes, over HTTP, so that the server needs no Ray of its own.

Nothing is known of attempts and artifacts here: submit an entry point, list jobs and nodes, stop, delete. Exercised with Ray 2.60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from headwater.core.errors import BadInput, HeadwaterError, Unavailable

TIMEOUT_S = 20.0
GIB = 1 << 30
MOST_NODES = 10_000
NO_CHIPS = frozenset({"CPU", "GPU", "memory", "object_store_memory"})
NO_CHIP_PREFIXES = ("node:", "accelerator_type:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job to submit: a shell command, and what Ray sets aside on one node for it. `resources` counts custom resources by name.

    With nothing to set aside, Ray runs the command on its head node.
    """

    id: str
    entrypoint: str
    cpus: float = 0.0
    memory_bytes: int = 0
    resources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJob:
    """One job as Ray sees it: `state` and `error` in Ray's own capitals, its words, and the exit code of its entry point."""

    id: str
    state: str
    error: str = ""
    message: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNode:
    """One node that is up: what it has in all, accelerators by the name of their custom resource."""

    name: str
    cpus: float
    memory_gib: float
    accelerators: Mapping[str, int]


class RayClient:
    """A Ray cluster by the address of its dashboard, with a bearer token where a file for it is named."""

    def __init__(self, url: str, *, token_file: Path | None = None) -> None:
        """Use the dashboard at `http(s)://host:port`. Nothing is asked yet."""
        self._place = url
        self._token_file = token_file
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT_S, trust_env=False)

    def submit(self, asked: Submission) -> None:
        """Submit a job, once: one whose id Ray has already is left as it is. Raises Unavailable, or BadInput where Ray refuses."""
        body: dict[str, Any] = {"submission_id": asked.id, "entrypoint": asked.entrypoint}
        if asked.cpus:
            body["entrypoint_num_cpus"] = asked.cpus
        if asked.memory_bytes:
            body["entrypoint_memory"] = asked.memory_bytes
        if asked.resources:
            body["entrypoint_resources"] = dict(asked.resources)
        answer = self._send("POST", "/api/jobs/", body)
        if not answer.is_success and self.job(asked.id) is None:
            raise self._refusal(answer)

    def job(self, job: str) -> RayJob | None:
        """Return a job, or None where Ray does not know it. Raises Unavailable."""
        answer = self._send("GET", f"/api/jobs/{quote(job)}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else _job(self._read(answer))

    def jobs(self) -> Sequence[RayJob]:
        """Return every submitted job that Ray remembers, ended ones too. Raises Unavailable."""
        return [_job(one) for one in self._read(self._send("GET", "/api/jobs/")) if one.get("submission_id")]

    def stop(self, job: str) -> None:
        """Have Ray end a job's processes: asked, then killed. One that waits ends when it starts. Raises Unavailable."""
        self._gone_is_fine(self._send("POST", f"/api/jobs/{quote(job)}/stop"))

    def delete(self, job: str) -> None:
        """Have Ray forget a job that has ended. Raises Unavailable."""
        self._gone_is_fine(self._send("DELETE", f"/api/jobs/{quote(job)}"))

    def nodes(self) -> Sequence[RayNode]:
        """Return the nodes that are up. Raises Unavailable."""
        told = self._read(self._send("GET", f"/api/v0/nodes?detail=1&limit={MOST_NODES}"))
        return [_node(one) for one in told["data"]["result"]["result"] if one["state"] == "ALIVE"]

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        try:
            headers = {"Authorization": f"Bearer {self._token_file.read_text('ascii').strip()}"} if self._token_file else {}
            answer = self._http.request(method, path, json=body, headers=headers)
        except OSError as error:
            raise Unavailable(f"The Ray token cannot be read: {error.strerror}.", "Check ray_token_file.") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"Ray does not answer: {error}.", "Check ray_url and that its dashboard runs.", where=self._place) from error
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Unavailable("Ray refuses the token.", "Name a file with its token in ray_token_file.", where=self._place)
        return answer

    def _gone_is_fine(self, answer: httpx.Response) -> None:
        if not answer.is_success and answer.status_code != httpx.codes.NOT_FOUND:
            raise self._refusal(answer)

    def _read(self, answer: httpx.Response) -> Any:
        if not answer.is_success:
            raise self._refusal(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable("Ray answered without JSON.", "Check that ray_url is its dashboard.", where=self._place) from error

    def _refusal(self, answer: httpx.Response) -> HeadwaterError:
        """Return the error for an answer that is none: Ray's traceback by its last line."""
        said = (answer.text.strip().rstrip(".\n").splitlines() or [f"status {answer.status_code}"])[-1][-500:]
        if answer.is_server_error:
            return Unavailable(f"Ray answered {answer.status_code}: {said}.", "Look at the log of its dashboard.", where=self._place)
        return BadInput(f"Ray refuses: {said}.", "Change what the job asks for.", where=self._place)


def _job(told: Mapping[str, Any]) -> RayJob:
    return RayJob(
        id=str(told["submission_id"]),
        state=str(told["status"]),
        error=str(told.get("error_type") or ""),
        message=str(told.get("message") or ""),
        exit_code=told.get("driver_exit_code"),
    )


def _node(told: Mapping[str, Any]) -> RayNode:
    whole: Mapping[str, float] = told["resources_total"]
    return RayNode(
        name=str(told["node_name"]),
        cpus=float(whole.get("CPU", 0.0)),
        memory_gib=whole.get("memory", 0.0) / GIB,
        accelerators={name: int(count) for name, count in whole.items() if _is_chip(name) and count >= 1},
    )


def _is_chip(name: str) -> bool:
    """Tell whether a resource counts accelerators: not Ray's own ones, nor what a placement group holds of another."""
    return name not in NO_CHIPS and not name.startswith(NO_CHIP_PREFIXES) and "_group_" not in name
