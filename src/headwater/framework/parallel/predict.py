"""What a plan will do before it runs: seconds of a step with an interval, by cause; bytes of every stage; cost and energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from headwater.core.errors import BadInput
from headwater.framework.parallel.columns import PRECISIONS, ChipColumns, Floats, LayoutColumns, ModelColumns
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.fleet import Fleet, Pool
from headwater.framework.parallel.memory import Memory, needs, stage_memory
from headwater.framework.parallel.plan import Plan, Precision, check
from headwater.framework.parallel.times import Calibration, LayerTimes, Terms, Units, unit_times, whole_step
from headwater.framework.program.model_spec import ModelSpec

GIB = float(1 << 30)
TERMS = tuple(one.name for one in fields(Terms))
USES = tuple(one.name for one in fields(Memory))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNeed:
    """Memory of one stage on each of its chips, in GiB."""

    chip: str
    layers: int
    recomputed: int
    uses: dict[str, float]
    total_gib: float
    capacity_gib: float

    @property
    def over_gib(self) -> float:
        """By how much it does not fit; 0 where it does."""
        return max(0.0, self.total_gib - self.capacity_gib)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a plan is predicted to do. The interval covers 80 % of published runs that the constants had not seen."""

    step_s: float
    low_s: float
    high_s: float
    tokens_s_chip: float
    terms: dict[str, float]
    """Seconds of the step by cause; they add up to step_s."""
    stages: tuple[StageNeed, ...]
    energy_kwh: float
    """Of a step, with every chip at its rated power: an upper bound."""
    cost: float | None
    """Yuan for a step; None where a pool has no price."""
    assumed: tuple[str, ...]
    """What no source gives of these chips, and what stood there instead."""

    @property
    def fullest(self) -> StageNeed:
        """The stage with the least room left."""
        return max(self.stages, key=lambda stage: stage.total_gib / stage.capacity_gib)

    @property
    def fits(self) -> bool:
        """Whether every stage fits."""
        return all(stage.over_gib == 0 for stage in self.stages)


def check_formats(fleet: Fleet, precisions: Sequence[Precision]) -> None:
    """Raise BadInput where a chip of the fleet has no rate for a number format."""
    for pool in fleet.pools:
        peaks = dict(zip(PRECISIONS, ChipColumns.of([pool.chip]).peak[0], strict=True))
        lacking = [name for name in precisions if not peaks[name]]
        if lacking:
            has = ", ".join(name for name in PRECISIONS if peaks[name])
            raise BadInput(f"The catalogue knows no {', '.join(lacking)} rate of {pool.chip.id}.", f"It has {has}.")


def layout_of(plan: Plan, fleet: Fleet) -> LayoutColumns:
    """Return one plan as columns of one row."""
    names = ("tp", "pp", "vp", "dp", "cp", "ep", "zero", "micro_batch", "global_batch")
    columns = {name: np.array([getattr(plan, name)], float) for name in names}
    return LayoutColumns(
        **columns,
        zero_ranks=np.array([shard_ranks(plan.dp * plan.cp, plan.tp, plan.scope == "node", fleet)], float),
        recompute=np.array([sum(stage.recomputed for stage in plan.stages) / plan.layers]),
        precision=np.array([PRECISIONS.index(plan.precision)], float),
        pure=np.zeros(1),
    )


