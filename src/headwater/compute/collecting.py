"""Take in what an attempt made: its outputs into the store, its figures through the gate, its claims to be signed.

Everything here may be repeated after a crash: storing is by content, and nothing is recorded until
the one transaction that ends the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from headwater.compute import gate
from headwater.compute.jobs import Job
from headwater.core import evidence
from headwater.core.errors import Broken, GateClosed, Refused, StepFailed
from headwater.core.plain_file import plain
from headwater.core.platform import Platform
from headwater.core.statement import LINEAGE, Statement, Subject
from headwater.core.steps import STEPS, Claim
from headwater.core.store import Store

LARGEST_RESULT = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a successful attempt made: artifacts by output name, figures, facts, and claims yet to be signed."""

    outputs: Mapping[str, str]
    metrics: Mapping[str, float]
    facts: Mapping[str, Any]
    claims: tuple[Claim, ...]


def collect(store: Store, job: Job, folder: Path, inputs: Mapping[str, str]) -> Made:
    """Store an attempt's outputs and return what it made.

    Raises Broken where its result is not what the step declared or an output changes while it is read, Refused where one leads out of
    its folder, Unavailable where the store cannot take it, GateClosed where a condition of its gate is not met.
    """
    told: dict[str, Any] = _result(folder) if job.spec.step else {"outputs": {name: f"outputs/{name}" for name in job.spec.outputs}}
    outputs = {name: store.put(_inside(folder, path, job)) for name, path in told["outputs"].items()}
    claims = tuple(Claim(**one) for one in told.get("claims", ()))
    metrics = {str(name): float(value) for name, value in told.get("metrics", {}).items()}
    if job.spec.step:
        _check_declared(job, outputs, claims, inputs)
    if reasons := gate.unmet(job.spec.gate, metrics):
        raise GateClosed(f"The gate of '{job.name}' stays shut: {'; '.join(reasons)}.", "Improve the model or data, or change the gate.")
    return Made(outputs=outputs, metrics=metrics, facts=told.get("facts", {}), claims=claims)


def sign(connection: Connection, platform: Platform, job: Job, made: Made, *, inputs: Mapping[str, str], now: datetime) -> list[str]:
    """Issue the lineage of a job's outputs and the claims that it made, and return the statements' digests."""
    issued = []
    if made.outputs and job.engine != "platform":
        claim = _lineage(job, made, inputs, now)
        issued.append(evidence.issue(connection, platform.keyring, claim, actor=job.submitted_by).digest)
    for one in made.claims:
        about = made.outputs.get(one.about, one.about)
        subject = Subject(name=f"{job.spec.project}/{one.about}" if one.about in made.outputs else "artifact", digest=about)
        predicate = {key: _named(value, made.outputs) for key, value in one.predicate.items()} | {"job": job.id}
        expires = predicate.pop("expiresAt", None)
        claim = Statement(
            subjects=(subject,),
            predicate_type=one.predicate_type,
            predicate=predicate,
            issued_at=now,
            expires_at=datetime.fromisoformat(expires) if expires else None,
        )
        issued.append(evidence.issue(connection, platform.keyring, claim, actor=job.submitted_by).digest)
    return issued


def _named(value: Any, outputs: Mapping[str, str]) -> Any:
    """Return a predicate's value, with `output:NAME` replaced by that output's artifact."""
    name = value.removeprefix("output:") if isinstance(value, str) and value.startswith("output:") else None
    return outputs.get(name, value) if name is not None else value


def _lineage(job: Job, made: Made, inputs: Mapping[str, str], now: datetime) -> Statement:
    predicate = {
        "job": job.id,
        "project": job.spec.project,
        "step": job.spec.step or "command",
        "command": list(job.spec.argv),
        "parameters": dict(job.spec.params),
        "seed": job.spec.seed,
        "code": job.spec.code,
        "inputs": dict(inputs),
        "metrics": dict(made.metrics),
        "engine": job.engine,
        "organisation": job.organisation,
    }
    subjects = tuple(Subject(name=f"{job.spec.project}/{job.name}.{name}", digest=digest) for name, digest in sorted(made.outputs.items()))
    return Statement(subjects=subjects, predicate_type=LINEAGE, predicate=predicate, issued_at=now)


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    try:
        with plain(path) as file:
            data = file.read(LARGEST_RESULT + 1)
        if len(data) > LARGEST_RESULT:
            raise Broken(f"The step's result is larger than {LARGEST_RESULT} bytes.", "Write large things to an output.")
        told = json.loads(data)
        return {"outputs": dict(told["outputs"]), "metrics": told["metrics"], "facts": told["facts"], "claims": told["claims"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Broken(f"The step ended well but left no readable result: {error!r}.", "Look at its log.") from error


def _inside(folder: Path, path: str, job: Job) -> Path:
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve() / "outputs"):  # a link in the place of outputs/ leads out too
        raise Refused(f"'{job.name}' offers '{path}' as an output, which is outside its outputs folder.", "Write outputs to outputs/.")
    if not found.exists():
        raise StepFailed(f"'{job.name}' ended well but did not make its output '{path}'.", "Look at its log.")
    return found


def _check_declared(job: Job, outputs: Mapping[str, str], claims: tuple[Claim, ...], inputs: Mapping[str, str]) -> None:
    declared = STEPS.get(job.spec.step or "")
    missing = [name for name, port in declared.outputs.items() if port.required and name not in outputs]
    if missing:
        raise StepFailed(f"Step {declared.name} did not make its output '{missing[0]}'.", "Look at its log.")
    for claim in claims:
        if claim.about not in outputs and claim.about not in inputs.values():
            raise Refused(
                f"'{job.name}' claims something about {claim.about[:40]}, which it neither made nor was given.", "Claim about an output."
            )
        if claim.predicate_type not in declared.claims:
            raise Refused(
                f"Step {declared.name} may not claim {claim.predicate_type}.", f"It may claim: {', '.join(declared.claims) or 'nothing'}."
            )
