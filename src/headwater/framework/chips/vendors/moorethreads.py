"""Moore Threads GPUs, over MCCL, with the plug-in torch_musa. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter

ADAPTER = Adapter(
    vendor="moorethreads",
    torch_device="musa",
    collective="mccl",
)
