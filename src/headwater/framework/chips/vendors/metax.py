"""MetaX GPUs, whose stack answers to torch.cuda; its MCCL is not Moore Threads'. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter

ADAPTER = Adapter(
    vendor="metax",
    torch_device="cuda",
    collective="nccl",
    marks=("metax", "mxc", "c500", "c550"),
)
