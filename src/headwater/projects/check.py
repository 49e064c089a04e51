"""Check a project file whole and compile it into a graph of jobs. Nothing runs here, and every problem is reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from headwater.compute import gate
from headwater.compute.code import code_version
from headwater.compute.jobs import Input, NewJob, Spec
from headwater.core import yaml_lines
from headwater.core.errors import BadFile, BadInput, HeadwaterError, Problem
from headwater.core.steps import STEPS, Resources, Step
from headwater.core.yaml_lines import Located, Path
from headwater.projects.schema import STEP_NAME, ProjectFile, ResourcesEntry, StepEntry

FILE_PREFIX = "file:"
PLATFORM = "platform"
"""The engine of steps that change the platform's own records."""
KIND = "project file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A project file without problems."""

    file: ProjectFile
    order: tuple[str, ...]
    files: tuple[str, ...]
    """Paths, relative to the project file, of the files that it uses."""


def check(text: str, name: str, exists: Callable[[str], bool]) -> Checked:
    """Return the checked project. Raises BadFile with every problem and its line.

    `exists` tells whether a file, named relative to the project file, is there.
    """
    located = yaml_lines.load(text, name, KIND)
    file = _validated(located, name)
    checker = _Checker(file, located, name, exists)
    checker.run()
    if checker.problems:
        raise BadFile(sorted(checker.problems, key=lambda one: int(one.where.rsplit(":", 1)[-1])), KIND)
    return Checked(file=file, order=checker.order, files=tuple(sorted(checker.files)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """How a project is handed in: the run's name, the artifact of each file it uses, the engine, and whether to reuse nothing."""

    run: str
    files: Mapping[str, str]
    engine: str
    force: bool = False


def compile_jobs(checked: Checked, handed: Handed) -> tuple[NewJob, ...]:
    """Return the jobs of a run."""
    return tuple(_job(checked.file, name, handed) for name in checked.order)


def _job(file: ProjectFile, name: str, handed: Handed) -> NewJob:
    entry, run = file.steps[name], handed.run
    step = STEPS.get(entry.uses) if entry.uses else None
    inputs, params = _split(entry, step, file.steps)
    given = {
        key: Input(artifact=handed.files[value.removeprefix(FILE_PREFIX)])
        if value.startswith(FILE_PREFIX)
        else Input(job=f"{run}.{value.split('.')[0]}", output=value.split(".", 1)[1])
        for key, value in inputs.items()
    }
    spec = Spec(
        step=entry.uses,
        argv=tuple(entry.run or ()),
        params=params,
        inputs=given,
        resources=_resources(entry, step),
        gate=tuple(entry.gate),
        project=file.name,
        seed=file.seed,
        code=code_version(step) if step else "",
        outputs=tuple(entry.outputs),
        reuse=not handed.force,
    )
    needs = {f"{run}.{need}" for need in _parents(file, name)}
    return NewJob(id=f"{run}.{name}", name=name, spec=spec, engine=_engine(step, handed.engine), needs=frozenset(needs))


def _engine(step: Step | None, chosen: str) -> str:
    return PLATFORM if step is not None and step.place == "platform" else chosen


def _resources(entry: StepEntry, step: Step | None) -> Resources:
    if entry.resources is None and step is not None:
        return step.resources
    return Resources(**(entry.resources or ResourcesEntry()).model_dump())


def _split(entry: StepEntry, step: Step | None, steps: Collection[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the inputs (input name to reference) and the parameters that stand under `with`."""
    inputs: dict[str, str] = {}
    params: dict[str, Any] = {}
    for key, value in entry.with_.items():
        is_input = key in step.inputs if step is not None else _is_reference(value, steps)
        (inputs if is_input else params)[key] = value
    return inputs, params


def _is_reference(value: Any, steps: Collection[str]) -> bool:
    return isinstance(value, str) and (value.startswith(FILE_PREFIX) or ("." in value and value.split(".")[0] in steps))


def _parents(file: ProjectFile, name: str) -> set[str]:
    entry = file.steps[name]
    step = STEPS.get(entry.uses) if entry.uses else None
    inputs, _ = _split(entry, step, file.steps)
    return {value.split(".")[0] for value in inputs.values() if not value.startswith(FILE_PREFIX)} | set(entry.needs)


def _validated(located: Located, name: str) -> ProjectFile:
    try:
        return ProjectFile.model_validate(located.value)
    except ValidationError as error:
        problems = []
        for one in error.errors():
            path: Path = tuple("with" if part == "with_" else part for part in one["loc"])
            where = f"{name}:{located.line(path)}"
            problems.append(Problem(where=where, what=_said(one["type"], one["msg"], path), hint=_nearest(one["type"], path)))
        raise BadFile(problems, KIND) from error


def _said(kind: str, message: str, path: Path) -> str:
    place = ".".join(str(part) for part in path) or "the file"
    if kind == "extra_forbidden":
        return f"Unknown key '{path[-1]}'."
    if kind == "missing":
        return f"'{place}' is missing."
    return f"'{place}': {message}."


def _nearest(kind: str, path: Path) -> str:
    if kind != "extra_forbidden":
        return ""
    model: type[Any] = {1: ProjectFile, 3: StepEntry}.get(len(path), ResourcesEntry)
    known = [field.alias or key for key, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(known)}."


class _Checker:
    """Collects what is wrong between the parts of a file that are each well formed."""

    def __init__(self, file: ProjectFile, located: Located, name: str, exists: Callable[[str], bool]) -> None:
        self.file = file
        self.located = located
        self.name = name
        self.exists = exists
        self.problems: list[Problem] = []
        self.files: set[str] = set()
        self.order: tuple[str, ...] = ()
        self.steps: dict[str, Step | None] = {}

    def run(self) -> None:
        import re

        for name, entry in self.file.steps.items():
            if not re.fullmatch(STEP_NAME, name):
                self.add(("steps", name), f"'{name}' is not a step name.", "Use lower-case letters, digits, - and _.")
            self.steps[name] = self.known_step(name, entry)
        for name, entry in self.file.steps.items():
            self.check_with(name, entry)
            self.check_needs(name, entry)
            self.check_gate(name, entry)
        if not self.problems:
            self.check_order()

    def add(self, path: Path, what: str, hint: str = "") -> None:
        self.problems.append(Problem(where=f"{self.name}:{self.located.line(path)}", what=what, hint=hint))

    def known_step(self, name: str, entry: StepEntry) -> Step | None:
        if (entry.uses is None) == (entry.run is None):
            self.add(("steps", name), f"Step '{name}' must have either 'uses' or 'run'.", "Give one of them.")
            return None
        if entry.uses is None:
            return None
        if entry.uses not in STEPS.names():
            near = difflib.get_close_matches(entry.uses, STEPS.names(), n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Steps: {', '.join(STEPS.names())}."
            self.add(("steps", name, "uses"), f"There is no step '{entry.uses}'.", hint)
            return None
        try:
            return STEPS.get(entry.uses)
        except HeadwaterError as error:
            self.add(("steps", name, "uses"), error.what, error.hint)
            return None

    def check_with(self, name: str, entry: StepEntry) -> None:
        step = self.steps[name]
        if entry.uses is not None and step is None:
            return
        if step is not None and entry.outputs:
            self.add(("steps", name, "outputs"), f"Step '{entry.uses}' declares its own outputs.", "Remove 'outputs'.")
        inputs, params = _split(entry, step, self.file.steps)
        for key, value in inputs.items():
            self.check_input(name, key, value, step)
        if step is None:
            if params:
                key = next(iter(params))
                self.add(("steps", name, "with", key), f"'{key}' is no input, and a command takes no parameters.", "Put it into 'run'.")
            return
        for missing in (key for key, port in step.inputs.items() if port.required and key not in inputs):
            self.add(("steps", name), f"Step '{name}' lacks the input '{missing}'.", f"Add '{missing}:' under 'with:'.")
        self.check_params(name, params, step)

    def check_params(self, name: str, params: Mapping[str, Any], step: Step) -> None:
        try:
            step.params.model_validate(params)
        except ValidationError as error:
            for one in error.errors():
                path = ("steps", name, "with", *one["loc"])
                known = [*step.inputs, *step.params.model_fields]
                hint = f"{step.name} takes: {', '.join(known)}." if one["type"] == "extra_forbidden" else ""
                self.add(path, _said(one["type"], one["msg"], path[2:]), hint)

    def check_input(self, name: str, key: str, value: Any, step: Step | None) -> None:
        path = ("steps", name, "with", key)
        if not isinstance(value, str):
            self.add(path, f"The input '{key}' must be 'step.output' or 'file:path'.", f"It is {value!r}.")
        elif value.startswith(FILE_PREFIX):
            self.check_file(path, value.removeprefix(FILE_PREFIX))
        else:
            self.check_reference(path, value, key, step)

    def check_file(self, path: Path, file: str) -> None:
        if file.startswith("/") or ".." in file.split("/") or not file:
            self.add(path, f"'{file}' leaves the project's folder.", "Name a file beside or below the project file.")
        elif not self.exists(file):
            self.add(path, f"There is no file '{file}'.", "Paths are relative to the project file.")
        else:
            self.files.add(file)

    def check_reference(self, path: Path, value: str, key: str, step: Step | None) -> None:
        source, _, output = value.partition(".")
        if source not in self.file.steps:
            near = difflib.get_close_matches(source, self.file.steps, n=1)
            hint = f"Did you mean '{near[0]}.{output}'?" if near else "Write 'step.output' or 'file:path'."
            self.add(path, f"'{value}' names no step of this file.", hint)
            return
        made = self.steps.get(source)
        kinds = {one: port.kind for one, port in made.outputs.items()} if made else dict.fromkeys(self.file.steps[source].outputs, "file")
        if self.file.steps[source].uses is not None and made is None:
            return
        if output not in kinds:
            self.add(path, f"Step '{source}' has no output '{output}'.", f"It has: {', '.join(kinds) or 'none'}.")
        elif step is not None and not step.inputs[key].accepts(kinds[output]):
            self.add(path, f"'{value}' is a {kinds[output]}, and '{key}' takes a {step.inputs[key].kind}.", "Connect another output.")

    def check_needs(self, name: str, entry: StepEntry) -> None:
        for place, need in enumerate(entry.needs):
            if need not in self.file.steps:
                near = difflib.get_close_matches(need, self.file.steps, n=1)
                hint = f"Did you mean '{near[0]}'?" if near else ""
                self.add(("steps", name, "needs", place), f"'{need}' names no step of this file.", hint)

    def check_gate(self, name: str, entry: StepEntry) -> None:
        for place, text in enumerate(entry.gate):
            try:
                gate.parse(text)
            except BadInput as error:
                self.add(("steps", name, "gate", place), error.what, error.hint)
        if entry.gate and entry.run is not None:
            self.add(
                ("steps", name, "gate"),
                "A command measures nothing that a gate could read.",
                "Use a registered step, or exit with an error.",
            )

    def check_order(self) -> None:
        parents = {name: _parents(self.file, name) for name in self.file.steps}
        done: list[str] = []
        while ready := [name for name in self.file.steps if name not in done and parents[name] <= set(done)]:
            done += ready
        if len(done) == len(parents):
            self.order = tuple(done)
            return
        stuck = _cycle({name: needs for name, needs in parents.items() if name not in done})
        self.add(("steps", stuck[0]), f"These steps wait for one another: {' -> '.join([*stuck, stuck[0]])}.", "Break the cycle.")


def _cycle(parents: Mapping[str, set[str]]) -> list[str]:
    """Return one cycle of a graph in which every node has a parent that is still in it."""
    path = [next(iter(parents))]
    while True:
        following = sorted(parent for parent in parents[path[-1]] if parent in parents)[0]
        if following in path:
            return path[path.index(following) :]
        path.append(following)
