"""l-diversity and t-closeness of classes.

Diversity: the number of distinct values (Machanavajjhala et al., "l-Diversity", TKDD 2007, section 4) or the
exponential of their entropy. Closeness: the earth mover's distance between a class's distribution and that of all
released rows (Li et al., "t-Closeness", ICDE 2007, section 4), with equal distances, or ordered for numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """The bounds on one sensitive column; `values` are its cells as numbers from 0, in the order of the values."""

    column: str
    values: npt.NDArray[np.int64]
    l: float | None = None  # noqa: E741 - the field's name in the literature
    diversity: Literal["distinct", "entropy"] = "distinct"
    t: float | None = None
    ordered: bool = False


def violating(classes: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_], many: int, constraint: Constraint) -> npt.NDArray[np.bool_]:
    """Return which of `many` classes violate a constraint, counting kept rows only."""
    import numpy as np

    counted = table(classes, kept, many, constraint.values)
    bad = np.zeros(many, bool)
    if constraint.l is not None:
        bad |= diversity(counted, constraint.diversity) < constraint.l - EPSILON
    if constraint.t is not None:
        bad |= distance(counted, ordered=constraint.ordered) > constraint.t + EPSILON
    return bad


def table(classes: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_], many: int, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return how often each value occurs in each class among the kept rows, [classes, values]."""
    import numpy as np

    width = int(values.max()) + 1
    return np.bincount(classes[kept] * width + values[kept], minlength=many * width).reshape(many, width)


def diversity(counted: npt.NDArray[np.int64], kind: Literal["distinct", "entropy"]) -> npt.NDArray[np.float64]:
    """Return each class's diversity; infinite for an empty one."""
    import numpy as np

    totals = counted.sum(axis=1)
    if kind == "distinct":
        found = (counted > 0).sum(axis=1).astype(float)
    else:
        share = counted / np.maximum(totals, 1)[:, None]
        found = np.exp(-np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0).sum(axis=1))
    return np.where(totals > 0, found, np.inf)


def distance(counted: npt.NDArray[np.int64], *, ordered: bool) -> npt.NDArray[np.float64]:
    """Return the distance of each class from the distribution of all; 0 for an empty one."""
    import numpy as np

    totals = counted.sum(axis=1)
    whole = counted.sum(axis=0) / max(1, counted.sum())
    apart = counted / np.maximum(totals, 1)[:, None] - whole
    moved = np.cumsum(apart, axis=1) / max(1, counted.shape[1] - 1) if ordered else apart / 2
    found = np.abs(moved).sum(axis=1)
    return np.where(totals > 0, found, 0.0)
