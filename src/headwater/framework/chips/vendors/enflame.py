"""Enflame GCUs, over ECCL; device and library names are inferred. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter

ADAPTER = Adapter(
    vendor="enflame",
    torch_device="gcu",
    collective="eccl",
)
