"""Plans as JSON has them: what the command with --json and the route both answer with."""

from __future__ import annotations

from pydantic import BaseModel, Field

from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.predict import Estimate
from headwater.framework.parallel.search import Choice, PlanSet
from headwater.framework.parallel.why import Answer


class StageOut(BaseModel):
    """A pipeline stage."""

    chip: str = Field(examples=["nvidia/a100/sxm4-80gb"])
    layers: int
    recomputed: int = Field(description="How many of its layers run their forward pass again.")
    memory_gib: dict[str, float] = Field(description="On each of its chips, by use.")
    total_gib: float
    capacity_gib: float


class PlanOut(BaseModel):
    """A plan and what is predicted of it."""

    name: str = Field(examples=["tp4 pp2 dp8 zero1 mb1 bf16"])
    fleet: str
    tp: int
    pp: int
    vp: int = Field(description="Virtual stages a stage.")
    dp: int
    cp: int
    ep: int
    zero: int
    scope: str = Field(description="Whether states are sharded over all ranks (global) or within a server (node).")
    micro_batch: int
    global_batch: int
    precision: str
    step_s: float
    low_s: float = Field(description="The 80 % interval of step_s.")
    high_s: float
    tokens_s_chip: float
    terms: dict[str, float] = Field(description="Seconds of the step by cause.")
    fits: bool
    stages: list[StageOut]
    energy_kwh: float = Field(description="Of a step at rated power: an upper bound.")
    cost: float | None = Field(description="Yuan for a step; null where a pool has no price.")
    assumed: list[str] = Field(description="What no source gives of these chips, and what stood there instead.")


class WhyOut(BaseModel):
    """Why another plan was not chosen."""

    asked: str
    reasons: list[str]
    plan: PlanOut | None
    nearest: str | None = Field(description="The nearest plan that fits, where this one does not.")


class PlansOut(BaseModel):
    """The best plans of a model on a fleet."""

    model: str = Field(examples=["llama-3-70b"])
    parameters: int
    fleet: str = Field(examples=["64xnvidia/a100/sxm4-80gb"])
    objective: str
    layouts: int = Field(description="How many layouts were priced.")
    gap: float = Field(description="By what part the best plan can be beaten at most, within the space and the cost model.")
    took_s: float
    calibration: str = Field(description="What the constants were fitted to.")
    plans: list[PlanOut]
    why_not: WhyOut | None = None


def plan_out(fleet: str, plan: Plan, estimate: Estimate) -> PlanOut:
    """Return a plan with its estimate."""
    sizes = ("tp", "pp", "vp", "dp", "cp", "ep", "zero", "scope", "micro_batch", "global_batch", "precision", "name")
    figures = ("step_s", "low_s", "high_s", "tokens_s_chip", "terms", "fits", "energy_kwh", "cost")
    return PlanOut(
        fleet=fleet,
        **{name: getattr(plan, name) for name in sizes},
        **{name: getattr(estimate, name) for name in figures},
        assumed=list(estimate.assumed),
        stages=[
            StageOut(
                chip=stage.chip,
                layers=stage.layers,
                recomputed=stage.recomputed,
                memory_gib=stage.uses,
                total_gib=stage.total_gib,
                capacity_gib=stage.capacity_gib,
            )
            for stage in estimate.stages
        ],
    )


def plans_out(found: PlanSet, *, asked: str | None = None, answer: Answer | None = None) -> PlansOut:
    """Return the best plans, with why another was not chosen where that was asked."""
    return PlansOut(
        model=found.spec.name,
        parameters=found.spec.parameters,
        fleet=found.fleet.name,
        objective=found.objective,
        layouts=found.layouts,
        gap=found.gap,
        took_s=found.took_s,
        calibration=shipped().provenance,
        plans=[_choice_out(one) for one in found.choices],
        why_not=None if answer is None else _why_out(found, asked or "", answer),
    )


def _choice_out(one: Choice) -> PlanOut:
    return plan_out(one.fleet.name, one.plan, one.estimate)


def _why_out(found: PlanSet, asked: str, answer: Answer) -> WhyOut:
    known = answer.plan is not None and answer.estimate is not None
    return WhyOut(
        asked=asked,
        reasons=list(answer.reasons),
        plan=plan_out(found.fleet.name, answer.plan, answer.estimate) if known and answer.plan and answer.estimate else None,
        nearest=None if answer.nearest is None else answer.nearest.name,
    )
