"""AMD GPUs, over RCCL, which torch calls nccl. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter, Gap

ADAPTER = Adapter(
    vendor="amd",
    torch_device="cuda",
    collective="nccl",
    marks=("amd", "instinct", "radeon"),
    gaps=(
        Gap(
            what="torch names the collective library nccl though it is RCCL",
            instead="nothing: the name is only a name",
            source="ROCm documentation",
        ),
    ),
)
