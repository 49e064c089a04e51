"""Slurm's engine under test, and commands to run on it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.slurm import Cluster

from headwater.compute.engines import slurm_turns
from headwater.compute.engines.slurm_arrays import place_of
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens
from headwater.compute.work import Observation, Phase, Work
from headwater.core.steps import Resources
from headwater.core.store import Store


def opened(cluster: Cluster, folder: Path, partition: str = "main", **options: Any) -> SlurmEngine:
    client = options.pop("client", None) or RestClient(cluster.url, Tokens("root", file=cluster.token_file))
    store = Store(str(folder / "artifacts"), max_bytes=1 << 20)
    return SlurmEngine(root=folder / "jobs", store=store, client=client, partition=partition, **options)


def until(engine: SlurmEngine, key: str, holds: Callable[[Observation], bool], most_s: float = 60.0) -> Observation:
    last_s = time.monotonic() + most_s
    while not holds(seen := engine.poll([key])[key]):
        assert time.monotonic() < last_s, f"{key} stayed {seen}"
        time.sleep(0.05)
    return seen


def ended(engine: SlurmEngine, key: str) -> Observation:
    return until(engine, key, lambda seen: seen.phase is not Phase.RUNNING)


def shell(key: str, script: str, **resources: object) -> Work:
    return Work(key=key, argv=("/bin/sh", "-c", script), resources=Resources(**({"memory_gib": 0.1} | resources)))  # type: ignore[arg-type]


def begun(engine: SlurmEngine, key: str) -> None:
    until(engine, key, lambda _: (engine.folder(key) / "runner.json").exists())


def until_text(path: Path) -> str:
    last_s = time.monotonic() + 20
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < last_s
        time.sleep(0.05)
    return path.read_text().strip()


def kill_group(pid: int) -> None:
    """Kill a runner and its job, as a machine that fails does."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for one in (pid, *children):
        os.kill(one, signal.SIGKILL)


def element(engine: SlurmEngine, key: str) -> tuple[int, int | None]:
    """Give the index of an attempt of an array, and that of the element that has taken it."""
    folder = engine.folder(key)
    place = place_of(folder)
    assert place is not None
    assert place.index is not None
    taken = slurm_turns.holder(str(place.folder(folder)), place.index)
    return place.index, int(taken.partition("_")[2]) if taken is not None else None


def is_shared(engine: SlurmEngine, key: str) -> bool:
    """Tell whether another element than its own has taken an attempt."""
    own, taken = element(engine, key)
    return taken is not None and own != taken
