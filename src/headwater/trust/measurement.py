"""What a measure gives back: a value with its interval and counts, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from headwater.trust.stats import Interval

DIGITS = 6
"""Figures are written to six decimals: finer ones differ between processors."""


class Text(NamedTuple):
    """The same words in both languages."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Why a figure could not be measured, and how many more samples of which kind it takes (None: no number would do)."""

    code: str
    reason: Text
    more_samples: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure about a model: either `value` and `interval`, or `absent`.

    `case` tells apart several figures of one measure (an attribute, a noise level). `n` is the rows used,
    `smallest` the smallest count that a rate was divided by, `counts` every cell, `seed` None where nothing was drawn.
    """

    case: str = ""
    value: float | None = None
    interval: Interval | None = None
    n: int
    smallest: int
    counts: Mapping[str, int] = field(default_factory=dict)
    seed: int | None = None
    absent: Absent | None = None
    gradable: bool = True
    """False where the data's owner declared that this figure cannot be graded; `absent` says why."""

    def __post_init__(self) -> None:
        """Refuse a figure without an interval, and one that is both there and absent."""
        if (self.value is None) != (self.interval is None) or (self.value is None) == (self.absent is None):
            raise ValueError(f"measurement '{self.case}' needs a value and an interval, or a reason why there is none")

    def as_json(self) -> dict[str, Any]:
        """Return the figure as JSON values, rounded to six decimals."""
        told: dict[str, Any] = {
            "case": self.case,
            "n": self.n,
            "smallestCell": self.smallest,
            "counts": dict(self.counts),
            "seed": self.seed,
        }
        if self.value is not None and self.interval is not None:
            ends = {"low": round(self.interval.low, DIGITS), "high": round(self.interval.high, DIGITS)}
            return told | {"value": round(self.value, DIGITS), "interval": asdict(self.interval) | ends}
        assert self.absent is not None
        reason = {"code": self.absent.code, "en": self.absent.reason.en, "zh": self.absent.reason.zh}
        return told | {"notMeasurable": reason | {"moreSamples": self.absent.more_samples}, "gradable": self.gradable}
