"""Hygon DCUs, whose stack answers to torch.cuda. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter, Gap

ADAPTER = Adapter(
    vendor="hygon",
    torch_device="cuda",
    collective="nccl",
    marks=("hygon", "dcu", "k100", "z100", "bw1000"),
    gaps=(
        Gap(
            what="collectives between different vendors' chips do not work with its library",
            instead="plans keep its chips to themselves",
            source="FlagCX README (2025-11)",
        ),
    ),
)
