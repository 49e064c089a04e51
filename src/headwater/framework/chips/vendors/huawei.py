"""Ascend NPUs, over HCCL, with Huawei's plug-in torch_npu. Not exercised by this project."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.framework.chips.adapter import Adapter, Format, Gap, plain


def formats() -> Mapping[str, Format]:
    """Return what each number format becomes."""
    return {**plain(), "fp64": Format("fp32", "Ascend NPUs have no 64-bit floats (diffusers PR 10123)")}


ADAPTER = Adapter(
    vendor="huawei",
    torch_device="npu",
    collective="hccl",
    dtypes=formats,
    gaps=(
        Gap(
            what="a cast under DTensor has no sharding rule, so FSDP2 with a later .to(float32) fails",
            instead="its rule is added here",
            source="ms-swift issue 7871",
            pointwise="npu::_npu_dtype_cast",
        ),
        Gap(
            what="bitsandbytes is built by hand, without double quantisation",
            instead="NNCF or ONNX Runtime for compression",
            source="LLaMA-Factory README",
        ),
    ),
)
