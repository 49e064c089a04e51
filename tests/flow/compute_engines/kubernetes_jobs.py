"""Commands for an engine on Kubernetes, and what a test asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from headwater.compute.engines.kubernetes import KubernetesEngine
from headwater.compute.work import Observation, Phase, Work
from headwater.core.steps import Resources


def until(engine: KubernetesEngine, key: str, holds: Callable[[Observation], bool], most_s: float = 120.0) -> Observation:
    """Give the first observation that fits, as it comes."""
    last_s = time.monotonic() + most_s
    while not holds(seen := engine.poll([key])[key]):
        assert time.monotonic() < last_s, f"{key} stayed {seen}"
        engine.wait(0.05)
    return seen


def ended(engine: KubernetesEngine, key: str) -> Observation:
    """Give what became of an attempt."""
    return until(engine, key, lambda seen: seen.phase is not Phase.RUNNING)


def begun(engine: KubernetesEngine, key: str) -> None:
    """Return once the runner of an attempt has begun."""
    until(engine, key, lambda _: (engine.folder(key) / "runner.json").exists())


def shell(key: str, script: str, environment: dict[str, str] | None = None, **resources: object) -> Work:
    """Give an attempt that runs a script."""
    asked = Resources(**{"memory_gib": 0.1} | resources)  # type: ignore[arg-type]
    return Work(key=key, argv=("/bin/sh", "-c", script), resources=asked, environment=environment or {})


def printed(engine: KubernetesEngine, key: str) -> str:
    """Give what an attempt printed."""
    return (engine.folder(key) / "log.txt").read_text().strip()
