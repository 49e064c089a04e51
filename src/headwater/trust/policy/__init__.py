"""Grading policies: versioned files that say which bound earns which letter, read and checked."""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from headwater.core import canonical
from headwater.core.errors import NotFound
from headwater.core.yaml_file import Part, Words, parse, validated

KIND = "grading policy"


class Letter(StrEnum):
    """A grade; N is not measurable."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    N = "N"


PASSING = (Letter.A, Letter.B, Letter.C, Letter.D)
UseClass = Literal["U0", "U1", "U2", "U3", "U4"]


class Sourced(Part):
    """Base of every part with a number: where the number comes from, and whether the body in charge has confirmed it."""

    source: str = Field(min_length=1)
    confirmed: bool


class SmallestCell(Sourced):
    """Fewer rows than this in a cell: the rate is not measured."""

    value: int = Field(ge=1)


class Cap(Sourced):
    """Fewer rows than `below` in the smallest cell: the letter is `best` or worse."""

    below: int = Field(ge=1)
    best: Literal[Letter.B, Letter.C, Letter.D, Letter.E]


class Limits(Part):
    """The bound that still earns each letter; anything beyond D is E."""

    A: float
    B: float
    C: float
    D: float

    def of(self, letter: Letter) -> float:
        """Return one letter's limit, A to D."""
        return float(getattr(self, letter.value))


class Line(Sourced):
    """How one measure is graded: on the pessimistic end of its interval.

    `case` limits the line to one case of the measure; without it every case is graded. `when_absent` is the best
    letter that the dimension can have where the figure is not measurable (N: the dimension is then not measurable).
    """

    measure: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    case: str | None = None
    better: Literal["lower", "higher"]
    limits: Limits
    when_absent: Literal[Letter.B, Letter.C, Letter.D, Letter.E, Letter.N]

    @model_validator(mode="after")
    def _stricter_first(self) -> Line:
        values = [self.limits.of(letter) for letter in PASSING]
        ordered = values if self.better == "lower" else values[::-1]
        if any(a >= b for a, b in pairwise(ordered)):
            raise ValueError(f"the limits of {self.measure} must get {'larger' if self.better == 'lower' else 'smaller'} from A to D")
        return self


class DimensionPolicy(Part):
    """A dimension: its name for people, the question it answers, and the lines that grade it."""

    title: Words
    question: Words
    lines: tuple[Line, ...] = Field(min_length=1)


class UseClassPolicy(Part):
    """A class of use, and whether a model may be graded for it at all."""

    title: Words
    graded: bool


class Policy(Part):
    """A grading policy; see `headwater-1.yaml`."""

    schema_: Literal["headwater.trust-policy/1"] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    title: Words
    smallest_cell: SmallestCell
    caps: tuple[Cap, ...] = ()
    use_classes: dict[UseClass, UseClassPolicy]
    dimensions: dict[str, DimensionPolicy] = Field(min_length=1)

    @model_validator(mode="after")
    def _lines_belong(self) -> Policy:
        for name, dimension in self.dimensions.items():
            for line in dimension.lines:
                if not line.measure.startswith(f"{name}."):
                    raise ValueError(f"the measure {line.measure} stands under the dimension {name}")
        return self

    @property
    def digest(self) -> str:
        """The policy's own name: `sha256:…` over its content, whatever the file's layout."""
        return canonical.digest(self.model_dump(mode="json", by_alias=True))


def policies() -> tuple[str, ...]:
    """Return the ids of the policies that come with Headwater."""
    return tuple(sorted(one.name.removesuffix(".yaml") for one in resources.files(__name__).iterdir() if one.name.endswith(".yaml")))


def load(policy_id: str) -> Policy:
    """Return a policy by id. Raises NotFound."""
    if policy_id not in policies():
        raise NotFound(f"There is no grading policy '{policy_id[:80]}'.", f"There are: {', '.join(policies())}.")
    return read((resources.files(__name__) / f"{policy_id}.yaml").read_bytes(), where=f"{policy_id}.yaml")


def read(data: bytes, *, where: str) -> Policy:
    """Return the policy in a YAML file's bytes. Raises BadFile with every problem and its line."""
    return validated(Policy, parse(data, where, KIND), where, KIND)
