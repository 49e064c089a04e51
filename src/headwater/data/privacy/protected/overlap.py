"""No two questions of one grantee may be so alike that their difference gives somebody away.

The rule: for every set of rows that an earlier answer was about (the whole selection, and each cell that was
given) and every such set of the new question, the rows of either that are not in the other number zero or at
least the table's minimum. Unions of several cells, and several grantees together, are not weighed: the limit on
questions and answers with noise are the means against those. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

OUTSIDE = -1


def too_alike(earlier: npt.NDArray[np.int64], new: npt.NDArray[np.int64], least: int) -> bool:
    """Tell whether two questions may not both be answered; each gives the cell of every row, -1 outside, from 0.

    A cell that was not given counts as in the selection but in no set of its own: its rows are marked below -1.
    """
    import numpy as np

    whole = [np.where(one == OUTSIDE, OUTSIDE, 0) for one in (earlier, new)]
    given = [np.where(one < 0, OUTSIDE, one) for one in (earlier, new)]
    return any(_differ_by_few(one, other, least) for one in (whole[0], given[0]) for other in (whole[1], given[1]))


def _differ_by_few(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], least: int) -> bool:
    """Tell whether a set of one division and a set of the other that share rows differ by fewer than `least`, but not by none."""
    import numpy as np

    inside = (one >= 0) & (other >= 0)
    if not inside.any():
        return False
    width = int(other.max()) + 1
    pairs, shared = np.unique(one[inside] * width + other[inside], return_counts=True)
    of_one, of_other = np.bincount(one[one >= 0]), np.bincount(other[other >= 0])
    rest = np.concatenate([of_one[pairs // width] - shared, of_other[pairs % width] - shared])
    return bool(((rest > 0) & (rest < least)).any())
