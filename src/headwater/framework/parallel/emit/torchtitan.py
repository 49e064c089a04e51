"""A configuration function for torchtitan's registry of a model."""

from __future__ import annotations

import numpy as np

from headwater.framework.parallel.emit import Tool, chunk_layers, partly_recomputed, shards
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.space import Mask, Space
from headwater.framework.program.model_spec import ModelSpec

BASES = {"llama-3-8b": "llama3_8b", "llama-3-70b": "llama3_70b", "llama-3.1-405b": "llama3_405b"}

OWN_MODEL = "# import your model's configuration function as `model`"


def may(space: Space) -> Mask:
    """ZeRO 2 and 3 (FSDP2), or none on one data rank; bf16, as other formats need converters of each model."""
    layout = space.layouts
    return np.asarray((layout.precision == 1) & ((layout.zero >= 2) | (layout.dp * layout.cp == 1)))


def text(spec: ModelSpec, fleet: Fleet, plan: Plan) -> str:
    """Return Python text that makes the configuration from the registry's own."""
    base = BASES.get(spec.name)
    replicas, size = shards(plan, fleet)
    parallel: dict[str, object] = {
        "data_parallel_replicate_degree": replicas,
        "data_parallel_shard_degree": max(1, size // plan.cp),
        "fsdp_reshard_after_forward": "always" if plan.zero == 3 else "never",
        "tensor_parallel_degree": plan.tp,
        "pipeline_parallel_degree": plan.pp,
        "context_parallel_degree": plan.cp,
        "expert_parallel_degree": plan.ep,
    } | _pipeline(plan)
    local = plan.micro_batch * (plan.micro_batches if plan.pp > 1 else 1)
    lines = [
        "from torchtitan.config import ParallelismConfig",
        "from torchtitan.distributed.activation_checkpoint import FullAC",
        f"from torchtitan.models.llama3.config_registry import {base}" if base else OWN_MODEL,
        "",
        "",
        "def planned():",
        f"    config = {base or 'model'}()",
        f"    config.training.seq_len = {spec.seq_len}",
        f"    config.training.local_batch_size = {local}",
        f"    config.training.global_batch_size = {plan.global_batch}",
        *_recompute(plan),
        "    config.parallelism = ParallelismConfig(",
        *(f"        {name}={value!r}," for name, value in parallel.items()),
        "    )",
        "    return config",
    ]
    return "\n".join(lines) + "\n"


def _pipeline(plan: Plan) -> dict[str, object]:
    if plan.pp == 1:
        return {}
    schedule = {
        "pipeline_parallel_schedule": "Interleaved1F1B" if plan.vp > 1 else "1F1B",
        "pipeline_parallel_microbatch_size": plan.micro_batch,
    }
    return schedule | {"module_fqns_per_model_part": parts(plan)}


def parts(plan: Plan) -> list[list[str]]:
    """Return the modules of every chunk: all ranks' first chunks, then their second."""
    chunks = chunk_layers(plan)
    starts = [sum(chunks[:at]) for at in range(len(chunks))]
    found = [[f"layers.{layer}" for layer in range(start, start + count)] for start, count in zip(starts, chunks, strict=True)]
    found[0].insert(0, "tok_embeddings")
    found[-1] += ["norm", "lm_head"]
    return found


def _recompute(plan: Plan) -> list[str]:
    if not any(stage.recomputed for stage in plan.stages):
        return ["    config.activation_checkpoint = None"]
    note = ["    # the plan recomputes only some layers; FullAC recomputes all of them"] if partly_recomputed(plan) else []
    return [*note, "    config.activation_checkpoint = FullAC.Config()"]


TOOL = Tool(name="torchtitan", versions="0.3.0", may=may, text=text)
