"""The hub's admission policy: which statements and minimum grades each class of risk needs. Read from `policy.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Literal

from pydantic import Field, model_validator

from headwater.core import canonical
from headwater.core.yaml_file import Part, Words, parse, validated

KIND = "admission policy"

RiskClass = Literal["U0", "U1", "U2", "U3", "U4"]
RISK_ORDER: tuple[RiskClass, ...] = ("U0", "U1", "U2", "U3", "U4")
Grade = Literal["A", "B", "C", "D", "E", "N"]


class Kind(Part):
    """A kind of statement that the gate may ask for, and what to do where it is missing."""

    predicate_type: str
    title: Words
    remedy: str


class ClassPolicy(Part):
    """What one class of risk needs. `requires` gives the number of trusted signatures for each kind of statement."""

    title: Words
    refused: str = ""
    requires: Mapping[str, int] = {}
    minimum: Mapping[str, Grade] = {}
    declared_may_lower: bool = False


class Policy(Part):
    """The whole policy."""

    schema_: Literal["headwater.admission-policy/1"] = Field(alias="schema")
    id: str
    version: str
    grades: tuple[Grade, ...]
    dimensions: tuple[str, ...]
    statements: Mapping[str, Kind]
    classes: Mapping[RiskClass, ClassPolicy]

    @model_validator(mode="after")
    def _whole(self) -> Policy:
        for name, one in self.classes.items():
            if bool(one.refused) == bool(one.requires):
                raise ValueError(f"classes.{name}: either refuse it or say what it requires")
            if unknown := set(one.requires) - set(self.statements):
                raise ValueError(f"classes.{name}.requires: unknown statements {sorted(unknown)}")
            if not one.refused and set(one.minimum) != set(self.dimensions):
                raise ValueError(f"classes.{name}.minimum: give exactly {', '.join(self.dimensions)}")
        if missing := set(RISK_ORDER) - set(self.classes):
            raise ValueError(f"classes: {', '.join(sorted(missing))} are missing")
        return self

    @cached_property
    def digest(self) -> str:
        """The policy's own name, which a publication records."""
        return canonical.digest(self.model_dump(mode="json", by_alias=True))

    def worse(self, grade: str, minimum: str) -> bool:
        """Tell whether a grade falls short of a minimum; a letter that is not on the scale always does."""
        return grade not in self.grades or self.grades.index(grade) > self.grades.index(minimum)

    def stricter(self, first: Grade, second: Grade) -> Grade:
        """Return the better of two grades, as a minimum the stricter one."""
        return min(first, second, key=self.grades.index)


def read(text: str | bytes, where: str = "policy.yaml") -> Policy:
    """Return the policy that a YAML text holds. Raises BadFile with every problem and its line."""
    return validated(Policy, parse(text, where, KIND), where, KIND)


@cache
def shipped() -> Policy:
    """Return the policy that comes with Headwater."""
    return read(files("headwater.models").joinpath("policy.yaml").read_bytes())
