"""Talking to a Slurm: over slurmrestd, or by its commands here or on a login node through ssh.

Nothing is known of jobs and artifacts here: submit a script, list jobs and nodes, cancel. Field names of the REST
interface differ between Slurm versions, so they are read from the server's own OpenAPI document. Exercised with
slurmrestd 22.05 (v0.0.38); later versions wrap numbers and states, which is read from the document too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from headwater.core.errors import BadInput, HeadwaterError, Unavailable

TIMEOUT_S = 20.0
MIB_PER_GIB = 1024
DOWN = frozenset({"DOWN", "DRAIN", "DRAINING", "DRAINED", "FAIL", "INVAL", "NOT_RESPONDING", "UNKNOWN", "FUTURE", "POWERED_DOWN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A batch job to submit: its script and what it asks of one node. `gres` counts by Slurm's `name:type`."""

    name: str
    script: str
    folder: Path
    log: Path
    cpus: int
    memory_mib: int
    minutes: int
    gres: Mapping[str, int] = field(default_factory=dict)
    partition: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmJob:
    """One job as the controller sees it: `state` in Slurm's own capitals, and whether it was stopped for another.

    slurmrestd 22.05 does not heed `requeue: false`: a job that Slurm starts a second time was preempted too.
    """

    id: int
    name: str
    state: str
    preempted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmNode:
    """One node: what it has in all, and whether jobs may start there."""

    name: str
    cpus: int
    memory_gib: float
    gres: Mapping[str, int]
    partitions: tuple[str, ...]
    up: bool


class SlurmClient(Protocol):
    """What the engine needs of a Slurm. Each call raises Unavailable where the controller does not answer."""

    def submit(self, asked: Submission) -> int:
        """Submit a job and return its number. Raises BadInput where Slurm refuses what is asked."""
        ...

    def jobs(self) -> Sequence[SlurmJob]:
        """Return every job that the controller remembers, ended ones too."""
        ...

    def cancel(self, job: int) -> None:
        """Cancel a job; one that has ended stays as it is."""
        ...

    def nodes(self) -> Sequence[SlurmNode]:
        """Return every node."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class RestClient:
    """Slurm through slurmrestd, over a unix socket or HTTP, with a JSON Web Token where a file for it is named."""

    def __init__(self, url: str, *, user: str = "", token_file: Path | None = None) -> None:
        """Connect to `http(s)://host:port` or `unix:/path`, and read which fields this server's version takes. Raises Unavailable."""
        self._place = url
        self._user = user
        self._token_file = token_file
        transport = httpx.HTTPTransport(uds=url.removeprefix("unix:")) if url.startswith("unix:") else None
        base = "http://slurm" if transport else url.rstrip("/")
        self._http = httpx.Client(base_url=base, transport=transport, timeout=TIMEOUT_S, trust_env=False)
        self._document = self._call("GET", "/openapi/v3")
        self._root = _newest(self._document, url)
        self._fields = _job_fields(self._document, f"{self._root}/job/submit")

    def submit(self, asked: Submission) -> int:
        """See `SlurmClient.submit`."""
        job = {
            "name": asked.name,
            "current_working_directory": str(asked.folder),
            "standard_output": str(asked.log),
            "environment": {"PATH": os.defpath},
            "cpus_per_task": asked.cpus,
            "memory_per_node": asked.memory_mib,
            "time_limit": asked.minutes,
            "requeue": False,
        }
        job |= {name: value for name, value in (("partition", asked.partition), ("account", asked.account)) if value}
        if asked.gres:
            name = self._field("tres_per_node", "gres")
            job[name] = ",".join(f"gres{':' if name == 'gres' else '/'}{one}:{count}" for one, count in sorted(asked.gres.items()))
        told = self._call(
            "POST", f"{self._root}/job/submit", {"script": asked.script, "job": {k: self._shaped(k, v) for k, v in job.items()}}
        )
        return int(told["job_id"])

    def jobs(self) -> Sequence[SlurmJob]:
        """See `SlurmClient.jobs`."""
        return [_job(one) for one in self._call("GET", f"{self._root}/jobs")["jobs"]]

    def cancel(self, job: int) -> None:
        """See `SlurmClient.cancel`."""
        try:
            self._call("DELETE", f"{self._root}/job/{job}")
        except BadInput:
            return  # it has ended, or the controller has forgotten it

    def nodes(self) -> Sequence[SlurmNode]:
        """See `SlurmClient.nodes`."""
        return [_node(one) for one in self._call("GET", f"{self._root}/nodes")["nodes"]]

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

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"X-SLURM-USER-NAME": self._user} if self._user else {}
        try:
            if self._token_file is not None:
                headers["X-SLURM-USER-TOKEN"] = self._token_file.read_text("ascii").strip().removeprefix("SLURM_JWT=")
            answer = self._http.request(method, path, json=body, headers=headers)
        except OSError as error:
            raise Unavailable(f"The Slurm token cannot be read: {error.strerror}.", "Check slurm_token_file.") from error
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


