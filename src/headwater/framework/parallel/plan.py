"""A plan: how the work of a step is cut, stage by stage. And why one does not hold together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.core.errors import BadInput
from headwater.framework.parallel.columns import PRECISIONS
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.program.model_spec import ModelSpec

Scope = Literal["global", "node"]
Precision = Literal["tf32", "bf16", "fp8", "mxfp8", "nvfp4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One pipeline stage: how many layers it holds, and how many of those run their forward pass again."""

    layers: int
    recomputed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole layout. Ranks are laid out tensor first, then context, data, pipeline."""

    tp: int = 1
    pp: int = 1
    vp: int = 1
    dp: int = 1
    cp: int = 1
    ep: int = 1
    zero: int = 1
    scope: Scope = "global"
    micro_batch: int = 1
    global_batch: int
    precision: Precision = "bf16"
    stages: tuple[Stage, ...]

    @property
    def chips(self) -> int:
        """Over how many chips it runs."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def micro_batches(self) -> int:
        """How many micro-batches a pipeline works through in a step."""
        return self.global_batch // (self.dp * self.micro_batch)

    @property
    def name(self) -> str:
        """The plan in a line."""
        cuts = [("tp", self.tp), ("pp", self.pp), ("vp", self.vp), ("cp", self.cp), ("ep", self.ep), ("dp", self.dp)]
        shown = " ".join(f"{name}{value}" for name, value in cuts if value > 1) or "one chip"
        zero = f" zero{self.zero}{'' if self.scope == 'global' else '/node'}" if self.dp * self.cp > 1 and self.zero else ""
        again = sum(stage.recomputed for stage in self.stages)
        return f"{shown}{zero} mb{self.micro_batch} {self.precision}" + (f" recompute {again}/{self.layers}" if again else "")

    @property
    def layers(self) -> int:
        """How many layers the stages hold."""
        return sum(stage.layers for stage in self.stages)

    @property
    def key(self) -> tuple[object, ...]:
        """Orders plans of equal time: the simpler cut first, always in the same way."""
        cuts = (self.pp, self.tp, self.cp, self.ep, self.vp, self.zero, self.scope, self.micro_batch, PRECISIONS.index(self.precision))
        return (*cuts, tuple((stage.layers, stage.recomputed) for stage in self.stages))


def uniform(spec: ModelSpec, *, pp: int = 1, recompute: float = 0.0) -> tuple[Stage, ...]:
    """Return stages as equal as they can be; the remainder goes to the inner ones, away from embedding and head."""
    share, rest = divmod(spec.layers, pp)
    start = (pp - rest) // 2
    counts = [share + (1 if start <= at < start + rest else 0) for at in range(pp)]
    return tuple(Stage(layers=count, recomputed=round(count * recompute)) for count in counts)


def problems(spec: ModelSpec, fleet: Fleet, plan: Plan) -> list[str]:
    """Return everything that makes a plan impossible, memory aside."""
    sizes = (plan.tp, plan.pp, plan.vp, plan.dp, plan.cp, plan.ep, plan.micro_batch, plan.global_batch)
    if any(size < 1 for size in sizes) or plan.zero not in (0, 1, 2, 3):
        return ["Every size is at least 1, and zero is 0, 1, 2 or 3."]
    found = []
    if plan.chips != fleet.chips:
        found.append(f"tp x pp x dp x cp is {plan.chips}, but the fleet has {fleet.chips} chips.")
    if plan.global_batch % (plan.dp * plan.micro_batch):
        found.append(f"A batch of {plan.global_batch} does not divide by dp {plan.dp} x micro-batch {plan.micro_batch}.")
    if len(plan.stages) != plan.pp or plan.layers != spec.layers or any(not 0 <= s.recomputed <= s.layers for s in plan.stages):
        found.append(f"The {len(plan.stages)} stages hold {plan.layers} layers; {plan.pp} stages must hold {spec.layers}.")
    if plan.vp > 1 and (plan.pp == 1 or any(stage.layers < plan.vp for stage in plan.stages)):
        found.append(f"{plan.vp} virtual stages need a pipeline and as many layers in each stage.")
    if spec.seq_len % plan.cp:
        found.append(f"A sequence of {spec.seq_len} does not divide by cp {plan.cp}.")
    if plan.dp % plan.ep:
        found.append(f"ep {plan.ep} does not divide dp {plan.dp}.")
    return found + [one for block in spec.blocks for one in _block_problems(block.heads, block.kv_heads, block.ffn, block.experts, plan)]


def _block_problems(heads: int, kv_heads: int, ffn: int, experts: int, plan: Plan) -> list[str]:
    found = []
    if heads % plan.tp:
        found.append(f"{heads} heads do not divide by tp {plan.tp}; it may be {_divisors(heads)}.")
    if heads and kv_heads % plan.tp and plan.tp % kv_heads:
        found.append(f"{kv_heads} key-value heads neither divide by tp {plan.tp} nor can be repeated evenly.")
    if ffn % plan.tp:
        found.append(f"A feed-forward width of {ffn} does not divide by tp {plan.tp}.")
    if experts % plan.ep:
        found.append(f"{experts} experts do not divide by ep {plan.ep}.")
    if heads == 0 and plan.cp > 1:
        found.append("Context parallelism needs attention.")
    return found


def _divisors(number: int) -> str:
    return ", ".join(str(size) for size in range(1, min(number, 256) + 1) if number % size == 0)


def check(spec: ModelSpec, fleet: Fleet, plan: Plan) -> None:
    """Raise BadInput with everything that makes a plan impossible, memory aside."""
    found = problems(spec, fleet, plan)
    if found:
        raise BadInput(f"The plan {plan.name} cannot be: {' '.join(found)}", "Change the sizes, or let `headwater parallel` choose.")
