"""The messages of a plan as `apply` sends them: bytes of whole tensors by kind, for a rank of a stage. From counts alone.

How often stock torch sends what, besides the sizes that the cost model counts too (`work`):
- tensor parallelism adds up the residual stream twice in a layer's forward pass and twice in its backward pass, and a
  recomputed layer twice more;
- ZeRO 0 adds up all gradients once a step;
- ZeRO 2 and 3 without a pipeline gather and scatter everything for each micro-batch, ZeRO 3 gathering layers twice;
  in a pipeline they scatter once a step and gather once, ZeRO 3 layers once more for each micro-batch;
- a stage, and each of its virtual ones, hands the residual stream on, and its gradient back, for each micro-batch.
Numbers are 32-bit. Embedding and head are not cut into tensors.
"""

from __future__ import annotations

from headwater.framework.parallel.columns import LayoutColumns, ModelColumns
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.work import HALF, SINGLE, LayerWork, layer_work
from headwater.framework.program.model_spec import ModelSpec


def expected(spec: ModelSpec, plan: Plan, layout: LayoutColumns, stage: int) -> dict[str, int]:
    """Return bytes by kind (reduce, gather, scatter, send) for a rank of a stage; kinds of which there are none are left out."""
    model = ModelColumns.of(spec)
    work = layer_work(model.blocks[0], model, layout)
    held = plan.stages[stage]
    layers = SINGLE * held.layers * float(work.parameters.item())
    ends = SINGLE * spec.vocab * spec.hidden * _ends(spec, plan, stage)
    found = {
        "reduce": _tensor_sums(plan, work, stage) + (layers + ends if plan.dp > 1 and plan.zero == 0 else 0.0),
        "gather": _gathers(plan, layers, ends),
        "scatter": _scatters(plan, layers + ends),
        "send": _sends(plan, work, stage),
    }
    return {kind: round(size) for kind, size in found.items() if size}


def _ends(spec: ModelSpec, plan: Plan, stage: int) -> int:
    """Return how many of embedding and head a stage holds; one where they are tied."""
    both = 1 if spec.tied else 2
    return both if plan.pp == 1 else int(stage in (0, plan.pp - 1))


def _tensor_sums(plan: Plan, work: LayerWork, stage: int) -> float:
    if plan.tp == 1:
        return 0.0
    held = plan.stages[stage]
    # the work counts what a ring moves for two sums: 2 (n - 1) / n of each
    two = float(work.tensor_bytes.item()) / (2 * (plan.tp - 1) / plan.tp) * SINGLE / HALF
    return plan.micro_batches * (2 * held.layers + held.recomputed) * two


def _gathers(plan: Plan, layers: float, ends: float) -> float:
    if plan.dp == 1 or plan.zero < 2:
        return 0.0
    count = plan.micro_batches
    if plan.pp > 1:
        return (layers * (count + 1) if plan.zero == 3 else layers) + ends
    return count * ((2 if plan.zero == 3 else 1) * layers + ends)


def _scatters(plan: Plan, whole: float) -> float:
    if plan.dp == 1 or plan.zero < 2:
        return 0.0
    return whole * (plan.micro_batches if plan.pp == 1 else 1)


def _sends(plan: Plan, work: LayerWork, stage: int) -> float:
    neighbours = 2 * plan.vp - int(stage == 0) - int(stage == plan.pp - 1)
    stream = float(work.boundary_bytes.item()) * plan.tp * SINGLE / HALF
    return plan.micro_batches * neighbours * stream
