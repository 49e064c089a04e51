"""Noise: how much accuracy is lost when numeric inputs move by a part of their spread.

Only numeric columns that a person can change are moved, and every moved row still fits the signature: whole numbers
stay whole, values stay within their range. So a moved row is one that could really be handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headwater.core.tabular import Signature
from headwater.trust.examination import Examination, measure
from headwater.trust.measurement import Absent, Measurement, Text
from headwater.trust.stats import paired_difference

if TYPE_CHECKING:
    from headwater.trust.examination import Rows

SIGMAS = (0.05, 0.1, 0.2)
"""Standard deviations of the noise, in units of each column's own standard deviation in the test part."""
DRAWS = 20
MOST_ROWS = 5000


def moved(rows: Rows, signature: Signature, sigma: float, random: np.random.Generator) -> Rows:
    """Return the rows with noise on numeric, mutable columns, brought back to what the signature allows."""
    result = rows.copy()
    for place, column in enumerate(signature.columns):
        if column.type == "category" or column.immutable:
            continue
        spread = float(rows[:, place].std(dtype=np.float64))
        values = rows[:, place] + random.normal(0.0, 1.0, len(rows)) * sigma * spread
        values = np.round(values) if column.type == "integer" else values
        result[:, place] = np.clip(values, column.minimum, column.maximum)
    return result


@measure(
    "stability.noise",
    title=Text(en="Accuracy lost under noise", zh="噪声下的准确率损失"),
    summary=Text(
        en="Accuracy on the test rows less accuracy when numeric values move at random; sigma is in units of each column's spread.",
        zh="测试行上的准确率减去数值列随机扰动后的准确率；σ 以各列标准差为单位。",
    ),
)
def noise(exam: Examination) -> tuple[Measurement, ...]:
    """Return the loss of accuracy for each noise level."""
    return tuple(_at(exam, sigma) for sigma in SIGMAS)


def _at(exam: Examination, sigma: float) -> Measurement:
    case = f"sigma {sigma}"
    chosen = exam.sample("stability.noise", MOST_ROWS)
    rows, correct = exam.test.rows[chosen], exam.correct[chosen]
    random = exam.draw(f"stability.noise {case}")
    losses, changed = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
    for _ in range(DRAWS):
        noisy = moved(rows, exam.signature, sigma, random)
        changed |= (noisy != rows).any(axis=1)
        losses += correct.astype(np.float64) - (np.argmax(exam.ask(noisy), axis=1) == exam.test.labels[chosen])
    counts = {"rows": len(rows), "draws per row": DRAWS, "rows moved": int(changed.sum()), "correct before": int(correct.sum())}
    if not changed.any():
        return Measurement(case=case, n=len(rows), smallest=len(rows), counts=counts, seed=exam.seed, absent=_NOTHING_MOVES)
    value = float(losses.mean() / DRAWS)
    interval = paired_difference(losses / DRAWS, exam.level)
    return Measurement(case=case, value=value, interval=interval, n=len(rows), smallest=len(rows), counts=counts, seed=exam.seed)


_NOTHING_MOVES = Absent(
    code="nothing_moves",
    reason=Text(
        en="No numeric column that a person can change moves at this noise level, so nothing can be said about noise.",
        zh="在该噪声水平下没有可变的数值列发生变化，无法评价噪声稳定性。",
    ),
)
