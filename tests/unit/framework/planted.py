"""A small signature, and rows whose answer is known."""

from __future__ import annotations

import numpy as np

from headwater.core.tabular import Column, Signature
from headwater.framework.examples import Examples

SIGNATURE = Signature(
    columns=(
        Column(name="amount", type="number"),
        Column(name="kind", type="category", values=(3, 7, 9)),
        Column(name="town", type="category", values=("north", "south")),
        Column(name="months", type="integer"),
    ),
    target="outcome",
    classes=("bad", "good"),
    positive="bad",
)


def examples(n: int, seed: int = 0) -> Examples:
    """Return rows in which amount and kind decide the outcome, with one answer in ten turned round."""
    draw = np.random.default_rng(seed)
    rows = np.column_stack([draw.normal(500, 200, n), draw.choice([3, 7, 9], n), draw.integers(0, 2, n), draw.integers(1, 60, n)]).astype(
        np.float32
    )
    good = ((rows[:, 0] > 500) ^ (rows[:, 1] == 7)) ^ (draw.random(n) < 0.1)
    return Examples(rows=rows, labels=good.astype(np.int64))
