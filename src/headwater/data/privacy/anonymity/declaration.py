"""The YAML file that says how a table is to be made anonymous: quasi-identifiers with their hierarchies, sensitive columns, bounds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from headwater.core.yaml_file import Part, parse, validated

SCHEMA = "headwater.anonymity/1"
KIND = "anonymity declaration"
Tree = dict[str, Any] | list[Any]


class Quasi(Part):
    """How the values of a quasi-identifier become coarser: one of the three, or none. The last level is always `*`."""

    intervals: tuple[float, ...] | None = Field(None, description="Widths of ever wider intervals, each a multiple of the one before.")
    start: float = Field(0.0, description="Where an interval begins.")
    keep: tuple[int, ...] | None = Field(None, description="How many leading characters stay, fewer at each level.")
    tree: Tree | None = Field(None, description="Nested groups: mappings of names, lists of values at the bottom.")

    @model_validator(mode="after")
    def _one(self) -> Quasi:
        if sum(given is not None for given in (self.intervals, self.keep, self.tree)) > 1:
            raise ValueError("give at most one of intervals, keep, tree")
        return self

    @field_validator("intervals")
    @classmethod
    def _nested(cls, widths: tuple[float, ...] | None) -> tuple[float, ...] | None:
        pairs = list(zip(widths or (), (widths or ())[1:], strict=False))
        if any(width <= 0 for width in widths or ()) or any(
            abs(wide / narrow - round(wide / narrow)) > 1e-9 or wide <= narrow for narrow, wide in pairs
        ):
            raise ValueError("each width must be a multiple of the one before it, and larger")
        return widths

    @field_validator("keep")
    @classmethod
    def _shrinking(cls, kept: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if any(one <= 0 for one in kept or ()) or any(less >= more for more, less in zip(kept or (), (kept or ())[1:], strict=False)):
            raise ValueError("the numbers of characters must fall from level to level and be at least 1")
        return kept


class Sensitive(Part):
    """A column whose values must not be inferred from belonging to a class."""

    l: float | None = Field(None, ge=1, description="Least diversity of each class.")  # noqa: E741 - the field's name in the literature
    diversity: Literal["distinct", "entropy"] = Field("distinct", description="How diversity is counted.")
    t: float | None = Field(None, ge=0, le=1, description="Largest distance of a class's distribution from the whole table's.")
    ordered: bool = Field(False, description="Values are numbers whose order counts for the distance.")


class Declaration(Part):
    """The whole declaration."""

    schema_: Literal["headwater.anonymity/1"] = Field(alias="schema")
    k: int = Field(ge=2, le=1_000_000, description="Least number of rows in each class.")
    suppression: float = Field(0.0, ge=0, le=1, description="Largest share of rows that may be left out.")
    quasi_identifiers: dict[str, Quasi] = Field(min_length=1, max_length=24)
    sensitive: dict[str, Sensitive] = Field(default_factory=dict)
    drop: tuple[str, ...] = Field((), description="Columns that name a person directly; they are left out.")
    risk_threshold: float = Field(0.2, gt=0, le=1, description="A row counts as at risk above this chance of being found.")

    @model_validator(mode="after")
    def _apart(self) -> Declaration:
        twice = (set(self.quasi_identifiers) & set(self.sensitive)) | (set(self.drop) & (set(self.quasi_identifiers) | set(self.sensitive)))
        if twice:
            raise ValueError(f"the column '{sorted(twice)[0]}' stands in two of quasi_identifiers, sensitive and drop")
        return self


def read_declaration(data: bytes, file: str) -> Declaration:
    """Return the declaration in a YAML file's bytes. Raises BadFile with every problem and its line."""
    return validated(Declaration, parse(data, file, KIND), file, KIND)
