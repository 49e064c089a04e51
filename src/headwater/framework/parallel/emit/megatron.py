"""Arguments of Megatron-LM's `pretrain_gpt.py`."""

from __future__ import annotations

import numpy as np

from headwater.framework.parallel.emit import Tool, chunk_layers, even, partly_recomputed
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.space import Mask, Space
from headwater.framework.program.model_spec import ModelSpec

RECIPES = {"fp8": "delayed", "mxfp8": "mxfp8"}


def may(space: Space) -> Mask:
    """ZeRO 0 and 1 everywhere, 3 without a pipeline (Megatron-FSDP); states over all ranks; one class of chips."""
    layout = space.layouts
    sharded = (layout.zero <= 1) | ((layout.zero == 3) & (layout.pp == 1) & (layout.ep == 1))
    return np.asarray((layout.precision != 0) & (layout.precision < 4) & sharded & ~space.node)


def text(spec: ModelSpec, fleet: Fleet, plan: Plan) -> str:  # noqa: ARG001
    """Return the arguments, one a line."""
    return "\n".join([*_model(spec, plan), *_cuts(plan), *_sharding(plan), *_recompute(plan), *_precision(plan)]) + "\n"


def _model(spec: ModelSpec, plan: Plan) -> list[str]:
    block = spec.blocks[0]
    sizes = {
        "num-layers": spec.layers,
        "hidden-size": block.hidden,
        "ffn-hidden-size": block.ffn,
        "num-attention-heads": block.heads,
        "seq-length": spec.seq_len,
        "max-position-embeddings": spec.seq_len,
        "micro-batch-size": plan.micro_batch,
        "global-batch-size": plan.global_batch,
        "tensor-model-parallel-size": plan.tp,
        "pipeline-model-parallel-size": plan.pp,
        "context-parallel-size": plan.cp,
    }
    lines = [f"--{name} {value}" for name, value in sizes.items()]
    lines += ["--swiglu"] if block.mlp_matrices == 3 else []
    lines += ["--group-query-attention", f"--num-query-groups {block.kv_heads}"] if block.kv_heads < block.heads else []
    lines += [] if spec.tied else ["--untie-embeddings-and-output-weights"]
    if block.experts > 1:
        lines += [f"--num-experts {block.experts}", f"--moe-router-topk {block.top_k}", f"--expert-model-parallel-size {plan.ep}"]
    return lines


def _cuts(plan: Plan) -> list[str]:
    lines = ["--sequence-parallel"] if plan.tp > 1 else []
    if plan.pp > 1 and (not even(plan) or plan.stages[0].layers % plan.vp):
        return [*lines, f'--pipeline-model-parallel-layout "{layout_text(plan)}"']
    return lines + ([f"--num-virtual-stages-per-pipeline-rank {plan.vp}"] if plan.vp > 1 else [])


def layout_text(plan: Plan) -> str:
    """Return the layers of every chunk, chunks of all ranks after one another, in Megatron's letters: E, t, L."""
    chunks = ["t" * count for count in chunk_layers(plan)]
    return "|".join(["E" + chunks[0], *chunks[1:-1], chunks[-1] + "L"]) if len(chunks) > 1 else f"E{chunks[0]}L"


def _sharding(plan: Plan) -> list[str]:
    if plan.zero == 3:
        return [
            "--use-megatron-fsdp",
            "--data-parallel-sharding-strategy optim_grads_params",
            "--no-gradient-accumulation-fusion",
            "--use-distributed-optimizer",
            "--ckpt-format fsdp_dtensor",
        ]
    overlap = ["--overlap-grad-reduce", "--overlap-param-gather"]
    return ["--use-distributed-optimizer", *overlap] if plan.zero == 1 and plan.dp * plan.cp > 1 else []


def _recompute(plan: Plan) -> list[str]:
    most = max(stage.recomputed for stage in plan.stages)
    if not most:
        return []
    # the argument counts layers of each virtual stage, alike on all ranks: the stage that needs most decides
    count = -(-most // plan.vp)
    note = [f"# the plan recomputes {[stage.recomputed for stage in plan.stages]} layers by stage"] if partly_recomputed(plan) else []
    return [*note, "--recompute-granularity full", "--recompute-method block", f"--recompute-num-layers {count}"]


def _precision(plan: Plan) -> list[str]:
    low = ["--fp8-format hybrid", f"--fp8-recipe {RECIPES[plan.precision]}"] if plan.precision in RECIPES else []
    return ["--bf16", *low]


TOOL = Tool(name="Megatron-LM", versions="core 0.16", may=may, text=text)
