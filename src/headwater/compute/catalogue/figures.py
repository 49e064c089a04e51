"""A figure with its source and how far to trust it, and what stands where there is none.

Data files give a figure as an inline table `{ value, source, confidence }`, or a list of them where
sources disagree. A figure that nobody has read is absent: `Unknown` with the reason, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Confidence = Literal["measured", "claimed", "assumed"]
TRUST: tuple[Confidence, ...] = ("measured", "claimed", "assumed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number, where it was read, and whether it was measured, claimed or only assumed."""

    value: float
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What stands in the place of a figure that nobody has read."""

    reason: str


Figures = tuple[Figure, ...]


def best(figures: Figures, *, reason: str) -> Figure | Unknown:
    """Return the most trusted figure, or Unknown with `reason`.

    Measured goes before claimed, claimed before assumed; among equals the lowest, so that a plan does not
    rest on the boldest of several claims.
    """
    for confidence in TRUST:
        found = [figure for figure in figures if figure.confidence == confidence]
        if found:
            return min(found, key=lambda figure: figure.value)
    return Unknown(reason=reason)


def disputed(figures: Figures) -> bool:
    """Tell whether two sources of the same standing give different numbers."""
    return any(len({f.value for f in figures if f.confidence == confidence}) > 1 for confidence in TRUST)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number; leave the figure out where it is unknown")
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Row(BaseModel):
    """A table of a data file: unknown keys are refused, numbers are not made from text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AnyFigureRow(Row):
    """A figure of a data file that may be 0."""

    value: Annotated[float, Field(ge=0), AfterValidator(_finite)]
    source: Text
    confidence: Confidence

    def figure(self) -> Figure:
        """Return the row as a Figure."""
        return Figure(value=self.value, source=self.source, confidence=self.confidence)


class FigureRow(AnyFigureRow):
    """A figure of a data file that must be above 0: a zero there would be a guess for unknown."""

    value: Annotated[float, Field(gt=0), AfterValidator(_finite)]


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


FigureRows = Annotated[list[FigureRow], BeforeValidator(_as_list), Field(min_length=1)]
