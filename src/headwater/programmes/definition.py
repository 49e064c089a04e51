"""Procedures as data: a YAML file read, checked whole, and named by its digest.

A procedure has fields to fill, states, transitions between them (who may decide, under which guard,
with which effects), clocks with their legal source, evidence that must be there, and duties that one
person may not combine. Everything wrong in a file is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, ValidationError

from headwater.core import canonical, yaml_file
from headwater.core.calendar import Unit
from headwater.core.errors import BadFile, NotFound, Problem
from headwater.core.identity import Permission
from headwater.core.yaml_file import Part, Words, place
from headwater.core.yaml_lines import Path
from headwater.programmes.expression import Expression, parse

KIND = "procedure's definition"
BUILT_IN_FACTS = frozenset({"missing", "attempts", "days_in_state"})
"""Facts that every guard may read: how much is missing, how often this transition was made, days in the present state."""


class BadDefinition(BadFile):
    """A procedure's definition is wrong; all its problems are listed at once."""

    code = "programmes.bad_definition"


class Role(Part):
    """A party to the procedure: people with a permission, or an automatic rule of the platform."""

    title: Words
    permission: Permission | None = None
    automatic: bool = False


class FieldSpec(Part):
    """One thing to fill in."""

    type: Literal["text", "integer", "number", "boolean", "date", "choice", "artifact"]
    title: Words
    required: bool = False
    values: tuple[str, ...] = ()
    words: Mapping[str, Words] = Field({}, description="What values of a choice are called.", exclude_if=lambda words: not words)
    longest: int = Field(2000, ge=1, le=100_000, description="Characters of a text.")
    source: str = ""

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, or None."""
        fits, needed = self._check(value)
        return None if fits else f"needs {needed}"

    def _check(self, value: Any) -> tuple[bool, str]:
        match self.type:
            case "text":
                return isinstance(value, str) and 0 < len(value.strip()) <= self.longest, f"a text of 1 to {self.longest} characters"
            case "integer":
                return isinstance(value, int) and not isinstance(value, bool), "a whole number"
            case "number":
                return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"), "a number"
            case "boolean":
                return isinstance(value, bool), "true or false"
            case "date":
                return _is_date(value), "a day such as 2026-03-09"
            case "choice":
                return value in self.values, f"one of: {', '.join(self.values)}"
            case "artifact":
                return _is_artifact(value), "an artifact's name, sha256:<64 hex digits>"


class State(Part):
    """A state that a case can be in."""

    title: Words
    initial: bool = False
    final: bool = False
    open: bool = Field(False, description="The form may be filled in here; the initial state always allows it.")


class Transition(Part):
    """A step from one of some states to another."""

    title: Words
    source: tuple[str, ...] = Field(alias="from")
    to: str
    by: str
    guard: str = ""
    decides: bool = Field(False, description="A decision about the applicant: its role must be kept apart from those that fill the form.")
    reasons: Literal["none", "optional", "required"] = "optional"
    effects: tuple[Literal["number", "issue_statement", "revoke_statement"], ...] = ()
    article: str = ""


class Clock(Part):
    """A time limit on leaving a state, counted from entering it or from a date field."""

    state: str
    limit: int = Field(ge=0)
    unit: Unit
    starts: str = Field("entered", description="`entered`, or the name of a date field.")
    action: str = Field(description="`flag`, or an automatic transition to make.")
    source: str = Field(min_length=1, description="The law and article that sets the limit.")


class Evidence(Part):
    """A statement that must be valid about an artifact field before the form counts as complete."""

    predicate_type: str
    about: str
    title: Words


class Register(Part):
    """Where decided cases are numbered, and what its public record must say."""

    prefix: str = Field(pattern="^[A-Z][A-Z0-9-]{1,30}$")
    statement: str
    about: str = Field("model", description="The artifact field that the statement is about.", exclude_if=lambda name: name == "model")
    named: str = Field("algorithm_name", description="The field that names it.", exclude_if=lambda name: name == "algorithm_name")
    notice: Words
    demonstration: bool = True


class Definition(Part):
    """A procedure; see the module's docstring."""

    schema_: Literal["headwater.procedure/1"] = Field(alias="schema")
    id: str = Field(pattern="^[a-z][a-z0-9-]{1,60}$")
    version: str = Field(min_length=1)
    title: Words
    legal_sources: tuple[str, ...] = Field(min_length=1)
    roles: Mapping[str, Role]
    filled_by: str
    separate: tuple[tuple[str, str], ...] = ()
    fields: Mapping[str, FieldSpec]
    states: Mapping[str, State]
    transitions: Mapping[str, Transition]
    clocks: Mapping[str, Clock] = {}
    evidence: Mapping[str, Evidence] = {}
    register_: Register | None = Field(None, alias="register")

    @cached_property
    def digest(self) -> str:
        """The definition's own name: what an event refers to, so that a case ends under the rules it began with."""
        return canonical.digest(self.as_json())

    @cached_property
    def initial(self) -> str:
        """The state that a new case is in."""
        return next(name for name, state in self.states.items() if state.initial)

    def guard(self, transition: str) -> Expression | None:
        """Return a transition's checked guard, or None where it has none."""
        text = self.transitions[transition].guard
        return parse(text) if text else None

    def apart(self, first: str, second: str) -> bool:
        """Tell whether one person may not act in both roles of one case."""
        return (first, second) in self.separate or (second, first) in self.separate

    def as_json(self) -> dict[str, Any]:
        """Return the definition as JSON, from which `from_json` makes an equal one."""
        return self.model_dump(mode="json", by_alias=True)


def from_json(told: Any, where: str = "definition") -> Definition:
    """Return the checked definition. Raises BadDefinition with every problem."""
    return _checked(told, lambda path: f"{where}, {_dotted(path)}")


def read(text: str | bytes, where: str = "definition") -> Definition:
    """Return the definition that a YAML text holds. Raises BadDefinition with every problem and its line."""
    located = yaml_file.parse(text, where, KIND, BadDefinition)
    return _checked(located.value, lambda path: place(located, path, where))


def _checked(told: Any, where: Callable[[Path], str]) -> Definition:
    from headwater.programmes.soundness import problems_of

    try:
        definition = Definition.model_validate(told)
    except ValidationError as error:
        raise BadDefinition([Problem(where=where(one["loc"]), what=one["msg"]) for one in error.errors()], KIND) from error
    problems = [Problem(where=where(tuple(place.split("."))), what=what) for place, what in problems_of(definition)]
    if problems:
        raise BadDefinition(problems, KIND)
    return definition


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "file"


@cache
def shipped() -> Mapping[str, Definition]:
    """Return the definitions that come with Headwater, by id."""
    found = (path for path in files("headwater.programmes").joinpath("definitions").iterdir() if path.name.endswith(".yaml"))
    return {one.id: one for one in (read(path.read_bytes(), path.name) for path in sorted(found, key=lambda path: path.name))}


def named(name: str) -> Definition:
    """Return a shipped definition. Raises NotFound."""
    try:
        return shipped()[name]
    except KeyError:
        raise NotFound(f"There is no procedure '{name[:60]}'.", f"There are: {', '.join(shipped())}.") from None


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_artifact(value: Any) -> bool:
    digits = value.removeprefix("sha256:").removesuffix("/") if isinstance(value, str) else ""
    return len(digits) == 64 and value.startswith("sha256:") and not set(digits) - set("0123456789abcdef")
