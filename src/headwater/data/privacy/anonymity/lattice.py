"""Find the generalisation with the least loss among all: every node of the lattice of levels is weighed.

Loss is the general loss metric LM (Iyengar, "Transforming data to satisfy privacy constraints", KDD 2002): a cell
costs (values that share its group - 1) / (values of the column - 1), a row left out costs 1, and the loss is the
mean over all cells. The values counted are those that occur in the table. Ties go to the node with the lower levels.

k-anonymity is weighed for every node. Diversity and closeness can only leave out more rows, so that a node's loss
under k alone bounds its loss from below: nodes are tried in that order until no bound lies under the best loss
found. The result is the optimum over the whole lattice. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headwater.core.errors import LimitExceeded, Refused
from headwater.data.privacy.anonymity.closeness import Constraint, violating
from headwater.data.privacy.anonymity.hierarchy import Hierarchy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_NODES = 200_000
LARGEST_KEY = 1 << 62
EPSILON = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """The quasi-identifiers of a table as numbers."""

    columns: tuple[str, ...]
    rows: npt.NDArray[np.int32]
    """The value of each cell [rows, columns], as its place among the column's values."""
    groups: tuple[tuple[npt.NDArray[np.int32], ...], ...]
    """By column and level: the group of each value."""

    @property
    def depths(self) -> tuple[int, ...]:
        """How many levels each column has."""
        return tuple(len(levels) for levels in self.groups)

    def losses(self, column: int, level: int) -> npt.NDArray[np.float64]:
        """Return the loss of each value of a column at a level."""
        import numpy as np

        groups = self.groups[column][level]
        shared = np.bincount(groups)[groups]
        return (shared - 1) / max(1, len(groups) - 1)

    def classes(self, node: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the class of each row at a node, counted from 0."""
        import numpy as np

        key = np.zeros(len(self.rows), np.int64)
        for column, level in enumerate(node):
            groups = self.groups[column][level]
            key = key * (int(groups.max()) + 1) + groups[self.rows[:, column]]
        return np.unique(key, return_inverse=True)[1].astype(np.int64)

    def loss(self, node: Sequence[int], kept: npt.NDArray[np.bool_]) -> float:
        """Return the loss of a node when only some rows are kept."""
        cells = sum(self.losses(column, level)[self.rows[:, column]] for column, level in enumerate(node)) / len(self.columns)
        return float((cells * kept + ~kept).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The best node, what it costs, and how the search went."""

    levels: Mapping[str, int]
    kept: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.int64]
    """The class of each row, those left out included."""
    loss: float
    suppressed: int
    nodes: int
    nodes_within_k: int
    nodes_tried: int
    """How many nodes were also weighed for diversity and closeness."""


def code(hierarchies: Sequence[Hierarchy], values: Mapping[str, Sequence[str | None]]) -> Coded:
    """Return a table's quasi-identifiers as numbers."""
    import numpy as np

    rows = np.empty((len(values[hierarchies[0].column]), len(hierarchies)), np.int32)
    groups = []
    for place, one in enumerate(hierarchies):
        known = {value: number for number, value in enumerate(one.levels[0])}
        rows[:, place] = [known[value] for value in values[one.column]]
        levels = []
        for level in one.levels:
            numbers: dict[str | None, int] = {}
            levels.append(np.array([numbers.setdefault(level[value], len(numbers)) for value in known], np.int32))
        groups.append(tuple(levels))
    return Coded(columns=tuple(one.column for one in hierarchies), rows=rows, groups=tuple(groups))


