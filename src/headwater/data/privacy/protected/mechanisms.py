"""Differentially private answers, made with OpenDP's own constructors.

Pure differential privacy; neighbours differ by the rows of one person (`rows_per_person`). OpenDP finds the scale
for a wanted epsilon and samples so that floating-point artefacts do not leak (its Laplace mechanism draws exactly
on a discrete grid). The epsilon charged is what OpenDP's own map gives for the finished measurement, never less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput, Unavailable
from headwater.data.privacy.protected.holding import Column, Protected
from headwater.data.privacy.protected.questions import PrivateQuestion, selected

if TYPE_CHECKING:
    import polars as pl

CONFIDENCE = 0.95
CANDIDATES = 1000
"""Among how many equally spaced values a quantile is chosen."""
Make = Callable[[float], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A question ready to be released: nothing of it depends on the data."""

    epsilon: float
    release: Callable[[pl.DataFrame], dict[str, Any]]


def prepare(question: PrivateQuestion, table: Protected) -> Prepared:
    """Return a question's measurement and what it costs. Raises BadInput for a column, bound or share that does not fit."""
    kinds = {"count": _count, "sum": _sum, "mean": _mean, "histogram": _histogram, "quantile": _quantile}
    prepared = kinds[question.kind](question, table)
    if prepared.epsilon > question.epsilon * (1 + 1e-9):
        raise BadInput(
            f"The answer would cost {prepared.epsilon:g}, more than the {question.epsilon:g} asked.", "Ask with a larger epsilon."
        )
    return prepared


def _count(question: PrivateQuestion, table: Protected) -> Prepared:
    dp = _opendp()
    space = dp.vector_domain(dp.atom_domain(T=bool)), dp.symmetric_distance()
    measurement, scale, epsilon = _calibrated(lambda s: space >> dp.t.then_count() >> dp.m.then_laplace(s), question.epsilon, table)

    def release(frame: pl.DataFrame) -> dict[str, Any]:
        rows = selected(frame, table, question.where)
        return {
            "value": int(measurement(rows.filter(rows).to_list())),
            **_within(dp.discrete_laplacian_scale_to_accuracy(scale, 1 - CONFIDENCE)),
        }

    return Prepared(epsilon=epsilon, release=release)


def _sum(question: PrivateQuestion, table: Protected) -> Prepared:
    dp = _opendp()
    column, bounds = _bounded(question, table)
    measurement, scale, epsilon = _calibrated(_summed(bounds), question.epsilon, table)

    def release(frame: pl.DataFrame) -> dict[str, Any]:
        cells = _numbers(frame, table, question, column)
        return {"value": float(measurement(cells)), **_within(dp.laplacian_scale_to_accuracy(scale, 1 - CONFIDENCE))}

    return Prepared(epsilon=epsilon, release=release)


def _mean(question: PrivateQuestion, table: Protected) -> Prepared:
    """Half the budget on the sum of deviations from the bounds' middle, half on the count; the quotient costs nothing more."""
    dp = _opendp()
    column, (lower, upper) = _bounded(question, table)
    middle, reach = (lower + upper) / 2, (upper - lower) / 2
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.symmetric_distance()
    total, _, first = _calibrated(_summed((-reach, reach)), question.epsilon / 2, table)
    count, _, second = _calibrated(lambda s: space >> dp.t.then_count() >> dp.m.then_laplace(s), question.epsilon / 2, table)

    def release(frame: pl.DataFrame) -> dict[str, Any]:
        cells = [cell - middle for cell in _numbers(frame, table, question, column)]
        rows, deviation = int(count(cells)), float(total(cells))
        value = min(max(middle + deviation / rows, lower), upper) if rows > 0 else None
        return {"value": value, "rows": rows} | ({"unknown": "the noisy count of rows is not above zero"} if value is None else {})

    return Prepared(epsilon=first + second, release=release)


