"""NVIDIA GPUs, over NCCL. Not exercised by this project yet: run the suite there."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.framework.chips.adapter import Adapter, Format, plain


def formats() -> Mapping[str, Format]:
    """Return what each number format becomes on the oldest device here: bf16 needs compute capability 8.0, 8-bit floats 8.9."""
    import torch

    found = dict(plain())
    if not torch.cuda.is_available():
        return found
    least = min(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
    if least < (8, 0):
        lacks = f"compute capability {least[0]}.{least[1]} has none"
        found |= {"bf16": Format("fp16", lacks), "fp8": Format("fp16", lacks)}
    if least >= (8, 9):
        found["fp8"] = Format("fp8")
    return found


ADAPTER = Adapter(
    vendor="nvidia",
    torch_device="cuda",
    collective="nccl",
    dtypes=formats,
)
