"""Cambricon MLUs, over CNCL, with the plug-in torch_mlu. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter

ADAPTER = Adapter(
    vendor="cambricon",
    torch_device="mlu",
    collective="cncl",
)
