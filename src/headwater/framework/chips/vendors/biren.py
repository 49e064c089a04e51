"""Biren GPUs; the device name is inferred, and no source names the collective library. Not exercised by this project."""

from __future__ import annotations

from headwater.framework.chips.adapter import Adapter, Gap

ADAPTER = Adapter(
    vendor="biren",
    torch_device="supa",
    collective="",
    gaps=(
        Gap(
            what="no source names the back end of process groups",
            instead="one device a job until the suite is run",
            source="no public source found",
        ),
    ),
)
