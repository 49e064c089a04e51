"""Equalized odds: among rows with the same true class, do the groups get the positive answer equally often.

Source: Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning.
"""

from __future__ import annotations

from headwater.trust.dimensions.fairness.cells import gaps
from headwater.trust.examination import Examination, measure
from headwater.trust.measurement import Measurement, Text
from headwater.trust.stats import simultaneous_gap


@measure(
    "fairness.equalized_odds",
    title=Text(en="Equalized odds gap", zh="均等几率差距（真、假阳性率）"),
    summary=Text(
        en="Largest difference between two groups in the true-positive or the false-positive rate.",
        zh="任意两组之间真阳性率或假阳性率之差的最大值。",
    ),
)
def equalized_odds(exam: Examination) -> tuple[Measurement, ...]:
    """Return the larger of the gaps in true- and false-positive rate, per attribute."""
    actual = exam.test.labels == exam.positive
    positive = exam.signature.positive
    among = {f"y = {positive}": actual, f"y ≠ {positive}": ~actual}
    hit = exam.predicted == exam.positive
    return gaps(exam, hit=hit, hit_name=f"ŷ = {positive}", among=among, gap=lambda families: simultaneous_gap(families, exam.level))
