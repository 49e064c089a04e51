"""Expected calibration error of the top label.

Bins hold equally many rows and are cut by the stated confidence alone. Binning hides error inside a bin, so the
figure is a lower bound on the error without bins; more rows give more bins.

Source: Naeini, Cooper and Hauskrecht 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headwater.trust.examination import Examination, measure
from headwater.trust.measurement import Absent, Measurement, Text
from headwater.trust.stats import Bin, calibration_error

if TYPE_CHECKING:
    import numpy.typing as npt

ROWS_PER_BIN = 60
MOST_BINS = 15


def reliability(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> list[Bin]:
    """Return bins of about equally many rows, in order of confidence; equal confidences share a bin."""
    wanted = min(MOST_BINS, max(1, len(confidence) // ROWS_PER_BIN))
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, wanted + 1)[1:-1]))
    place = np.searchsorted(edges, confidence, side="right")
    return [
        Bin(int(here.sum()), int(correct[here].sum()), float(confidence[here].sum()))
        for number in range(len(edges) + 1)
        for here in [place == number]
        if here.any()
    ]


@measure(
    "calibration.expected_error",
    title=Text(en="Expected calibration error", zh="期望校准误差"),
    summary=Text(
        en="Mean distance between the probability stated for the chosen answer and how often that answer is right.",
        zh="模型对所选结论给出的概率与该结论实际正确率之间的平均差距。",
    ),
)
def expected_error(exam: Examination) -> tuple[Measurement, ...]:
    """Return the top-label calibration error over bins of equal size."""
    n = exam.test.n
    if n < ROWS_PER_BIN:
        reason = Text(
            en=f"{n} test rows do not fill one bin of {ROWS_PER_BIN}; {ROWS_PER_BIN - n} more are needed.",
            zh=f"仅有 {n} 行测试数据，不足一个分箱所需的 {ROWS_PER_BIN} 行；还需 {ROWS_PER_BIN - n} 行。",
        )
        return (Measurement(n=n, smallest=n, absent=Absent(code="too_few_rows", reason=reason, more_samples=ROWS_PER_BIN - n)),)
    bins = reliability(exam.answers.max(axis=1), exam.correct)
    value, interval = calibration_error(bins, exam.level)
    counts = {
        f"bin {number}{what}": count for number, one in enumerate(bins, 1) for what, count in (("", one.n), (" · ŷ = y", one.correct))
    }
    return (Measurement(value=value, interval=interval, n=n, smallest=min(one.n for one in bins), counts=counts),)
