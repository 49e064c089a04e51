"""Why not another plan: what makes it impossible, by how much it does not fit, or which causes make it slower."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from headwater.core.errors import BadInput, NotFound
from headwater.framework.parallel.bound import Priced, price
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.plan import Plan, problems, uniform
from headwater.framework.parallel.predict import Estimate, pools_of_stages, predict
from headwater.framework.parallel.search import PlanSet, cut_row, plan_of, row_of
from headwater.framework.parallel.space import space

SIZES = ("tp", "pp", "vp", "cp", "ep", "dp", "mb", "zero")
FIELDS = {"mb": "micro_batch"}
PART = re.compile(r"(tp|pp|vp|cp|ep|dp|mb|zero)=?([0-9]{1,6})(/node)?")
MOST_TRIED = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Why a plan was not chosen."""

    plan: Plan | None
    estimate: Estimate | None
    reasons: tuple[str, ...]
    nearest: Plan | None = None
    """The nearest plan that fits, where this one does not."""


def why_not(plans: PlanSet, asked: str) -> Answer:
    """Return why a layout, written as `tp8 pp4 zero1 mb2`, is not the best plan; sizes left out are 1, dp is what is left.

    Raises BadInput where the text is no layout.
    """
    plan = parsed(plans, asked)
    wrong = problems(plans.spec, plans.fleet, plan)
    if not wrong:
        try:
            pools_of_stages(plans.fleet, pp=plan.pp, ranks=plan.tp * plan.cp * plan.dp)
        except BadInput as error:
            wrong = [str(error)]
    if wrong:
        return Answer(plan=None, estimate=None, reasons=tuple(wrong))
    priced = _priced(plans, plan)
    exact = _exact(plans, priced, plan)
    if exact is None:
        return _too_large(plans, priced, plan)
    return Answer(plan=exact, estimate=predict(plans.spec, plans.fleet, exact), reasons=_slower(plans, exact))


def parsed(plans: PlanSet, asked: str) -> Plan:
    """Return the plan that a text describes, with equal stages."""
    words = asked.replace(",", " ").split()
    found = [PART.fullmatch(word.lower()) for word in words]
    if not words or len(words) > len(SIZES) or any(one is None for one in found):
        raise BadInput(f"'{asked[:80]}' is no layout.", f"Write sizes of {', '.join(SIZES)}, as in tp8 pp4 zero1 mb2.")
    given = {one[1]: int(one[2]) for one in found if one is not None}
    node = any(one is not None and one[3] for one in found)
    best = plans.best.plan
    sizes = {name: given.get(name, 1) for name in SIZES if name != "dp"}
    if any(size < 1 for name, size in sizes.items() if name != "zero"):
        raise BadInput(f"'{asked[:80]}' has a size below 1.", "Every size is at least 1.")
    dp = given.get("dp", max(1, plans.fleet.chips // (sizes["tp"] * sizes["pp"] * sizes["cp"])))
    sizes["zero"] = given.get("zero", 1) if dp * sizes["cp"] > 1 else 0
    stages = uniform(plans.spec, pp=min(sizes["pp"], plans.spec.layers))
    return Plan(
        **{FIELDS.get(name, name): size for name, size in sizes.items()},
        dp=dp,
        scope="node" if node else "global",
        global_batch=best.global_batch,
        precision=best.precision,
        stages=stages,
    )


def _priced(plans: PlanSet, plan: Plan) -> Priced:
    found = space(plans.spec, plans.fleet, global_batch=plan.global_batch, precisions=(plan.precision,))
    return price(plans.spec, found, shipped().calibration)


def _exact(plans: PlanSet, priced: Priced, plan: Plan) -> Plan | None:
    """Return the plan with its best stages, or None where no cut of it fits."""
    try:
        row = row_of(priced.space, plan)
    except NotFound:
        return plan if predict(plans.spec, plans.fleet, plan).fits else None
    exact = cut_row(plans.spec, priced, row)
    return None if exact is None else plan_of(priced.space, row, exact)


def _too_large(plans: PlanSet, priced: Priced, plan: Plan) -> Answer:
    """Say by how much the plan misses with everything recomputed, and name the nearest plan that fits."""
    least = replace(plan, stages=uniform(plans.spec, pp=plan.pp, recompute=1.0))
    estimate = predict(plans.spec, plans.fleet, least)
    need = estimate.fullest
    reason = (
        f"It needs {need.total_gib:.1f} GiB a chip with everything recomputed, "
        f"{need.over_gib:.1f} GiB more than the {need.capacity_gib:.0f} there are."
    )
    nearest = _nearest(plans, priced, plan)
    told = (reason,) if nearest is None else (reason, f"The nearest that fits: {nearest.name}.")
    return Answer(plan=least, estimate=estimate, reasons=told, nearest=nearest)


def _nearest(plans: PlanSet, priced: Priced, plan: Plan) -> Plan | None:
    """Return the plan that fits with the fewest doublings and halvings of sizes; among equals the faster."""
    layout = priced.space.layouts
    far = np.abs(layout.zero - plan.zero) + (priced.space.node != (plan.scope == "node"))
    for name in ("tp", "pp", "vp", "cp", "ep", "dp", "micro_batch"):
        far = far + np.abs(np.log2(getattr(layout, name) / getattr(plan, name)))
    order = np.lexsort((priced.bound_s, far))
    for row in order[np.isfinite(priced.bound_s[order])][:MOST_TRIED]:
        exact = cut_row(plans.spec, priced, int(row))
        if exact is not None:
            return plan_of(priced.space, int(row), exact)
    return None


def _slower(plans: PlanSet, plan: Plan) -> tuple[str, ...]:
    """Name the causes that make a plan slower than the best, the largest first, and those that it saves."""
    best, other = plans.best.estimate, predict(plans.spec, plans.fleet, plan)
    change = {name: other.terms[name] - best.terms[name] for name in best.terms}
    more = sorted((name for name in change if change[name] > 0.005 * best.step_s), key=lambda name: -change[name])
    less = sorted((name for name in change if change[name] < -0.005 * best.step_s), key=lambda name: change[name])
    share = other.step_s / best.step_s - 1
    if plan == plans.best.plan:
        return ("It is the best plan.",)
    head = f"A step takes {other.step_s:.3g} s, {share:+.1%} against the best"
    near = ". The intervals overlap: measure both." if other.low_s < best.high_s else "."
    lines = [f"{head}{near}"]
    lines += [f"{name}: {change[name]:+.3g} s" for name in (*more[:4], *less[:2])]
    return tuple(lines)
