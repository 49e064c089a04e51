"""Iluvatar GPUs, whose stack answers to torch.cuda. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter

ADAPTER = Adapter(
    vendor="iluvatar",
    torch_device="cuda",
    collective="nccl",
    marks=("iluvatar", "bi-v", "mr-v"),
)
