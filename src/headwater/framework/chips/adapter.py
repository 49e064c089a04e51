"""What the toolchain must know of a vendor's chips: six items, most of them data.

1. `facts()`: the chips' figures, from the catalogue. 2. `detect()`: the devices that are here. 3. `collective`: the back end of
process groups. 4. `dtypes()`: what each number format becomes where the chip lacks it. 5. `gaps`: operators that are absent or
differ, and sharding rules to add. 6. `calibrate()`: what this machine's devices give.

Four vendors answer to `torch.cuda`, so a device type never names a chip: `detect` reads the device's own name. An adapter says
where it was run (`exercised`); what it says of a chip that nobody ran it on is what its sources say, and only the conformance
suite, run there, shows that it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.core.registry import Family
from headwater.framework.parallel.chips import catalogue

if TYPE_CHECKING:
    from headwater.framework.chips.calibrate import Figure

FORMATS = ("fp64", "fp32", "bf16", "fp16", "fp8")
TORCH_DTYPES = {"fp64": "float64", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "float8_e4m3fn"}
OTHERS_ON_CUDA = (
    "amd",
    "instinct",
    "radeon",
    "metax",
    "mxc",
    "iluvatar",
    "bi-v",
    "mr-v",
    "kunlun",
    "p800",
    "r480",
    "hygon",
    "dcu",
    "k100",
    "bw1000",
)
"""Words in the device names of vendors whose stacks answer to `torch.cuda` and are not NVIDIA's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that is here: its torch device, its own name, and its id in the catalogue of chips where one fits."""

    torch_device: str
    name: str
    chip: str | None = None
    memory_gib: float | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """What a number format becomes on a chip: itself, or another with the reason."""

    becomes: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that does not work there as elsewhere, with its source; `pointwise` names an operator to shard element by element."""

    what: str
    instead: str
    source: str
    pointwise: str = ""


def plain() -> Mapping[str, Format]:
    """Return formats that all stay themselves but 8-bit floats, which few chips have."""
    return {name: Format(name) for name in FORMATS if name != "fp8"} | {"fp8": Format("bf16", "no 8-bit floats are known of this chip")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A vendor's six items."""

    vendor: str
    """As the catalogue of chips writes it; `cpu` for the machine's own processor."""
    torch_device: str
    collective: str
    """The back end's name for `torch.distributed.init_process_group`."""
    marks: tuple[str, ...] = ()
    """Words of its device names, where several vendors answer to one torch device."""
    dtypes: Callable[[], Mapping[str, Format]] = plain
    gaps: tuple[Gap, ...] = ()
    exercised: str = ""
    """Where this project has run it; nothing where it has not."""
    found: Callable[[], tuple[Device, ...]] | None = None
    """Another way to look for devices than by torch."""

    def facts(self) -> Mapping[str, dict[str, Any]]:
        """Return the catalogue's rows of this vendor's chips by id."""
        return {name: row for name, row in catalogue().items() if row["vendor"] == self.vendor}

    def detect(self) -> tuple[Device, ...]:
        """Return this vendor's devices on this machine; none where the vendor's plug-in for torch is not installed."""
        return self.found() if self.found is not None else seen(self)

    def calibrate(self, device: Device, *, seconds: float = 1.0) -> tuple[Figure, ...]:
        """Return what a device gives, spending about so many seconds on each ladder."""
        from headwater.framework.chips.calibrate import measured

        return measured(device, self.dtypes(), seconds=seconds)

    def is_its(self, name: str) -> bool:
        """Tell whether a device that answers to this torch device and calls itself so is this vendor's."""
        told = name.lower()
        if self.marks:
            return any(mark in told for mark in self.marks)
        return self.torch_device != "cuda" or not any(mark in told for mark in OTHERS_ON_CUDA)

    def chip_of(self, name: str, memory_gib: float | None = None) -> str | None:
        """Return the catalogue's id of the chip that a device's name and memory mean, or None where none or several fit."""
        words = _squeezed(name)
        fits = [(len(_squeezed(row["model"])), chip) for chip, row in self.facts().items() if _squeezed(row["model"]) in words]
        longest = [chip for length, chip in fits if length == max(fits)[0]]
        same = [chip for chip in longest if memory_gib is not None and _is_about(self.facts()[chip], memory_gib)]
        best = longest if len(longest) == 1 else same
        return best[0] if len(best) == 1 else None


CHIPS: Family[Adapter] = Family("chips", Adapter)


def adapters() -> tuple[Adapter, ...]:
    """Return every adapter that is installed, by name."""
    return tuple(CHIPS.get(name) for name in CHIPS.names())


def here() -> tuple[tuple[Adapter, Device], ...]:
    """Return every device of this machine with its adapter, accelerators first and the processor last."""
    found = [(adapter, device) for adapter in adapters() for device in adapter.detect()]
    return tuple(sorted(found, key=lambda one: (one[1].torch_device == "cpu", one[1].torch_device)))


def seen(adapter: Adapter) -> tuple[Device, ...]:
    """Return the devices of an adapter's torch device whose names are its vendor's."""
    import torch

    module = getattr(torch, adapter.torch_device, None)
    if module is None or not hasattr(module, "is_available") or not module.is_available():
        return ()
    told = []
    for index in range(module.device_count()):
        name = str(module.get_device_name(index)) if hasattr(module, "get_device_name") else adapter.torch_device
        if adapter.is_its(name):
            memory = (
                getattr(module.get_device_properties(index), "total_memory", None) if hasattr(module, "get_device_properties") else None
            )
            gib = None if memory is None else memory / 2**30
            chip = adapter.chip_of(name, gib)
            told.append(Device(torch_device=f"{adapter.torch_device}:{index}", name=name, chip=chip, memory_gib=gib))
    return tuple(told)


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _is_about(row: Mapping[str, Any], memory_gib: float) -> bool:
    """Tell whether a chip is sold with about the memory that a device reports, which is a little less."""
    sold = row.get("memory_gib", [])
    figures = sold if isinstance(sold, list) else [sold]
    return any(0.88 * figure["value"] <= memory_gib <= 1.02 * figure["value"] for figure in figures)