def _histogram(question: PrivateQuestion, table: Protected) -> Prepared:
    import numpy as np

    dp = _opendp()
    column = table.column(question.column or "")
    if (column.kind == "number") != (question.bins is not None):
        raise BadInput(f"'{column.name}' is a {column.kind}.", "Give bins for a number, and none for a category.")
    edges = np.linspace(*_bounded(question, table)[1], question.bins + 1) if question.bins is not None else None
    names = list(column.values) if edges is None else [f"[{low:g}, {high:g})" for low, high in itertools.pairwise(edges)]
    places = list(range(len(names)))
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.symmetric_distance()
    measurement, scale, epsilon = _calibrated(
        lambda s: space >> dp.t.then_count_by_categories(places, null_category=False) >> dp.m.then_laplace(s), question.epsilon, table
    )

    def release(frame: pl.DataFrame) -> dict[str, Any]:
        cells = frame.filter(selected(frame, table, question.where))[column.name].drop_nulls()
        if edges is None:
            known = {name: place for place, name in enumerate(names)}
            found = [known[cell] for cell in cells if cell in known]
        else:
            found = np.clip(np.searchsorted(edges, cells.to_numpy(), side="right") - 1, 0, len(names) - 1).tolist()
        counts = dict(zip(names, (int(one) for one in measurement(found)), strict=True))
        return {"counts": counts, **_within(dp.discrete_laplacian_scale_to_accuracy(scale, 1 - CONFIDENCE))}

    return Prepared(epsilon=epsilon, release=release)


def _quantile(question: PrivateQuestion, table: Protected) -> Prepared:
    import numpy as np

    dp = _opendp()
    column, (lower, upper) = _bounded(question, table)
    candidates = np.linspace(lower, upper, CANDIDATES + 1).tolist()
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.symmetric_distance()
    measurement, _, epsilon = _calibrated(
        lambda s: space >> dp.m.then_private_quantile(dp.max_divergence(), candidates, question.share, s), question.epsilon, table
    )

    def release(frame: pl.DataFrame) -> dict[str, Any]:
        return {"value": float(measurement(_numbers(frame, table, question, column))), "among": CANDIDATES + 1}

    return Prepared(epsilon=epsilon, release=release)


def _summed(bounds: tuple[float, float]) -> Make:
    dp = _opendp()
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.symmetric_distance()
    return lambda scale: space >> dp.t.then_clamp(bounds) >> dp.t.then_sum() >> dp.m.then_laplace(scale)


def _calibrated(make: Make, epsilon: float, table: Protected) -> tuple[Any, float, float]:
    """Return the measurement with the least noise within epsilon, its scale, and its exact cost."""
    dp = _opendp()
    try:
        scale = dp.binary_search_param(make, d_in=table.declared.rows_per_person, d_out=epsilon)
    except (ValueError, OverflowError, dp.OpenDPException) as error:
        raise BadInput(f"No noise gives an epsilon of {epsilon:g} here: {str(error)[:200]}.", "Ask with a larger epsilon.") from error
    measurement = make(scale)
    return measurement, float(scale), float(measurement.map(table.declared.rows_per_person))


def _bounded(question: PrivateQuestion, table: Protected) -> tuple[Column, tuple[float, float]]:
    column = table.column(question.column or "", "number")
    assert column.minimum is not None
    assert column.maximum is not None
    lower = column.minimum if question.lower is None else question.lower
    upper = column.maximum if question.upper is None else question.upper
    if lower >= upper:
        raise BadInput(f"The bounds {lower:g} to {upper:g} hold nothing.", "The lower must lie below the upper.", where=column.name)
    return column, (lower, upper)


def _numbers(frame: pl.DataFrame, table: Protected, question: PrivateQuestion, column: Column) -> list[float]:
    """Return the cells asked about; missing ones are left out, row by row, which costs no privacy."""
    cells: list[float] = frame.filter(selected(frame, table, question.where))[column.name].drop_nulls().drop_nans().to_list()
    return cells


def _within(accuracy: float) -> dict[str, float]:
    return {"within": float(accuracy), "confidence": CONFIDENCE}


def _opendp() -> Any:
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise Unavailable(f"OpenDP could not be loaded: {error}.", "Install Headwater's requirements again.") from error
    dp.enable_features("contrib")
    return dp
