"""What a step is: a named piece of work with declared parameters, inputs, outputs and claims.

A room declares its steps in its `steps.py`:

    @step(
        "data.prepare",
        summary="Check a table against its card and split it.",
        params=PrepareParams,
        inputs={"table": Port("table"), "card": Port("card")},
        outputs={"dataset": Port("dataset")},
    )
    def prepare(task: Task) -> None: ...

and names them in `pyproject.toml` under the entry-point group `headwater.steps`. An *engine* step
runs in a process of its own that can reach neither the database nor the keys: it reads
`task.input(...)`, writes `task.output(...)`, and claims things that the platform then signs. A
*platform* step runs inside the platform and gets it as `task.platform`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from headwater.core.errors import BadInput, StepFailed
from headwater.core.progress import FILE as PROGRESS_FILE
from headwater.core.progress import ProgressWriter
from headwater.core.registry import Family

if TYPE_CHECKING:
    from headwater.core.platform import Platform

P = TypeVar("P", bound=BaseModel)


class Params(BaseModel):
    """Base of every step's parameters: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a job needs and may use. Wall and CPU time in seconds, memory in GiB. No `checkpoint_s`: a stop loses all its work."""

    cpus: float = 1.0
    memory_gib: float = 1.0
    accelerators: Mapping[str, int] = field(default_factory=dict)
    wall_s: float = 3600.0
    cpu_s: float | None = None
    retries: int = 0
    priority: float = 0.0
    """Weighs only where the scheduling policy orders or preempts by it; higher goes first."""
    deadline_s: float | None = None
    """Seconds after its submission by which the job should have ended."""
    checkpoint_s: float | None = None
    """Longest work between checkpoints that the job writes to its checkpoint folder; 0: it can write one whenever it is stopped."""
    residency: tuple[str, ...] = ()
    """Tags that a site must all carry, where the job may go to any."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a step. An output fits an input of the same `kind` ("any" fits all)."""

    kind: str
    required: bool = True
    summary: str = ""

    def accepts(self, kind: str) -> bool:
        """Tell whether an artifact of that kind may come in here."""
        return self.kind in ("any", kind) or kind in ("any", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a step says of an artifact; the platform signs it if the step may claim that kind of thing.

    `about` names an output of the step or an artifact (`sha256:…`).
    """

    predicate_type: str
    about: str
    predicate: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Task:
    """One run of a step: what it was given, and where it puts what it makes."""

    step: str
    params: BaseModel
    folder: Path
    inputs: Mapping[str, Path]
    digests: Mapping[str, str]
    project: str = ""
    job: str = ""
    actor: str = ""
    organisation: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    platform: Platform | None = None
    _writer: ProgressWriter | None = None

    def input(self, name: str) -> Path:
        """Return the path of an input: a read-only file, or a folder for a tree. Raises BadInput if it was not given."""
        try:
            return self.inputs[name]
        except KeyError as error:
            raise BadInput(f"Step {self.step} needs the input '{name}', which was not given.", f"Add '{name}:' under 'with:'.") from error

    def output(self, name: str) -> Path:
        """Return the path to write an output to: create a file or a folder there."""
        path = self.folder / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.outputs[name] = path
        return path

    def measure(self, **metrics: float) -> None:
        """Record figures about this run, which gates and the console read. NaN and infinities are refused."""
        for name, value in metrics.items():
            if value != value or value in (float("inf"), float("-inf")):
                raise StepFailed(f"The metric '{name}' is {value}.", "Look for a division by zero or a diverging loss.")
            self.metrics[name] = float(value)

    def note(self, **facts: Any) -> None:
        """Record JSON facts about this run for people to read (counts, reasons, addresses)."""
        self.facts.update(facts)

    def claim(self, predicate_type: str, *, about: str, predicate: Mapping[str, Any]) -> None:
        """Claim something about an output or an input; it becomes a signed statement if this job succeeds.

        A value `output:NAME` in the predicate becomes the digest of that output.
        """
        self.claims.append(Claim(predicate_type=predicate_type, about=about, predicate=predicate))

    def progress(self, done: float, total: float, note: str = "", **figures: float) -> None:
        """Say how far the work is, as often as you like, and what was measured at this point: the job's page draws its curve."""
        if self._writer is None:
            self._writer = ProgressWriter(self.folder / PROGRESS_FILE)
        self._writer(done, total, note, figures)

    def the_platform(self) -> Platform:
        """Return the platform. Raises StepFailed in an engine step, which has none."""
        if self.platform is None:
            raise StepFailed(f"Step {self.step} runs outside the platform and cannot use it.", "Declare it with place='platform'.")
        return self.platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A declared step; see the module's docstring."""

    name: str
    summary: str
    run: Callable[[Task], None]
    params: type[BaseModel]
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    claims: tuple[str, ...] = ()
    place: Literal["engine", "platform"] = "engine"
    resources: Resources = Resources()
    libraries: tuple[str, ...] = ()
    """Installed distributions whose version changes the result: part of the code version."""
    still_holds: Callable[[Platform, Mapping[str, Any]], bool] | None = None
    """For a platform step: tells from an earlier run's facts whether what it set up still stands, so that the run may be reused."""


Run = Callable[[Task], None]


def step(
    name: str,
    *,
    summary: str,
    params: type[BaseModel] = Params,
    inputs: Mapping[str, Port] | None = None,
    outputs: Mapping[str, Port] | None = None,
    **more: Any,
) -> Callable[[Run], Step]:
    """Declare a step; `more` are the other fields of `Step` (claims, place, resources, libraries)."""

    def declare(run: Run) -> Step:
        return Step(name=name, summary=summary, run=run, params=params, inputs=inputs or {}, outputs=outputs or {}, **more)

    return declare


STEPS: Family[Step] = Family("steps", Step)


def params_of(task: Task, kind: type[P]) -> P:
    """Return the task's parameters as the step's own type."""
    return task.params if isinstance(task.params, kind) else kind.model_validate(task.params.model_dump())


def write_result(task: Task) -> None:
    """Write what the step made to `result.json` in its folder; the engine reads it there."""
    result = {
        "outputs": {name: path.relative_to(task.folder).as_posix() for name, path in task.outputs.items()},
        "metrics": task.metrics,
        "facts": task.facts,
        "claims": [{"predicate_type": c.predicate_type, "about": c.about, "predicate": c.predicate} for c in task.claims],
    }
    part = task.folder / "result.json.part"
    part.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    part.replace(task.folder / "result.json")
