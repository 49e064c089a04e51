"""Find the best plans: price every layout from below, then cut the most promising exactly, until the rest cannot win.

1. Every layout of `space` gets a lower bound: layers shared out in fractions, recomputation in fractions, as little of
   it as memory allows. All at once, in arrays.
2. In the order of the bounds, `cuts.cut` finds the exact best stages of a layout.
3. When the next bound is no better than the best plans found, those are proven. Where time runs out first, the least
   bound that is left says how far from the best the plan can be at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from headwater.core.errors import BadInput, NotFound
from headwater.framework.parallel.bound import Priced, price
from headwater.framework.parallel.columns import PRECISIONS, LayoutColumns
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.cuts import Cut, cut
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan, Precision
from headwater.framework.parallel.predict import Estimate, check_formats, predict
from headwater.framework.parallel.space import Mask, Space, space
from headwater.framework.parallel.times import Calibration
from headwater.framework.program.model_spec import ModelSpec

Objective = Literal["time", "cost", "energy"]
TOKENS = 1 << 22
"""Tokens of a step where nobody says how many: what large models are commonly trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A plan on the part of the fleet that it uses, what is predicted of it, and its standing under the objective."""

    fleet: Fleet
    plan: Plan
    estimate: Estimate
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSet:
    """The best plans, best first, and how sure it is that nothing better was missed."""

    spec: ModelSpec
    fleet: Fleet
    objective: Objective
    choices: tuple[Choice, ...]
    layouts: int
    """How many layouts were priced."""
    cut: int
    """How many of them were cut exactly."""
    bound: float
    """No plan of the space is better than this."""
    took_s: float

    @property
    def best(self) -> Choice:
        """The best plan."""
        return self.choices[0]

    @property
    def gap(self) -> float:
        """By what part the best plan can be beaten at most; 0 where it is proven."""
        return max(0.0, self.best.value / self.bound - 1)


def default_batch(spec: ModelSpec, fleet: Fleet) -> int:
    """Return sequences for a step of about TOKENS tokens: a power of two, and at least the fleet's chips over 8."""
    wanted = max(1, TOKENS // spec.seq_len, fleet.chips // 8)
    return 1 << (wanted - 1).bit_length()


def search(
    spec: ModelSpec,
    fleet: Fleet,
    *,
    global_batch: int | None = None,
    precisions: Sequence[Precision] = ("bf16",),
    objective: Objective = "time",
    within_s: float | None = None,
    keep: int = 5,
    may: Callable[[Space], Mask] | None = None,
    budget_s: float = 20.0,
    calibration: Calibration | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> PlanSet:
    """Return the best plans.

    `may` marks the layouts that may be used, such as those that a tool can run.
    With the objective cost or energy, parts of the fleet are tried too (halves, quarters, ...), and `within_s` is the
    longest step allowed. Raises BadInput where no plan fits, with the plan that comes nearest and by how much it misses.
    """
    began = clock()
    batch = global_batch or default_batch(spec, fleet)
    _check_wishes(spec, fleet, batch, objective, within_s)
    check_formats(fleet, precisions)
    k = calibration or shipped().calibration
    spaces = [space(spec, part, global_batch=batch, precisions=precisions) for part in _parts(fleet, objective)]
    if may is not None:
        spaces = [one.taken(may(one)) for one in spaces]
    priced = [price(spec, one, k) for one in spaces if len(one)]
    if not priced:
        raise BadInput(_nothing_divides(spec, fleet, batch), "Change the batch or the number of chips.")
    found = _Best(keep=keep, objective=objective, within_s=within_s)
    count, left = _cut_in_order(spec, priced, k, found, lambda: clock() - began > budget_s)
    if not found.choices:
        raise BadInput(*_nothing_fits(spec, fleet, priced, k, within_s))
    return PlanSet(
        spec=spec,
        fleet=fleet,
        objective=objective,
        choices=tuple(found.choices),
        layouts=sum(len(one) for one in spaces),
        cut=count,
        bound=min(left, found.choices[0].value),
        took_s=clock() - began,
    )


def _check_wishes(spec: ModelSpec, fleet: Fleet, batch: int, objective: Objective, within_s: float | None) -> None:
    if not 1 <= batch <= 1 << 20:
        raise BadInput(f"A batch of {batch} sequences.", f"Between 1 and {1 << 20} can be planned.")
    if within_s is not None and not 0 < within_s < 1e7:
        raise BadInput(f"A step within {within_s} s.", "Give a time above 0.")
    if objective == "cost" and any(pool.price is None for pool in fleet.pools):
        raise BadInput("The fleet has no prices.", f"Add yuan for a chip-hour, as in {fleet.name}/price12.5.")
    if spec.seq_len * batch > 1 << 34:
        raise BadInput(f"{spec.seq_len * batch} tokens a step.", "Give a smaller batch.")


def _parts(fleet: Fleet, objective: Objective) -> list[Fleet]:
    """Return the fleet, and for cost and energy its halves down to one chip of each pool."""
    parts = [fleet]
    while objective != "time" and all(pool.count % 2 == 0 for pool in parts[-1].pools):
        parts.append(Fleet(pools=tuple(replace(pool, count=pool.count // 2) for pool in parts[-1].pools)))
    return parts


def weight(fleet: Fleet, objective: Objective) -> float:
    """Return what a second of the fleet counts: 1, yuan, or kWh."""
    if objective == "cost":
        return sum(pool.count * (pool.price or 0.0) for pool in fleet.pools) / 3600
    if objective == "energy":
        return sum(pool.count * pool.chip.power_w for pool in fleet.pools) / 3.6e6
    return 1.0


@dataclass(slots=True, kw_only=True)
class _Best:
    """The best plans so far."""

    keep: int
    objective: Objective
    within_s: float | None
    choices: list[Choice] = field(default_factory=list)

    def offer(self, choice: Choice) -> None:
        if self.within_s is None or choice.estimate.step_s <= self.within_s:
            self.choices = sorted([*self.choices, choice], key=lambda one: (one.value, one.fleet.chips, one.plan.key))[: self.keep]

    def beaten_by(self, bound: float) -> bool:
        return len(self.choices) < self.keep or bound < self.choices[-1].value


def _cut_in_order(spec: ModelSpec, priced: Sequence[Priced], k: Calibration, found: _Best, late: Callable[[], bool]) -> tuple[int, float]:
    """Cut layouts in the order of their bounds; return how many, and the least bound that was left."""
    allowed = found.within_s or np.inf
    bounds = np.concatenate(
        [np.where(one.bound_s <= allowed, one.bound_s, np.inf) * weight(one.space.fleet, found.objective) for one in priced]
    )
    owner = np.concatenate([np.full(len(one.bound_s), at) for at, one in enumerate(priced)])
    start = np.cumsum([0, *(len(one.bound_s) for one in priced)])
    order = np.argsort(bounds, kind="stable")
    for count, at in enumerate(order):
        bound = float(bounds[at])
        if not np.isfinite(bound) or not found.beaten_by(bound) or late():
            return count, bound
        one = priced[owner[at]]
        row = int(at - start[owner[at]])
        if (exact := cut_row(spec, one, row)) is not None:
            plan = plan_of(one.space, row, exact)
            estimate = predict(spec, one.space.fleet, plan, k)
            value = estimate.step_s * weight(one.space.fleet, found.objective)
            found.offer(Choice(fleet=one.space.fleet, plan=plan, estimate=estimate, value=value))
    return len(order), float("inf")


def cut_row(spec: ModelSpec, priced: Priced, row: int) -> Cut | None:
    """Return the exact best stages of one layout, or None where it does not fit."""
    return cut(priced.costs(row), spec.layers, least=int(priced.space.layouts.vp[row]), total=priced.total(row))


def plan_of(found: Space, row: int, exact: Cut) -> Plan:
    """Return the plan of a row of the space with its stages."""
    layout: LayoutColumns = found.layouts
    names = ("tp", "pp", "vp", "dp", "cp", "ep", "zero", "micro_batch", "global_batch")
    precision: Precision = PRECISIONS[int(layout.precision[row])]  # type: ignore[assignment]
    return Plan(
        **{name: int(getattr(layout, name)[row]) for name in names},
        scope="node" if found.node[row] else "global",
        precision=precision,
        stages=exact.stages,
    )


def row_of(found: Space, plan: Plan) -> int:
    """Return the row of a plan's layout. Raises NotFound where the space does not hold it."""
    same = found.node == (plan.scope == "node")
    for name in ("tp", "pp", "vp", "dp", "cp", "ep", "zero", "micro_batch"):
        same = same & (getattr(found.layouts, name) == getattr(plan, name))
    rows = np.flatnonzero(same & (found.layouts.precision == PRECISIONS.index(plan.precision)))
    if not len(rows):
        raise NotFound(f"{plan.name} is not a layout of the space.", "It lists what divides evenly on the whole fleet.")
    return int(rows[0])


def _nothing_divides(spec: ModelSpec, fleet: Fleet, batch: int) -> str:
    return (
        f"No layout of {spec.name} on {fleet.chips} chips divides: its heads, its feed-forward width, its {spec.layers} layers "
        f"and a batch of {batch} have no common cut."
    )


def _nothing_fits(spec: ModelSpec, fleet: Fleet, priced: Sequence[Priced], k: Calibration, within_s: float | None) -> tuple[str, str]:
    """Return what to say where no plan is left: too slow, or too large, and by how much."""
    if within_s is not None:
        unbound = search(spec, fleet, global_batch=int(priced[0].space.layouts.global_batch[0]), keep=1, calibration=k)
        fastest = unbound.best
        return (
            f"No plan takes a step within {within_s:g} s; the fastest takes {fastest.estimate.step_s:.3g} s: {fastest.plan.name}.",
            "Allow more time, or use more chips.",
        )
    over, row, one = min(((*one.least_over_gib(), one) for one in priced), key=lambda found: found[0])
    layout = one.space.layouts
    cuts = " ".join(f"{name}{int(getattr(layout, name)[row])}" for name in ("tp", "pp", "cp", "dp", "zero"))
    return (
        f"{spec.name} with {spec.parameters / 1e9:.3g} billion parameters does not fit on {fleet.name}: "
        f"the nearest layout ({cuts}, everything recomputed) lacks {over:.1f} GiB a chip.",
        "Use more chips, chips with more memory, or a smaller model.",
    )
