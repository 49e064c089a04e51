"""Demographic parity: do the groups get the positive answer equally often. Reported; a policy may grade it."""

from __future__ import annotations

import numpy as np

from headwater.trust.dimensions.fairness.cells import gaps
from headwater.trust.examination import Examination, measure
from headwater.trust.measurement import Measurement, Text
from headwater.trust.stats import simultaneous_gap


@measure(
    "fairness.demographic_parity",
    title=Text(en="Demographic parity gap", zh="人口均等差距"),
    summary=Text(
        en="Largest difference between two groups in how often the model gives the positive answer.",
        zh="任意两组之间模型给出正类结论的比例之差的最大值。",
    ),
)
def demographic_parity(exam: Examination) -> tuple[Measurement, ...]:
    """Return the gap in the rate of positive answers, per attribute."""
    everyone = {"": np.ones(exam.test.n, dtype=np.bool_)}
    hit = exam.predicted == exam.positive
    name = f"ŷ = {exam.signature.positive}"
    return gaps(exam, hit=hit, hit_name=name, among=everyone, gap=lambda families: simultaneous_gap(families, exam.level))
