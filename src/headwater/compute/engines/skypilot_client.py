"""Talking to a SkyPilot API server over HTTP, as its own client does: a call is taken as a request, whose result is asked for by number.

Paths and fields are those of SkyPilot 0.14.1. Nothing is known of attempts here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headwater.core.errors import BadInput, HeadwaterError, NotFound, Unavailable

TIMEOUT_S = 60.0
API_VERSION = "62"
REQUEST_HEADER = "X-Skypilot-Request-ID"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
UNDER_WAY = frozenset({"PENDING", "WAITING", "RUNNING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyFailure:
    """Why a request failed: the type of SkyPilot's exception, such as `ResourcesUnavailableError`, and its message."""

    type: str
    message: str


class SkyClient:
    """One SkyPilot API server. Each call raises Unavailable where it does not answer, BadInput where it refuses what is asked."""

    def __init__(self, url: str, *, user: str, token_file: Path | None = None) -> None:
        """Make a client that acts as `user` (8 hexadecimal characters), or as the service account whose token is in a file."""
        self._place = url.rstrip("/")
        self._token_file = token_file
        self._who = {"SKYPILOT_USER_ID": user, "SKYPILOT_USER": "headwater"}
        self._http = httpx.Client(base_url=self._place, timeout=TIMEOUT_S, trust_env=False)

    def check(self) -> None:
        """Return where the server is there and knows who we are."""
        self._call("GET", "/api/health")

    def launch(self, cluster: str, task: str) -> str:
        """Ask for a cluster that runs a task, given as YAML, and return the request's number. A second launch runs it a second time."""
        return self._asked("/launch", {"cluster_name": cluster, "task": task})

    def launches(self, cluster: str) -> Sequence[str]:
        """Return the numbers of the launches that were ever asked for a cluster."""
        told = self._call("GET", "/api/status", params={"cluster_name": cluster, "all_status": "true"}).json()
        return [str(one["request_id"]) for one in told if str(one["name"]).endswith("launch")]

    def request_status(self, request: str) -> str:
        """Return where a request is, such as `RUNNING`, `SUCCEEDED`, `FAILED`. Raises NotFound for one that the server does not know."""
        told = self._call("GET", "/api/status", params={"request_ids": request}).json()
        if not told:
            raise NotFound(f"The SkyPilot server knows no request {request}.", "Look at its log.", where=self._place)
        return str(told[0]["status"])

    def failure(self, request: str) -> SkyFailure:
        """Return why a request that has ended failed."""
        told = self._call("GET", "/api/get", params={"request_id": request}, failed_too=True).json()
        error = json.loads((told.get("detail") or told).get("error") or "null") or {}
        return SkyFailure(type=str(error.get("type", "")), message=COLOURS.sub("", str(error.get("message", "it does not say why"))))

    def give_up(self, request: str) -> None:
        """Have a request ended that is still under way."""
        self._asked("/api/cancel", {"request_ids": [request]})

    def clusters(self) -> Mapping[str, str]:
        """Return the status of each cluster by its name, such as `UP`; a machine that the cloud took back is seen."""
        told = self._result("/status", {"refresh": "AUTO", "include_credentials": False})
        return {str(one["name"]): str(one["status"]) for one in told}

    def job_status(self, cluster: str) -> str:
        """Return the status of a cluster's newest job, such as `RUNNING`, or nothing where it has none."""
        told = self._result("/job_status", {"cluster_name": cluster, "job_ids": None})
        return str(next(iter(told.values()), "") or "") if told else ""

    def down(self, cluster: str) -> None:
        """Ask that a cluster be torn down, with all that it costs; what its mounts hold back is uploaded first."""
        self._asked("/down", {"cluster_name": cluster, "graceful": True, "graceful_timeout": 300})

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _asked(self, path: str, body: Mapping[str, Any]) -> str:
        return str(self._call("POST", path, {"env_vars": self._who, **body}).headers.get(REQUEST_HEADER, ""))

    def _result(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what a short request gives, waiting for it."""
        request = self._asked(path, body)
        answer = self._call("GET", "/api/get", params={"request_id": request}, failed_too=True)
        if not answer.is_success:
            why = self.failure(request)
            raise BadInput(f"SkyPilot refuses {path}: {why.type}: {why.message[:500]}.", "Look at its log.", where=self._place)
        return json.loads(answer.json()["return_value"])

    def _call(
        self, method: str, path: str, body: object = None, *, params: Mapping[str, str] | None = None, failed_too: bool = False
    ) -> httpx.Response:
        """Return the answer; with `failed_too` also one of 500, with which the server tells that a request failed."""
        headers = {"X-SkyPilot-API-Version": API_VERSION, **self._token()}
        try:
            answer = self._http.request(method, path, json=body, params=params, headers=headers)
        except httpx.HTTPError as error:
            what = f"SkyPilot does not answer: {str(error).rstrip('.') or type(error).__name__}."
            raise Unavailable(what, "Check its url and that 'sky api status' answers.", where=self._place) from error
        if answer.is_success or (failed_too and answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR):
            return answer
        raise _refusal(answer, self._place)

    def _token(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text('ascii').strip()}"}
        except OSError as error:
            raise Unavailable(f"The SkyPilot token cannot be read: {error.strerror}.", "Check token_file.") from error


def _refusal(answer: httpx.Response, where: str) -> HeadwaterError:
    said = f"SkyPilot answered {answer.status_code}: {answer.text[:300]}."
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return Unavailable(said, "Make a new service account token, and write it to token_file.", where=where)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return NotFound(said, "Check that this is a SkyPilot API server.", where=where)
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Unavailable(said, "Wait, then look at its log.", where=where)
    return BadInput(said, "Change what the job asks for.", where=where)
