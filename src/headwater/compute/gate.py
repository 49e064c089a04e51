"""A job's gate: conditions on the figures that it measured, such as `test_auc >= 0.70`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headwater.core.errors import BadInput

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*(>=|<=|==|>|<)\s*(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition: a metric, how it is compared, and with what."""

    metric: str
    compare: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.compare} {self.bound:g}"


def parse(text: str) -> Condition:
    """Return the condition that a text states. Raises BadInput where it is not of the form `metric >= number`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise BadInput(f"'{text[:100]}' is not a gate condition.", "Write 'metric >= number' with one of >=, <=, >, <, ==.")
    metric, compare, bound = found.groups()
    return Condition(metric=metric, compare=compare, bound=float(bound))


def unmet(conditions: Sequence[str], metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return what keeps the gate shut, with the figures; nothing where it opens. A metric that was not measured keeps it shut."""
    reasons = []
    for condition in map(parse, conditions):
        if condition.metric not in metrics:
            reasons.append(f"{condition}: '{condition.metric}' was not measured (measured: {', '.join(sorted(metrics)) or 'nothing'})")
        elif not _COMPARE[condition.compare](metrics[condition.metric], condition.bound):
            reasons.append(f"{condition}: it is {metrics[condition.metric]:.6g}")
    return tuple(reasons)