def shard_ranks(ranks: int, tp: int, node: bool, fleet: Fleet) -> int:
    """Return over how many ranks states are sharded: all, or the most of a server's that divide them."""
    if not node:
        return ranks
    most = max(1, min(pool.chip.fast_group for pool in fleet.pools) // tp)
    return max(size for size in range(1, min(most, ranks) + 1) if ranks % size == 0)


def pools_of_stages(fleet: Fleet, *, pp: int, ranks: int) -> tuple[Pool, ...]:
    """Return the pool of each stage, with `ranks` chips a stage. Raises BadInput where a pool does not divide into stages."""
    odd = [pool for pool in fleet.pools if pool.count % ranks]
    stages = tuple(pool for pool in fleet.pools for _ in range(pool.count // ranks))
    if odd or len(stages) != pp:
        raise BadInput(
            f"{fleet.name} does not divide into {pp} stages of {ranks} chips.",
            "Each pool must hold whole stages: tp x cp x dp divides its count, and pp is the number of stages.",
        )
    return stages


def predict(spec: ModelSpec, fleet: Fleet, plan: Plan, calibration: Calibration | None = None) -> Estimate:
    """Return what a plan will do. Raises BadInput for a plan that cannot be, or a number format that a chip lacks.

    A plan that does not fit in memory is priced all the same: `Estimate.fits` is false.
    """
    check(spec, fleet, plan)
    check_formats(fleet, [plan.precision])
    stages = pools_of_stages(fleet, pp=plan.pp, ranks=plan.tp * plan.cp * plan.dp)
    known = shipped()
    terms = plan_terms(spec, fleet, plan, stages, calibration or known.calibration)
    step = sum(terms.values())
    cost = None
    if all(pool.price is not None for pool in fleet.pools):
        cost = sum(pool.count * (pool.price or 0.0) for pool in fleet.pools) * step / 3600
    return Estimate(
        step_s=step,
        low_s=step * float(np.exp(-known.spread)),
        high_s=step * float(np.exp(known.spread)),
        tokens_s_chip=plan.global_batch * spec.seq_len / step / plan.chips,
        terms=terms,
        stages=stage_needs(spec, fleet, plan, stages),
        energy_kwh=sum(pool.count * pool.chip.power_w for pool in fleet.pools) * step / 3.6e6,
        cost=cost,
        assumed=_assumed(fleet, plan),
    )


def _assumed(fleet: Fleet, plan: Plan) -> tuple[str, ...]:
    """Return what was assumed of the chips and bears on the plan."""
    told = {f"{pool.chip.id}: {one}" for pool in fleet.pools for one in pool.chip.assumed if plan.precision == "tf32" or "TF32" not in one}
    return tuple(sorted(told))


def plan_terms(spec: ModelSpec, fleet: Fleet, plan: Plan, stages: tuple[Pool, ...], k: Calibration) -> dict[str, float]:
    """Return the seconds of a step by cause: the slowest stage rules, and its chips set the pace of messages."""
    model, layout = ModelColumns.of(spec), layout_of(plan, fleet)
    by_pool = {id(pool): unit_times(model, layout, ChipColumns.of([pool.chip]), k) for pool in fleet.pools}
    units = [by_pool[id(pool)] for pool in stages]
    seconds = [
        float((stage.layers * one.layer.total + stage.recomputed * one.layer.forward).item())
        for stage, one in zip(plan.stages, units, strict=True)
    ]
    seconds[-1] += float(units[-1].head.item())
    slowest = int(np.argmax(seconds))
    chip = ChipColumns.of([stages[slowest].chip])
    recomputed = np.array([float(sum(stage.recomputed for stage in plan.stages))])
    terms = whole_step(_mean_units(plan, units), recomputed, np.array([seconds[slowest]]), model, layout, chip, k)
    return {name: float(np.asarray(getattr(terms, name)).reshape(-1)[0]) for name in TERMS}


def _mean_units(plan: Plan, units: list[Units]) -> Units:
    """Return the units of a mean layer where stages run on different chips."""
    if all(one is units[0] for one in units):
        return units[0]
    layers = np.array([stage.layers for stage in plan.stages], float)
    again = np.array([stage.recomputed for stage in plan.stages], float)

    def mean(name: str) -> Floats:
        weights = again if name == "forward" and again.any() else layers
        return np.average([getattr(one.layer, name) for one in units], axis=0, weights=weights)

    return Units(layer=LayerTimes(**{one.name: mean(one.name) for one in fields(LayerTimes)}), head=units[-1].head)


def stage_needs(spec: ModelSpec, fleet: Fleet, plan: Plan, stages: tuple[Pool, ...]) -> tuple[StageNeed, ...]:
    """Return the memory of every stage."""
    model, layout = ModelColumns.of(spec), layout_of(plan, fleet)
    layers = np.array([float(stage.layers) for stage in plan.stages])
    recomputed = np.array([float(stage.recomputed) for stage in plan.stages])
    found = stage_memory(needs(model, layout), model, layout, stage=np.arange(plan.pp, dtype=float), layers=layers, recomputed=recomputed)
    uses = {name: _spread(getattr(found, name), plan.pp) / GIB for name in USES}
    return tuple(
        StageNeed(
            chip=pool.chip.id,
            layers=stage.layers,
            recomputed=stage.recomputed,
            uses={name: float(values[at]) for name, values in uses.items()},
            total_gib=float(sum(values[at] for values in uses.values())),
            capacity_gib=pool.chip.memory_gib,
        )
        for at, (stage, pool) in enumerate(zip(plan.stages, stages, strict=True))
    )


def _spread(values: Floats, size: int) -> Floats:
    return np.broadcast_to(values, (size,))
