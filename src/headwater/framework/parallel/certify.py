"""A second opinion on the exact cut: HiGHS solves the same stages as a mixed-integer programme, and gives a lower bound.

The search proves its best plan by bounds of its own; this shows that the dynamic programme inside it is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.core.errors import Unavailable
from headwater.framework.parallel.bound import price
from headwater.framework.parallel.columns import Floats
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.cuts import tables
from headwater.framework.parallel.search import Choice, cut_row, row_of
from headwater.framework.parallel.space import space
from headwater.framework.program.model_spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Seconds of a step's stages by the dynamic programme and by HiGHS, and HiGHS's lower bound."""

    ours_s: float
    highs_s: float
    bound_s: float

    @property
    def gap(self) -> float:
        """By what part ours lies above the bound."""
        return max(0.0, self.ours_s / self.bound_s - 1)


def certify(spec: ModelSpec, choice: Choice, *, limit_s: float = 30.0) -> Certificate:
    """Return HiGHS's bound on the stages of a choice. Raises Unavailable where it finds none in time."""
    plan = choice.plan
    found = space(spec, choice.fleet, global_batch=plan.global_batch, precisions=(plan.precision,))
    priced = price(spec, found, shipped().calibration)
    row = row_of(found, plan)
    exact = cut_row(spec, priced, row)
    assert exact is not None
    seconds, _ = tables(priced.costs(row), spec.layers, plan.vp)
    total = priced.total(row)
    busy, wait = total(1e9, 0.0) / 1e9, (total(0.0, 1e9) - total(0.0, 0.0)) / 1e9
    highs, bound = _solved(seconds, spec.layers, busy, wait, limit_s)
    return Certificate(ours_s=busy * exact.slowest_s + wait * exact.sum_s, highs_s=highs, bound_s=bound)


def _solved(seconds: Floats, layers: int, busy: float, wait: float, limit_s: float) -> tuple[float, float]:
    """Choose a number of layers for each stage: least busy x T + wait x sum, with T at least every stage's seconds."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, hstack, vstack

    stage, count = np.nonzero(np.isfinite(seconds))
    cost = seconds[stage, count]
    size, stages = len(stage), len(seconds)
    one = csr_array((np.ones(size), (stage, np.arange(size))), shape=(stages, size))
    slow = csr_array((cost, (stage, np.arange(size))), shape=(stages, size))
    none, all_ = csr_array((stages, 1)), csr_array(np.ones((stages, 1)))
    held = hstack([csr_array(count[None, :].astype(float)), csr_array((1, 1))])
    rows = vstack([hstack([one, none]), held, hstack([-slow, all_])])
    low = np.concatenate([np.ones(stages), [layers], np.zeros(stages)])
    high = np.concatenate([np.ones(stages), [layers], np.full(stages, np.inf)])
    solved = milp(
        np.append(wait * cost, busy),
        integrality=np.append(np.ones(size), 0),
        bounds=Bounds(np.zeros(size + 1), np.append(np.ones(size), np.inf)),
        constraints=LinearConstraint(rows, low, high),
        options={"time_limit": limit_s, "mip_rel_gap": 1e-9},
    )
    if solved.x is None:
        raise Unavailable(f"HiGHS found no cut in {limit_s:g} s: {solved.message}", "Allow more time.")
    return float(solved.fun), float(solved.mip_dual_bound)
