"""Kunlunxin XPUs, whose newer stacks answer to torch.cuda. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter, Gap

ADAPTER = Adapter(
    vendor="kunlunxin",
    torch_device="cuda",
    collective="nccl",
    marks=("kunlun", "p800", "r200", "r300", "r480"),
    gaps=(
        Gap(
            what="gather, scatter and all-to-all with uneven sizes are absent",
            instead="all-gather, then a slice",
            source="FlagCX README (2025-11)",
        ),
    ),
)
