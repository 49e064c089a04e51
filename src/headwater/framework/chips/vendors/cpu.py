"""The machine's own processor, over gloo. Exercised by every test run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from headwater.framework.chips.adapter import Adapter, Device, Format, Gap

NATIVE = {"bf16": ("avx512_bf16", "amx_bf16", "bf16"), "fp16": ("avx512_fp16", "amx_fp16", "fphp", "asimdhp")}
"""Flags of x86 and Arm processors that compute in a format, not only store it."""


def formats() -> Mapping[str, Format]:
    """Return what each format becomes: one that the processor only stores is computed in fp32, which is several times faster."""
    flags = set(cpu_flags())
    found = {"fp64": Format("fp64"), "fp32": Format("fp32"), "fp8": Format("fp32", "processors compute no 8-bit floats")}
    for name, any_of in NATIVE.items():
        lacks = not flags & set(any_of)
        found[name] = Format("fp32", f"this processor has none of {', '.join(any_of)}") if lacks else Format(name)
    return found


def cpu_flags() -> tuple[str, ...]:
    """Return the instruction sets that the kernel tells of, none where it tells nothing."""
    return tuple(_line(("flags", "Features")).split())


def found() -> tuple[Device, ...]:
    """Return the processor, which is always here."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (Device(torch_device="cpu", name=_line(("model name",)) or platform.processor() or platform.machine(), memory_gib=memory),)


def _line(names: tuple[str, ...]) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    parts = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in parts if key.strip() in names), "")


ADAPTER = Adapter(
    vendor="cpu",
    torch_device="cpu",
    collective="gloo",
    dtypes=formats,
    found=found,
    gaps=(
        Gap(
            what="the operation counter of torch counts attention as nothing",
            instead="the planner's own formula",
            source="torch 2.13, measured",
        ),
        Gap(what="torch.cpu has no get_device_name", instead="the kernel's model name", source="torch 2.13, measured"),
    ),
    exercised="every test run",
)
