"""Reuse of finished work: a job is not run again where an equal one finished and what it left still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from headwater.compute import jobs
from headwater.compute.jobs import Job
from headwater.core import canonical, evidence
from headwater.core.errors import BadStatement, NotFound
from headwater.core.plain_file import plain
from headwater.core.platform import Platform
from headwater.core.steps import STEPS


def key(job: Job, inputs: Mapping[str, str]) -> str | None:
    """Return the digest of everything that decides a step's result: equal keys, equal results. None for a command."""
    if job.spec.step is None:
        return None
    decisive = {"step": job.spec.step, "code": job.spec.code, "params": dict(job.spec.params), "inputs": dict(inputs)}
    return canonical.digest(decisive | {"seed": job.spec.seed, "gate": list(job.spec.gate)})


def find(connection: Connection, platform: Platform, job: Job, reuse_key: str | None) -> Job | None:
    """Return an earlier equal job whose outputs, statements and effects all still hold, or None."""
    if reuse_key is None:
        return None
    return next((one for one in jobs.finished_like(connection, reuse_key, job.organisation) if _holds(connection, platform, one)), None)


def _holds(connection: Connection, platform: Platform, earlier: Job) -> bool:
    result = earlier.result or {}
    facts = result.get("facts", {})
    if not all(platform.store.has(artifact) for artifact in earlier.outputs.values()):
        return False
    for digest in [*result.get("statements", ()), *facts.get("statements", ())]:
        try:
            evidence.check(connection, platform.keyring, evidence.get(connection, digest), now=platform.clock.now())
        except (BadStatement, NotFound):
            return False
    still_holds = STEPS.get(earlier.spec.step or "").still_holds
    return still_holds is None or still_holds(platform, facts)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file that a job wrote, or nothing where it is absent or not one."""
    try:
        with plain(path) as file:
            told = json.loads(file.read(1 << 20).decode("utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
