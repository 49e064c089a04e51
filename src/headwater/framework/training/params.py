"""Parameters that every training step takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.core.steps import Params


class CourseParams(Params):
    """How a model is trained."""

    steps: int = Field(200, ge=1, le=10_000_000, description="Optimizer steps.")
    batch: int = Field(64, ge=1, le=1 << 20, description="Examples a step, over all ranks.")
    micro: int = Field(64, ge=1, le=1 << 20, description="Examples that go through the model at once on a rank; gradients add up.")
    learning_rate: float = Field(0.003, gt=0, le=1)
    warm_up_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, ge=0, description="Largest norm of the gradient; 0 clips nothing.")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="A chip that lacks it computes in what its adapter says.")
    ranks: int = Field(1, ge=1, le=64, description="Processes of this machine that share each step.")
    layout: Literal["replicated", "sharded"] = Field("replicated", description="Every rank holds the model, or a share of it (FSDP2).")
    evaluate_every: int = Field(50, ge=1)
    checkpoint_every: int = Field(100, ge=1)
    checkpoint_every_s: float = Field(600.0, gt=0, description="Write one too when so many seconds have passed.")
    threads: int = Field(1, ge=1, le=256, description="CPU threads of each rank.")
