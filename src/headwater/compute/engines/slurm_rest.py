"""Slurm through slurmrestd. Field names differ between Slurm versions, so they are read from the server's own OpenAPI document."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import httpx

from headwater.compute.engines.slurm_accounting import accounted_in
from headwater.compute.engines.slurm_client import TIMEOUT_S, Accounted, SlurmJob, SlurmNode, Submission, indices, jobs_of, node_of, refusal
from headwater.compute.engines.slurm_users import Tokens
from headwater.core.errors import BadInput, Unavailable

WITHOUT_BRACKETS = str.maketrans("", "", "[]")
"""slurmrestd takes no brackets in a path, and reads a range of elements without them."""

HEEDS_REQUEUE = (0, 0, 39)
"""Earlier versions of the API take `requeue: false` and do not heed it; they heed sbatch's own `no_requeue`, which they do not document."""


class RestClient:
    """Slurm through slurmrestd, over a unix socket or HTTP, with a JSON Web Token where a file for it is named."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        """Connect to `http(s)://host:port` or `unix:/path`, and read which fields this server's version takes. Raises Unavailable."""
        self._place = url
        self._tokens = tokens
        transport = httpx.HTTPTransport(uds=url.removeprefix("unix:")) if url.startswith("unix:") else None
        base = "http://slurm" if transport else url.rstrip("/")
        self._http = httpx.Client(base_url=base, transport=transport, timeout=TIMEOUT_S, trust_env=False)
        self._document = self._call("GET", "/openapi/v3")
        self._root = _newest(self._document, url)
        self._is_old = _version(self._root) < HEEDS_REQUEUE
        self._fields = _job_fields(self._document, f"{self._root}/job/submit")

    def submit(self, asked: Submission) -> str:
        """See `SlurmClient.submit`."""
        job = {
            "name": asked.name,
            "current_working_directory": str(asked.folder),
            "standard_output": str(asked.log),
            "open_mode": "append",
            "environment": {"PATH": os.defpath},
            "cpus_per_task": asked.cpus,
            "memory_per_node": asked.memory_mib,
            "time_limit": asked.minutes,
            "requeue": False,
        } | ({"no_requeue": True} if self._is_old else {})
        job |= {name: value for name, value in (("partition", asked.partition), ("account", asked.account)) if value}
        if asked.elements:
            job["array"] = indices(asked)
        if asked.gres:
            name = self._field("tres_per_node", "gres")
            job[name] = ",".join(f"gres{':' if name == 'gres' else '/'}{one}:{count}" for one, count in asked.gres)
        body = {"script": asked.script, "job": {name: self._shaped(name, value) for name, value in job.items()}}
        return str(self._call("POST", f"{self._root}/job/submit", body, user=asked.user)["job_id"])

    def jobs(self) -> Sequence[SlurmJob]:
        """See `SlurmClient.jobs`."""
        return jobs_of(self._call("GET", f"{self._root}/jobs")["jobs"])

    def cancel(self, job: str, *, user: str = "") -> None:
        """See `SlurmClient.cancel`."""
        try:
            self._call("DELETE", f"{self._root}/job/{job.translate(WITHOUT_BRACKETS)}", user=user)
        except BadInput:
            return  # it has ended, or the controller has forgotten it

    def widen(self, array: str, *, user: str = "") -> None:
        """See `SlurmClient.widen`."""
        try:
            self._call("POST", f"{self._root}/job/{array}", {"array": "0"}, user=user)
        except BadInput:
            return  # 22.05 does it and says that it failed

    def nodes(self) -> Sequence[SlurmNode]:
        """See `SlurmClient.nodes`."""
        return [node_of(one) for one in self._call("GET", f"{self._root}/nodes")["nodes"]]

    def accounted(self, jobs: Collection[str]) -> Mapping[str, Accounted]:
        """See `SlurmClient.accounted`."""
        found = {}
        for job in jobs:
            try:
                told = self._call("GET", f"{self._root.replace('/slurm/', '/slurmdb/')}/job/{job}")["jobs"]
            except BadInput:
                continue  # it is not there yet
            if told:
                found[job] = accounted_in(told[-1])
        return found

    def close(self) -> None:
        """See `SlurmClient.close`."""
        self._http.close()

    def _field(self, *names: str) -> str:
        found = next((name for name in names if name in self._fields), None)
        if found is None:
            raise Unavailable(f"This slurmrestd takes none of {', '.join(names)} with a job.", "Report its version.", where=self._place)
        return found

    def _shaped(self, name: str, value: Any) -> Any:
        """Return a value in the form that this version's field has: later ones wrap numbers, and list the environment."""
        kind = self._fields.get(name, {}).get("type")
        if isinstance(value, int) and not isinstance(value, bool) and kind == "object":
            return {"set": True, "number": value}
        if name == "environment" and kind == "array":
            return [f"{key}={one}" for key, one in value.items()]
        return value

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, user: str = "") -> Any:
        try:
            answer = self._http.request(method, path, json=body, headers=self._tokens.headers(user))
        except httpx.HTTPError as error:
            raise Unavailable(f"slurmrestd does not answer: {error}.", "Check slurm_url and that it runs.", where=self._place) from error
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Any:
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise Unavailable("slurmrestd refuses the token.", "Renew it with 'scontrol token'.", where=self._place)
        try:
            told = answer.json()
        except ValueError as error:
            raise Unavailable(f"slurmrestd answered {answer.status_code} without JSON.", "Look at its log.", where=self._place) from error
        if answer.is_success and not told.get("errors"):
            return told
        raise refusal("; ".join(_said(one) for one in told.get("errors") or ()) or f"status {answer.status_code}", self._place)


def _newest(document: Mapping[str, Any], where: str) -> str:
    """Return the path prefix of the newest version that the server has, such as `/slurm/v0.0.38`."""
    submits = (re.fullmatch(r"(/slurm/v[\d.]+)/job/submit", path) for path in document["paths"])
    found = [one[1] for one in submits if one]
    if not found:
        raise Unavailable("This slurmrestd serves no job submission.", "Start it with its openapi/slurmctld plug-in.", where=where)
    return max(found, key=_version)


def _version(root: str) -> tuple[int, ...]:
    """Return the version in a path prefix, such as (0, 0, 38)."""
    return tuple(map(int, root.rpartition("/v")[2].split(".")))


def _job_fields(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the fields of a job to submit, each with its schema."""
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    job = _resolved(document, _resolved(document, body)["properties"]["job"])
    return {name: _resolved(document, schema) for name, schema in job["properties"].items()}


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while (reference := schema.get("$ref")) is not None:
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def _said(error: Mapping[str, Any]) -> str:
    return " ".join(str(error[part]) for part in ("error", "description") if error.get(part))
