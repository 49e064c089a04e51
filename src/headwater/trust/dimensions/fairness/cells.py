"""Rates by group, and what to say where a group has too few rows for a rate.

An empty cell is never counted as a rate of 0: that would give a gap as large as the other group's rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headwater.trust.examination import Attribute, Examination
from headwater.trust.measurement import Absent, Measurement, Text
from headwater.trust.stats import Gap, Rate

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

Conditions = Mapping[str, "Mask"]
GapOf = Callable[[Sequence[Sequence[Rate]]], Gap]


def gaps(exam: Examination, *, hit: Mask, hit_name: str, among: Conditions, gap: GapOf) -> tuple[Measurement, ...]:
    """Return one figure per declared attribute: the gap between its groups' shares of `hit`, among the rows of each condition."""
    return tuple(_one(exam, attribute, hit=hit, hit_name=hit_name, among=among, gap=gap) for attribute in exam.attributes)


def _one(exam: Examination, attribute: Attribute, *, hit: Mask, hit_name: str, among: Conditions, gap: GapOf) -> Measurement:
    cells = {
        _join(group, condition): Rate(int((hit & rows & here).sum()), int((rows & here).sum()))
        for condition, rows in among.items()
        for place, group in enumerate(attribute.groups)
        for here in [attribute.member == place]
    }
    counts = {name: count for cell, rate in cells.items() for name, count in ((cell, rate.n), (_join(cell, hit_name), rate.hits))}
    if ungrouped := int((attribute.member < 0).sum()):
        counts["?"] = ungrouped
    smallest = min((rate.n for rate in cells.values()), default=0)
    if absent := _absent(attribute, cells, exam.smallest_cell):
        gradable = attribute.not_gradable is None
        return Measurement(case=attribute.name, n=exam.test.n, smallest=smallest, counts=counts, absent=absent, gradable=gradable)
    found = gap([[cells[_join(group, condition)] for group in attribute.groups] for condition in among])
    return Measurement(case=attribute.name, value=found.value, interval=found.interval, n=exam.test.n, smallest=smallest, counts=counts)


def _join(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _absent(attribute: Attribute, cells: Mapping[str, Rate], smallest: int) -> Absent | None:
    lacking = {name: smallest - rate.n for name, rate in cells.items() if rate.n < smallest}
    missing = sum(lacking.values())
    if attribute.not_gradable is not None:
        return Absent(code="declared_not_gradable", reason=attribute.not_gradable, more_samples=missing or None)
    if len(attribute.groups) < 2:
        return _ONE_GROUP
    if not lacking:
        return None
    few = "; ".join(f"{name}: {cells[name].n}" for name in lacking)
    return Absent(
        code="empty_cell" if any(cells[name].n == 0 for name in lacking) else "small_cell",
        reason=Text(
            en=f"Too few test rows for a rate, {smallest} are needed in each cell ({few}). At least {missing} more such rows are needed.",
            zh=f"测试行太少，无法计算比率：每格至少需要 {smallest} 行（{few}）。至少还需 {missing} 行此类样本。",
        ),
        more_samples=missing,
    )


_ONE_GROUP = Absent(
    code="one_group",
    reason=Text(en="The attribute divides people into fewer than two groups.", zh="该属性未将人群分为两个或以上的组。"),
)
