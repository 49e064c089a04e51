"""Does a plan compute what one process computes? Real processes over gloo on this machine, losses, gradients and messages.

Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from headwater.framework.parallel.apply import Loss, apply
from headwater.framework.parallel.counted import Counted
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.messages import expected
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.predict import layout_of
from headwater.framework.processes import together
from headwater.framework.program.describe import describe
from headwater.framework.program.model_spec import ModelSpec

TOLERANCE = 1e-5
PART = re.compile(r"^(\d+\.)?module\.")
"""What a part of a pipeline puts before a parameter's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is trained: a module, a whole batch, and the loss of its mean."""

    model: nn.Module
    inputs: torch.Tensor
    targets: torch.Tensor
    loss: Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What came of one plan."""

    plan: str
    loss_off: float
    """Relative difference of the loss."""
    gradient_off: float
    """Largest difference of any gradient on any rank, beside that gradient's largest entry."""
    gradients: int
    """Gradients compared, over all ranks."""
    counted: list[dict[str, int]]
    """Bytes by kind, for each stage."""
    expected: list[dict[str, int]]

    @property
    def same(self) -> bool:
        """Whether losses and gradients agree within TOLERANCE, and messages to the byte."""
        return self.loss_off <= TOLERANCE and self.gradient_off <= TOLERANCE and self.counted == self.expected


def verify(make: Callable[[], Case], plans: Sequence[Plan], *, patience_s: float = 300.0) -> list[Check]:
    """Run every plan, all of the same number of chips, in as many processes, and compare it with one process.

    `make` is a function of a module's top level: every process calls it, and must get the same. Raises StepFailed where a
    process fails or the time is up; no process is left behind.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = (folder, make, list(plans))
        together(_rank, arguments, ranks=plans[0].chips, patience_s=patience_s, whose="plan")
        told = json.loads((Path(folder) / "checks.json").read_text(encoding="utf-8"))
    return [Check(**one) for one in told]


def _rank(rank: int, folder: str, make: Callable[[], Case], plans: Sequence[Plan]) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    # gradients are put together here alone, where the order of gathers does not matter
    logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
    dist.init_process_group("gloo", rank=rank, world_size=plans[0].chips, init_method=f"file://{folder}/meeting")
    try:
        case = make()
        alone = copy.deepcopy(case.model)
        loss = case.loss(alone(case.inputs), case.targets)
        loss.backward()  # type: ignore[no-untyped-call] # torch does not type it
        spec = describe(case.model, [case.inputs])
        checks = [_check(case, plan, spec, alone, loss.detach()) for plan in plans]
        if rank == 0:
            (Path(folder) / "checks.json").write_text(json.dumps([asdict(one) for one in checks]), encoding="utf-8")
    finally:
        dist.destroy_process_group()


def _check(case: Case, plan: Plan, spec: ModelSpec, alone: nn.Module, loss: torch.Tensor) -> Check:
    parallel = apply(case.model, plan, case.inputs, case.loss)
    parallel.step(case.inputs, case.targets)
    parallel.part.zero_grad()
    with Counted() as counted:
        found = parallel.step(case.inputs, case.targets)
    mine: dict[str, Any] = {
        "stage": parallel.mesh.get_local_rank("pp"),
        "bytes": dict(counted.bytes),
        "loss": None,
        **_gradients(parallel.part, alone),
    }
    if found is not None:
        total = found.clone()
        dist.all_reduce(total, group=parallel.mesh.get_group("dp"))
        mine["loss"] = abs(float(total / plan.dp - loss) / float(loss))
    everyone: list[Any] = [None] * plan.chips
    dist.all_gather_object(everyone, mine)
    by_stage = {one["stage"]: one["bytes"] for one in everyone}
    layout = layout_of(plan, Fleet.load(f"{plan.chips}xA100-80"))
    return Check(
        plan=plan.name,
        loss_off=max(one["loss"] for one in everyone if one["loss"] is not None),
        gradient_off=max(one["off"] for one in everyone),
        gradients=sum(one["gradients"] for one in everyone),
        counted=[by_stage[stage] for stage in range(plan.pp)],
        expected=[expected(spec, plan, layout, stage) for stage in range(plan.pp)],
    )


def _gradients(part: nn.Module, alone: nn.Module) -> dict[str, float]:
    """Return the largest difference to the gradients of one process, and how many were compared."""
    known = dict(alone.named_parameters())
    worst, count = 0.0, 0
    for name, parameter in part.named_parameters():
        gradient: Any = parameter.grad
        wanted = known[PART.sub("", name)].grad
        assert gradient is not None, f"{name} has no gradient"
        assert wanted is not None
        whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
        worst = max(worst, float((whole - wanted).abs().max() / wanted.abs().max()))
        count += 1
    return {"off": worst, "gradients": count}