def search(coded: Coded, k: int, suppression: float, constraints: Sequence[Constraint] = ()) -> Optimum:
    """Return the optimum. Raises Refused where no node satisfies the bounds, LimitExceeded for a lattice or domain that is too large."""
    import numpy as np

    nodes = _nodes(coded)
    rows = len(coded.rows)
    suppressed, lost = _weigh(coded, nodes, k)
    allowed = int(suppression * rows + EPSILON)
    within = np.flatnonzero(suppressed <= allowed)
    order = within[np.lexsort((nodes[within].sum(axis=1), lost[within]))]
    best: Optimum | None = None
    tried = 0
    for place in order:
        if best is not None and lost[place] / rows >= best.loss - EPSILON:
            break
        tried += 1
        node = tuple(int(level) for level in nodes[place])
        classes = coded.classes(node)
        kept = _kept(classes, k, constraints, allowed)
        if kept is None:
            continue
        loss = coded.loss(node, kept)
        if best is None or loss < best.loss - EPSILON:
            levels = dict(zip(coded.columns, node, strict=True))
            best = Optimum(
                levels=levels,
                kept=kept,
                classes=classes,
                loss=loss,
                suppressed=int((~kept).sum()),
                nodes=len(nodes),
                nodes_within_k=len(within),
                nodes_tried=tried,
            )
    if best is None:
        raise _nothing(k, suppression, int(suppressed.min(initial=rows)), rows, constraints)
    return best


def _nodes(coded: Coded) -> npt.NDArray[np.int32]:
    import numpy as np

    many = 1
    for depth in coded.depths:
        many *= depth
    if many > MOST_NODES:
        raise LimitExceeded(f"The lattice has {many} nodes; the limit is {MOST_NODES}.", "Give fewer quasi-identifiers, or fewer levels.")
    key = 1
    for levels in coded.groups:
        key *= len(levels[0])
    if key > LARGEST_KEY:
        raise LimitExceeded("The columns have too many values together to be searched.", "Leave out the lowest level of the finest one.")
    return np.array(list(itertools.product(*(range(depth) for depth in coded.depths))), np.int32)


def _weigh(coded: Coded, nodes: npt.NDArray[np.int32], k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    import numpy as np

    from headwater.data.privacy.anonymity.lattice_kernel import weigh_nodes

    tuples, counts = np.unique(coded.rows, axis=0, return_counts=True)
    most = max(coded.depths)
    offsets, sizes = np.zeros((len(coded.columns), most), np.int64), np.ones((len(coded.columns), most), np.int64)
    groups, losses, place = [], [], 0
    for column, levels in enumerate(coded.groups):
        for level, one in enumerate(levels):
            offsets[column, level], sizes[column, level] = place, int(one.max()) + 1
            groups.append(one)
            losses.append(coded.losses(column, level))
            place += len(one)
    suppressed, _, lost = weigh_nodes(
        np.ascontiguousarray(tuples), counts.astype(np.int64), np.concatenate(groups), np.concatenate(losses), offsets, sizes, nodes, k
    )
    return suppressed, lost


def _kept(classes: npt.NDArray[np.int64], k: int, constraints: Sequence[Constraint], allowed: int) -> npt.NDArray[np.bool_] | None:
    """Return the rows that stay once every class below a bound is left out; None where more than `allowed` would go.

    Closeness compares with what is released: leaving a class out moves that, so that classes are weighed again until none violates.
    """
    import numpy as np

    sizes = np.bincount(classes)
    good = sizes >= k
    while True:
        kept = good[classes]
        if int((~kept).sum()) > allowed or not kept.any():
            return None
        bad = np.zeros(len(sizes), bool)
        for constraint in constraints:
            bad |= violating(classes, kept, len(sizes), constraint)
        bad &= good
        if not bad.any():
            return kept
        good &= ~bad


def _nothing(k: int, suppression: float, fewest: int, rows: int, constraints: Sequence[Constraint]) -> Refused:
    asked = [
        f"k={k}",
        *(f"{one.column}: l={one.l:g}" for one in constraints if one.l),
        *(f"{one.column}: t={one.t:g}" for one in constraints if one.t is not None),
    ]
    return Refused(
        f"No generalisation satisfies {', '.join(asked)} with at most {suppression:.1%} of {rows} rows left out"
        f" (k alone would leave out at least {fewest}).",
        "Allow more suppression, lower the bounds, or give coarser levels.",
    )
