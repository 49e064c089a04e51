"""The layout part of a LLaMA-Factory training file for its Megatron back end (`USE_MCA=1`)."""

from __future__ import annotations

import numpy as np

from headwater.framework.parallel.emit import Tool, partly_recomputed
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.space import Mask, Space
from headwater.framework.program.model_spec import ModelSpec


def may(space: Space) -> Mask:
    """ZeRO 0 and 1, tensor, pipeline and expert parallelism without virtual stages; bf16."""
    layout = space.layouts
    return np.asarray((layout.cp == 1) & (layout.vp == 1) & (layout.zero <= 1) & (layout.precision == 1) & ~space.node)


def text(spec: ModelSpec, fleet: Fleet, plan: Plan) -> str:  # noqa: ARG001
    """Return the YAML keys; model, data and output are the user's."""
    import yaml

    told: dict[str, object] = {
        "cutoff_len": spec.seq_len,
        "per_device_train_batch_size": plan.micro_batch,
        "gradient_accumulation_steps": plan.micro_batches,
        "bf16": True,
        "tensor_model_parallel_size": plan.tp,
        "sequence_parallel": plan.tp > 1,
        "pipeline_model_parallel_size": plan.pp,
        "expert_model_parallel_size": plan.ep,
        "use_distributed_optimizer": plan.zero == 1,
        "overlap_grad_reduce": plan.zero == 1,
        "overlap_param_gather": plan.zero == 1,
    }
    if any(stage.recomputed for stage in plan.stages):
        told["recompute_granularity"] = "full"
    counts = [stage.layers for stage in plan.stages]
    note = "# the plan recomputes only some layers; the tool recomputes all of them\n" if partly_recomputed(plan) else ""
    note += f"# the plan's stages hold {counts} layers; the tool cuts equally\n" if len(set(counts)) > 1 else ""
    return note + str(yaml.safe_dump(told, sort_keys=False))


TOOL = Tool(name="LLaMA-Factory", versions="0.9.5 with mcore_adapter", may=may, text=text)
