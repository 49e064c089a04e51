"""Run one engine step in a folder of its own, as an engine would, without a platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headwater.core.steps import Step, Task
from headwater.core.store import Store

CREDIT = Path(__file__).resolve().parents[3] / "src" / "headwater" / "recipes" / "credit"
SEED = 20231123


NOTHING: Mapping[str, Any] = MappingProxyType({})


def run(step: Step, folder: Path, params: Mapping[str, Any] = NOTHING, /, **inputs: Path) -> Task:
    """Return the task after its step has run with the recipe's seed."""
    return run_seeded(SEED, step, folder, params, **inputs)


def run_seeded(seed: int, step: Step, folder: Path, params: Mapping[str, Any] = NOTHING, /, **inputs: Path) -> Task:
    """Return the task after its step has run with a seed."""
    folder.mkdir(parents=True)
    task = Task(step=step.name, params=step.params.model_validate(dict(params)), folder=folder, inputs=inputs, digests={}, seed=seed)
    step.run(task)
    return task


def digest(task: Task, output: str, store: Path) -> str:
    """Return the name that an output gets in a store."""
    return Store(store).put(task.outputs[output])
