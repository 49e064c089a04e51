"""A configuration file for `accelerate launch --config_file`."""

from __future__ import annotations

import numpy as np

from headwater.framework.parallel.emit import Tool, partly_recomputed, shards
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.space import Mask, Space
from headwater.framework.program.model_spec import ModelSpec


def may(space: Space) -> Mask:
    """FSDP2 with ZeRO 2 or 3, tensor and context parallelism; no pipeline, no expert parallelism; bf16."""
    layout = space.layouts
    alone = layout.dp * layout.cp == 1
    return np.asarray((layout.pp == 1) & (layout.ep == 1) & (layout.precision == 1) & ((layout.zero >= 2) | alone))


def text(spec: ModelSpec, fleet: Fleet, plan: Plan) -> str:
    """Return the YAML file, and the Trainer's two batch arguments as comments."""
    import yaml

    replicas, size = shards(plan, fleet)
    recompute = any(stage.recomputed for stage in plan.stages)
    told = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP",
        "mixed_precision": "bf16",
        "num_machines": -(-plan.chips // fleet.pools[0].chip.fast_group),
        "num_processes": plan.chips,
        "fsdp_config": {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": plan.zero == 3,
            "fsdp_activation_checkpointing": recompute,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        },
        "parallelism_config": {
            "parallelism_config_dp_replicate_size": replicas,
            "parallelism_config_dp_shard_size": max(1, size // plan.cp),
            "parallelism_config_tp_size": plan.tp,
            "parallelism_config_cp_size": plan.cp,
        },
    }
    note = "# the plan recomputes only some layers; the tool recomputes all of them\n" if partly_recomputed(plan) else ""
    batch = (
        f"# per_device_train_batch_size {plan.micro_batch}, gradient_accumulation_steps {plan.micro_batches}, sequences of {spec.seq_len}\n"
    )
    return note + batch + str(yaml.safe_dump(told, sort_keys=False))


TOOL = Tool(name="accelerate", versions="1.15.0", may=may, text=text)
