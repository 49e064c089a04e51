"""Deletion: do occlusion attributions name the columns that the answer rests on.

A column is deleted by putting in its place the value of other rows of the test part, so that a deleted row still
fits the signature. An attribution is the mean drop in the probability of the model's answer when that one column is
deleted; the deletion curve follows that probability while columns are deleted one after another. Attributions and
curves use different other rows, so an attribution cannot be confirmed by the noise that made it. Only the
model's answers are needed. Columns that a person cannot change are not deleted.

Sources: Zeiler and Fergus 2014 (occlusion); Petsiuk, Das and Saenko 2018, RISE (deletion curve).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headwater.trust.examination import Examination, measure
from headwater.trust.measurement import Absent, Measurement, Text
from headwater.trust.stats import ratio_of_means

if TYPE_CHECKING:
    import numpy.typing as npt

    from headwater.trust.examination import Places, Rows

    Floats = npt.NDArray[np.float64]

FOR_ATTRIBUTION = 16
FOR_CURVE = 4
RANDOM_ORDERS = 4
MOST_ROWS = 500
FEWEST_ROWS = 30


def attributions(exam: Examination, rows: Rows, columns: Places, others: Rows) -> Floats:
    """Return the mean drop in the chosen class's probability when each column is deleted, [rows, columns]."""
    chosen = np.argmax(exam.ask(rows), axis=1)
    whole = _probability(exam, rows, chosen)
    drops = np.empty((len(rows), len(columns)))
    for number, column in enumerate(columns):
        mask = np.zeros((len(rows), rows.shape[1]), dtype=np.bool_)
        mask[:, column] = True
        drops[:, number] = whole - _deleted(exam, rows, mask, others, chosen)
    return drops


def areas(exam: Examination, rows: Rows, orders: Places, others: Rows) -> Floats:
    """Return the area under each row's deletion curve, 0 to 1; `orders` [rows, columns] are the columns in order of deletion."""
    chosen = np.argmax(exam.ask(rows), axis=1)
    mask = np.zeros((len(rows), rows.shape[1]), dtype=np.bool_)
    total = np.zeros(len(rows))
    for step in range(orders.shape[1]):
        mask[np.arange(len(rows)), orders[:, step]] = True
        total += _deleted(exam, rows, mask, others, chosen)
    mean: Floats = total / orders.shape[1]
    return mean


def _deleted(exam: Examination, rows: Rows, mask: npt.NDArray[np.bool_], others: Rows, chosen: Places) -> Floats:
    """Return the chosen class's probability with the masked values taken from other rows, averaged; others: [draws, rows, columns]."""
    draws = [_probability(exam, np.where(mask, other, rows), chosen) for other in others]
    return np.asarray(np.mean(draws, axis=0), dtype=np.float64)


def _probability(exam: Examination, rows: Rows, chosen: Places) -> Floats:
    picked: Floats = exam.ask(rows)[np.arange(len(rows)), chosen]
    return picked


@measure(
    "explainability.deletion",
    title=Text(en="Deletion gain over random order", zh="删除曲线相对随机顺序的增益"),
    summary=Text(
        en="How much sooner the answer's probability falls when columns are deleted by attribution, relative to a random order.",
        zh="按归因顺序删除特征比随机删除使结论概率更早下降的程度（相对随机顺序）。",
    ),
)
def deletion(exam: Examination) -> tuple[Measurement, ...]:
    """Return (random area - attributed area) / random area, over the rows."""
    columns = np.array([place for place, column in enumerate(exam.signature.columns) if not column.immutable], dtype=np.int64)
    chosen = exam.sample("explainability.deletion", MOST_ROWS)
    counts = {"rows": len(chosen), "columns deleted": len(columns), "random orders": RANDOM_ORDERS}
    if absent := _absent(len(chosen), len(columns)):
        return (Measurement(n=len(chosen), smallest=len(chosen), counts=counts, seed=exam.seed, absent=absent),)
    by_attribution, at_random = _both_areas(exam, exam.test.rows[chosen], columns)
    value, interval = ratio_of_means(at_random - by_attribution, at_random, exam.level)
    return (Measurement(value=value, interval=interval, n=len(chosen), smallest=len(chosen), counts=counts, seed=exam.seed),)


def _both_areas(exam: Examination, rows: Rows, columns: Places) -> tuple[Floats, Floats]:
    random = exam.draw("explainability.deletion orders")
    others = exam.test.rows[random.integers(exam.test.n, size=(FOR_ATTRIBUTION + FOR_CURVE, len(rows)))]
    drops = attributions(exam, rows, columns, others[:FOR_ATTRIBUTION])
    for_curve = others[FOR_ATTRIBUTION:]
    by_attribution = areas(exam, rows, columns[np.argsort(-drops, axis=1, kind="stable")], for_curve)
    orders = [random.permuted(np.tile(columns, (len(rows), 1)), axis=1) for _ in range(RANDOM_ORDERS)]
    return by_attribution, np.mean([areas(exam, rows, order, for_curve) for order in orders], axis=0, dtype=np.float64)


def _absent(rows: int, columns: int) -> Absent | None:
    if columns < 2:
        return Absent(
            code="too_few_columns",
            reason=Text(
                en=f"An order of deletion needs two columns that may change; there is {columns}.",
                zh=f"删除顺序至少需要两个可变列，现有 {columns} 个。",
            ),
        )
    if rows < FEWEST_ROWS:
        more = FEWEST_ROWS - rows
        reason = Text(
            en=f"{rows} test rows are too few for this interval; {more} more are needed.",
            zh=f"仅有 {rows} 行测试数据，不足以给出区间；还需 {more} 行。",
        )
        return Absent(code="too_few_rows", reason=reason, more_samples=more)
    return None