class CommandClient:
    """Slurm by `sbatch`, `squeue --json`, `sinfo --json` and `scancel`, here or on a login node through ssh."""

    def __init__(self, *, login: str = "") -> None:
        """Use the commands of this machine, or of `user@host` by ssh without asking for passwords."""
        self._login = login

    def submit(self, asked: Submission) -> int:
        """See `SlurmClient.submit`."""
        options = [
            f"--job-name={asked.name}",
            f"--chdir={asked.folder}",
            f"--output={asked.log}",
            f"--cpus-per-task={asked.cpus}",
            f"--mem={asked.memory_mib}M",
            f"--time={asked.minutes}",
            "--no-requeue",
        ]
        options += [f"--{name}={value}" for name, value in (("partition", asked.partition), ("account", asked.account)) if value]
        if asked.gres:
            options.append("--gres=" + ",".join(f"{one}:{count}" for one, count in sorted(asked.gres.items())))
        told = self._run(["sbatch", "--parsable", *options], asked.script)
        return int(told.strip().split(";")[0])

    def jobs(self) -> Sequence[SlurmJob]:
        """See `SlurmClient.jobs`."""
        return [_job(one) for one in self._listed(["squeue", "--json", "--states=all"], "jobs")]

    def cancel(self, job: int) -> None:
        """See `SlurmClient.cancel`."""
        try:
            self._run(["scancel", str(job)])
        except BadInput:
            return  # it has ended, or the controller has forgotten it

    def nodes(self) -> Sequence[SlurmNode]:
        """See `SlurmClient.nodes`."""
        return [_node(one) for one in self._listed(["sinfo", "--json"], "nodes")]

    def close(self) -> None:
        """Nothing is held."""

    def _listed(self, argv: Sequence[str], part: str) -> Sequence[Any]:
        text = self._run(argv)
        try:
            found = json.loads(text)[part]
        except (ValueError, KeyError) as error:
            raise Unavailable(f"{argv[0]} --json told no {part}.", "Headwater needs Slurm 21.08 or newer.") from error
        return list(found)

    def _run(self, argv: Sequence[str], text: str = "") -> str:
        command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", self._login, shlex.join(argv)] if self._login else list(argv)
        environment = {name: os.environ[name] for name in ("PATH", "SLURM_CONF", "HOME", "SSH_AUTH_SOCK") if name in os.environ}
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False)
        except FileNotFoundError as error:
            raise Unavailable(
                f"The command {command[0]} is not here.", "Install Slurm's client, or set slurm_url or slurm_login."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{argv[0]} did not answer within {TIMEOUT_S:g} s.", "Check the controller.") from error
        if done.returncode:
            raise refusal(done.stderr.strip()[-500:] or f"status {done.returncode}", argv[0])
        return done.stdout


UNREACHABLE = re.compile(
    r"unable to contact|connection refused|communication|timed out|not respond|backup controller|ssh:"
    r"|required node not available"  # a controller that has just started does not know its nodes yet
    r"|unspecified error|authentication",  # what slurmrestd 22.05 says of a token that does not hold
    re.IGNORECASE,
)


def refusal(told: str, where: str) -> HeadwaterError:
    """Return the error for Slurm's words: Unavailable where its controller is not there, else BadInput."""
    if UNREACHABLE.search(told):
        return Unavailable(f"Slurm does not answer: {told}.", "Check that slurmctld runs and that the token holds.", where=where)
    return BadInput(f"Slurm refuses: {told}.", "Change what the job asks for, or Slurm's limits.", where=where)


def gres_counts(text: str) -> dict[str, int]:
    """Return counts by `name:type` from Slurm's text, such as `npu:ascend910b:8(S:0-1),gpu:h20:4`."""
    found: dict[str, int] = {}
    for one in filter(None, re.sub(r"\([^)]*\)", "", text or "").split(",")):
        name, _, count = one.rpartition(":")
        if name and count.isdigit():
            found[name] = found.get(name, 0) + int(count)
    return found


def _newest(document: Mapping[str, Any], where: str) -> str:
    """Return the path prefix of the newest version that the server has, such as `/slurm/v0.0.38`."""
    found = {
        match[1]: match[0].removesuffix("/job/submit")
        for path in document["paths"]
        if (match := re.fullmatch(r"/slurm/v([\d.]+)/job/submit", path))
    }
    if not found:
        raise Unavailable("This slurmrestd serves no job submission.", "Start it with its openapi/slurmctld plug-in.", where=where)
    return found[max(found, key=lambda version: tuple(map(int, version.split("."))))]


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


def _number(value: Any) -> int:
    return int(value.get("number", 0) if isinstance(value, Mapping) else value or 0)


def _states(value: Any) -> tuple[str, ...]:
    words: Collection[str] = [value] if isinstance(value, str) else list(value or ())
    return tuple(word.upper() for one in words for word in re.split(r"[+*~#$@ ]", one) if word)


def _job(told: Mapping[str, Any]) -> SlurmJob:
    return SlurmJob(
        id=int(told["job_id"]),
        name=str(told.get("name") or ""),
        state=next(iter(_states(told["job_state"])), "UNKNOWN"),
        preempted=_number(told.get("preempt_time")) > 0 or _number(told.get("restart_cnt")) > 0,
    )


def _node(told: Mapping[str, Any]) -> SlurmNode:
    states = {*_states(told.get("state")), *_states(told.get("state_flags"))}
    return SlurmNode(
        name=str(told["name"]),
        cpus=_number(told["cpus"]),
        memory_gib=_number(told["real_memory"]) / MIB_PER_GIB,
        gres=gres_counts(str(told.get("gres") or "")),
        partitions=tuple(told.get("partitions") or ()),
        up=not states & DOWN,
    )
