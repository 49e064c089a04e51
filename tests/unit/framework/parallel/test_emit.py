"""Plans as configurations of training tools: only keys that the tools have, and layouts that they can run."""

from __future__ import annotations

import ast
import re

import pytest
import yaml

from headwater.core.errors import NotFound
from headwater.framework.parallel.emit import emitted, tool_of, tools
from headwater.framework.parallel.emit.megatron import layout_text
from headwater.framework.parallel.emit.torchtitan import parts
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan, Stage
from headwater.framework.parallel.search import PlanSet, search
from headwater.framework.program.named import named

MEGATRON = {
    *("num-layers", "hidden-size", "ffn-hidden-size", "num-attention-heads", "num-query-groups", "group-query-attention", "swiglu"),
    *("seq-length", "max-position-embeddings", "untie-embeddings-and-output-weights", "num-experts", "moe-router-topk"),
    *("micro-batch-size", "global-batch-size", "tensor-model-parallel-size", "pipeline-model-parallel-size", "context-parallel-size"),
    *("expert-model-parallel-size", "sequence-parallel", "num-virtual-stages-per-pipeline-rank", "pipeline-model-parallel-layout"),
    *("use-distributed-optimizer", "overlap-grad-reduce", "overlap-param-gather", "use-megatron-fsdp", "data-parallel-sharding-strategy"),
    *("no-gradient-accumulation-fusion", "ckpt-format", "recompute-granularity", "recompute-method", "recompute-num-layers"),
    *("bf16", "fp8-format", "fp8-recipe"),
}
"""Arguments of Megatron-LM that plans may use, read in its documentation and in public training scripts."""
TORCHTITAN = {
    *("data_parallel_replicate_degree", "data_parallel_shard_degree", "fsdp_reshard_after_forward", "tensor_parallel_degree"),
    *("pipeline_parallel_degree", "context_parallel_degree", "expert_parallel_degree", "module_fqns_per_model_part"),
    *("pipeline_parallel_schedule", "pipeline_parallel_microbatch_size"),
}
"""Fields of `torchtitan.config.ParallelismConfig` in the wheel of 0.3.0."""
ACCELERATE_FSDP = {
    *("fsdp_version", "fsdp_auto_wrap_policy", "fsdp_reshard_after_forward", "fsdp_activation_checkpointing", "fsdp_state_dict_type"),
}
ACCELERATE_PARALLEL = {f"parallelism_config_{name}_size" for name in ("dp_replicate", "dp_shard", "tp", "cp")}
"""Arguments of `accelerate launch` in the wheel of 1.15.0."""
LLAMAFACTORY = {
    *("cutoff_len", "per_device_train_batch_size", "gradient_accumulation_steps", "bf16", "tensor_model_parallel_size"),
    *("sequence_parallel", "pipeline_model_parallel_size", "expert_model_parallel_size", "use_distributed_optimizer"),
    *("overlap_grad_reduce", "overlap_param_gather", "recompute_granularity"),
}
"""Keys of the Megatron example files of LLaMA-Factory."""


def best(tool: str, model: str = "llama-3-70b", fleet: str = "64xH100-80", batch: int = 256) -> PlanSet:
    """Return the best plans that a tool can run."""
    return search(named(model), Fleet.load(fleet), global_batch=batch, may=tool_of(tool).may, keep=1)


def test_there_are_four_tools_and_an_unknown_one_is_refused_with_their_names() -> None:
    assert tools() == ("accelerate", "llamafactory", "megatron", "torchtitan")
    with pytest.raises(NotFound, match="accelerate, llamafactory, megatron, torchtitan"):
        tool_of("deepspeed")


@pytest.mark.parametrize("model", ["llama-3-70b", "mixtral-8x7b"])
def test_megatron_gets_arguments_that_it_has_and_its_ranks_multiply_to_the_fleet(model: str) -> None:
    plans = best("megatron", model)
    text = emitted(plans, tool_of("megatron"))
    given = dict(re.findall(r"^--([a-z0-9-]+) ?(.*)$", text, re.MULTILINE))
    assert set(given) <= MEGATRON
    ranks = int(given["tensor-model-parallel-size"]) * int(given["pipeline-model-parallel-size"]) * int(given["context-parallel-size"])
    assert ranks * plans.best.plan.dp == 64


def test_megatron_gets_uneven_stages_as_its_letters() -> None:
    plan = Plan(pp=2, vp=2, dp=1, zero=0, global_batch=8, stages=(Stage(layers=5), Stage(layers=4)))
    assert layout_text(plan) == "Ettt|tt|tt|ttL"
    assert layout_text(plan).count("t") == plan.layers


def test_torchtitan_gets_python_that_parses_with_fields_that_it_has() -> None:
    text = emitted(best("torchtitan"), tool_of("torchtitan"))
    call = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "ParallelismConfig")
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert set(given) <= TORCHTITAN
    degrees = ("data_parallel_replicate", "data_parallel_shard", "tensor_parallel", "pipeline_parallel", "context_parallel")
    product = 1
    for name in degrees:
        product *= given[f"{name}_degree"]
    assert product == 64


def test_torchtitan_gets_every_module_once_and_in_order() -> None:
    plan = Plan(pp=2, vp=2, dp=1, zero=0, global_batch=8, stages=(Stage(layers=5), Stage(layers=4)))
    assert [name for part in parts(plan) for name in part] == [
        "tok_embeddings",
        *(f"layers.{layer}" for layer in range(9)),
        "norm",
        "lm_head",
    ]
    assert [len(part) for part in parts(plan)] == [4, 2, 2, 4]


def test_accelerate_gets_yaml_with_keys_that_it_has_and_never_a_pipeline() -> None:
    plans = best("accelerate")
    told = yaml.safe_load(emitted(plans, tool_of("accelerate")))
    assert plans.best.plan.pp == 1
    assert set(told["fsdp_config"]) <= ACCELERATE_FSDP
    assert set(told["parallelism_config"]) <= ACCELERATE_PARALLEL
    product = 1
    for size in told["parallelism_config"].values():
        product *= size
    assert product == told["num_processes"] == 64


def test_llamafactory_gets_yaml_with_keys_that_it_has_and_the_whole_batch() -> None:
    plans = best("llamafactory")
    told = yaml.safe_load(emitted(plans, tool_of("llamafactory")))
    plan = plans.best.plan
    assert set(told) <= LLAMAFACTORY
    assert (plan.cp, plan.vp) == (1, 1)
    assert told["per_device_train_batch_size"] * told["gradient_accumulation_steps"] * plan.dp == 256


def test_what_a_tool_cannot_say_is_said_in_a_comment() -> None:
    plans = best("llamafactory", fleet="64xA100-40")
    plan = plans.best.plan
    text = emitted(plans, tool_of("llamafactory"))
    assert 0 < sum(stage.recomputed for stage in plan.stages) < plan.layers
    assert "# the plan recomputes only some layers" in text
