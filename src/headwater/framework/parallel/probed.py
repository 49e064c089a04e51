"""Chips as they measure themselves: what a plan needs of the devices that are here, taken now instead of from data sheets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from headwater.core.errors import HeadwaterError
from headwater.framework.chips.adapter import Adapter, Device, here
from headwater.framework.chips.calibrate import Figure, best
from headwater.framework.parallel.chips import GENERIC_POWER_W, Chip, find

if TYPE_CHECKING:
    from headwater.framework.parallel.fleet import Pool

NETWORK_GB_S = 25.0


def pools(seconds: float) -> tuple[Pool, ...]:
    """Return one pool for each kind of device here."""
    from headwater.framework.parallel.fleet import Pool

    devices = here()
    kept = [one for one in devices if one[1].torch_device != "cpu"] or list(devices)
    counts = Counter(device.name for _, device in kept)
    first = {device.name: (adapter, device) for adapter, device in reversed(kept)}
    return tuple(Pool(chip=measured(*first[name], seconds), count=count) for name, count in counts.items())


def measured(adapter: Adapter, device: Device, seconds: float) -> Chip:
    """Return a device as a chip: its measured rates and memory, and links from the catalogue where the chip is known there."""
    figures = adapter.calibrate(device, seconds=seconds)
    known = _known(device)
    half, single = _rate(figures, "bf16") or _rate(figures, "fp16"), _rate(figures, "fp32")
    assumed = (f"power {GENERIC_POWER_W:.0f} W", "links at half the rate of a copy in memory", f"{NETWORK_GB_S:g} GB/s to others")
    copied = next(one.value for one in figures if one.name == "copy")
    told = Chip(
        id=device.chip or f"{adapter.vendor}/here",
        name=device.name,
        bf16_tflops=half or single,
        fp8_tflops=0.0,
        fp4_tflops=0.0,
        tf32_tflops=single,
        memory_gib=device.memory_gib or (known.memory_gib if known else 1.0),
        memory_gb_s=copied,
        link_gb_s=copied / 2,
        network_gb_s=NETWORK_GB_S,
        fast_group=8,
        power_w=GENERIC_POWER_W,
        assumed=assumed,
    )
    if known is None:
        return told
    told = replace(told, link_gb_s=known.link_gb_s, network_gb_s=known.network_gb_s, fast_group=known.fast_group)
    return replace(told, power_w=known.power_w, fp8_tflops=known.fp8_tflops, assumed=known.assumed)


def _rate(figures: tuple[Figure, ...], dtype: str) -> float:
    return best(figures, "matmul", dtype) or 0.0


def _known(device: Device) -> Chip | None:
    """Return the catalogue's chip, or None where there is none that could be planned on."""
    try:
        return find(device.chip) if device.chip else None
    except HeadwaterError:
        return None
