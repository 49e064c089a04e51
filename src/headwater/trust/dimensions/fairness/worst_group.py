"""Worst group: how far the accuracy of the worst-served group lies below the accuracy over everyone."""

from __future__ import annotations

import numpy as np

from headwater.trust.dimensions.fairness.cells import gaps
from headwater.trust.examination import Examination, measure
from headwater.trust.measurement import Measurement, Text
from headwater.trust.stats import worst_shortfall


@measure(
    "fairness.worst_group",
    title=Text(en="Worst-group accuracy gap", zh="最差群体准确率差距"),
    summary=Text(
        en="Accuracy over everyone less the accuracy in the worst-served group.",
        zh="总体准确率减去准确率最低群体的准确率。",
    ),
)
def worst_group(exam: Examination) -> tuple[Measurement, ...]:
    """Return the worst group's shortfall in accuracy, per attribute."""
    everyone = {"": np.ones(exam.test.n, dtype=np.bool_)}
    return gaps(exam, hit=exam.correct, hit_name="ŷ = y", among=everyone, gap=lambda families: worst_shortfall(families[0], exam.level))
