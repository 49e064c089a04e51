"""A short benchmark of the machine it runs on: what a chip gives, beside what is claimed for it.

Matrix products per precision and a memory copy, on each device that PyTorch offers here. What is absent is
skipped with the reason. The peak of a small benchmark is a floor, not the chip's limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from headwater.compute.catalogue.chips import Chips
from headwater.compute.catalogue.figures import Figure
from headwater.core.errors import BadInput, Unavailable

Timer = Callable[[], float]

PRECISIONS = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
SMALLEST, LARGEST = 128, 8192
COPY_BYTES = {"cpu": 64 << 20}
COPY_BYTES_ELSEWHERE = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A device or a figure that could not be measured, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one device gave: figures by the names of `chips.FIGURES`, and what was skipped."""

    device: str
    name: str
    figures: dict[str, Figure]
    skipped: tuple[Skipped, ...]

    def toml(self) -> str:
        """Return the figures as lines for a `[[chip]]` table of the catalogue."""
        return "\n".join(
            f'{name} = {{ value = {figure.value:.6g}, source = "{figure.source}", confidence = "{figure.confidence}" }}'
            for name, figure in self.figures.items()
        )


def devices(catalogue: Chips) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Return the torch devices that are here, `cpu` last, and those of the catalogue that are not.

    Raises Unavailable where PyTorch is not installed.
    """
    torch = _torch()
    names = sorted({chip.software.torch_device for chip in catalogue})
    here, skipped = [], []
    for name in names:
        module = getattr(torch, name, None)
        if module is None or not hasattr(module, "is_available"):
            skipped.append(Skipped(what=name, reason=f"This PyTorch has no torch.{name}: the vendor's plug-in is not installed."))
        elif not module.is_available():
            skipped.append(Skipped(what=name, reason="PyTorch sees no such device."))
        else:
            here.append(name)
    return (*here, "cpu"), tuple(skipped)


def probe(device: str, *, seconds_each: float = 1.0, timer: Timer = time.perf_counter) -> Probe:
    """Return what a device gives, spending about `seconds_each` on each figure.

    Raises BadInput for a device that is not here, Unavailable where PyTorch is not installed.
    """
    torch = _torch()
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        hint = "Use cpu, or install PyTorch with the vendor's plug-in."
        raise BadInput(f"Device '{device[:40]}' cannot be used: {_reason(error)}.", hint) from error
    source = f"headwater compute probe on {_name(device)}, PyTorch {torch.__version__}"
    figures: dict[str, Figure] = {}
    skipped: list[Skipped] = []
    for name, measure in _measures(device, seconds_each, timer):
        try:
            figures[name] = Figure(value=measure(), source=source, confidence="measured")
        except (RuntimeError, NotImplementedError, MemoryError) as error:
            skipped.append(Skipped(what=name, reason=_reason(error)))
    return Probe(device=device, name=_name(device), figures=figures, skipped=tuple(skipped))


def _measures(device: str, seconds: float, timer: Timer) -> Sequence[tuple[str, Callable[[], float]]]:
    products = [(f"{short}_tflops", partial(matrix_tflops, device, dtype, seconds, timer=timer)) for short, dtype in PRECISIONS.items()]
    copy = partial(copy_gb_s, device, seconds, timer=timer)
    return [("memory_gib", partial(memory_gib, device)), *products, ("memory_bandwidth_gb_s", copy)]


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")


def matrix_tflops(device: str, dtype: str, seconds: float, *, timer: Timer = time.perf_counter) -> float:
    """Return the best TFLOP/s over square products of growing size, until the time is spent."""
    torch = _torch()
    best = 0.0
    size = SMALLEST
    began = timer()
    while size <= LARGEST:
        a = torch.ones((size, size), dtype=getattr(torch, dtype), device=device)
        took = _timed(partial(torch.matmul, a, a), device, timer)
        best = max(best, 2 * size**3 / took / 1e12)
        if timer() - began + 10 * took > seconds:
            break
        size *= 2
    return best


def copy_gb_s(device: str, seconds: float, *, timer: Timer = time.perf_counter) -> float:
    """Return the best rate of a copy within the device's memory, read and write both counted, in GB/s."""
    torch = _torch()
    size = COPY_BYTES.get(device, COPY_BYTES_ELSEWHERE)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    began = timer()
    while best == 0.0 or timer() - began < seconds:
        best = max(best, 2 * size / _timed(lambda: target.copy_(source), device, timer) / 1e9)
    return best


def memory_gib(device: str) -> float:
    """Return the memory that the device reports, in GiB; for `cpu` the machine's.

    Raises NotImplementedError where the device does not say.
    """
    if device == "cpu":
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    properties = getattr(_module(device), "get_device_properties", None)
    if properties is None:
        raise NotImplementedError(f"torch.{device} does not say how much memory it has")
    return float(properties(0).total_memory) / 2**30


def _timed(work: Callable[[], Any], device: str, timer: Timer) -> float:
    """Return the seconds of one run after a warm-up run; never 0, which a coarse clock could give."""
    work()
    _wait(device)
    began = timer()
    work()
    _wait(device)
    return max(timer() - began, 1e-9)


def _wait(device: str) -> None:
    if device != "cpu":
        _module(device).synchronize()


def _module(device: str) -> Any:
    return getattr(_torch(), device.split(":", maxsplit=1)[0])


def _name(device: str) -> str:
    if device == "cpu":
        import platform

        return platform.processor() or platform.machine()
    named = getattr(_module(device), "get_device_name", None)
    return str(named(0)) if named else device


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise Unavailable("PyTorch is not installed.", "Install requirements/torch.txt to probe a machine.") from error
    return torch
