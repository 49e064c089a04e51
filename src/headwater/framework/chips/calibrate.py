"""What a device gives: ladders of matrix products and attention, a copy within its memory, and the least time of a call.

Every figure is a median over repeats, with how many there were. The peak of a ladder is a floor of what the chip can do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from headwater.framework.chips.adapter import TORCH_DTYPES, Device, Format

SIZES = (256, 512, 1024, 2048, 4096, 8192)
TOKENS = (128, 256, 512, 1024, 2048, 4096)
HEADS, HEAD_DIM = 8, 64
COPY_BYTES = {"cpu": 64 << 20}
COPY_BYTES_ELSEWHERE = 1 << 30
MOST_REPEATS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure: the median of `repeats`, and the least and largest."""

    name: str
    """`matmul`, `attention`, `copy` or `call`."""
    dtype: str
    size: int
    """Side of the square matrices, tokens a sequence, or bytes."""
    unit: str
    """TFLOP/s, GB/s or microseconds."""
    value: float
    least: float
    most: float
    repeats: int


def measured(device: Device, formats: Mapping[str, Format], *, seconds: float = 1.0) -> tuple[Figure, ...]:
    """Return a device's figures in the formats that it keeps, spending about `seconds` on each ladder."""
    kept = [name for name, told in formats.items() if told.becomes == name and name != "fp8"]
    found: list[Figure] = []
    for dtype in kept:
        found += _ladder("matmul", dtype, SIZES, partial(_matmul, device, dtype), device, seconds)
        if dtype != "fp64":
            found += _ladder("attention", dtype, TOKENS, partial(_attention, device, dtype), device, seconds)
    return (*found, _copy(device, seconds), _call(device, seconds))


def best(figures: tuple[Figure, ...], name: str, dtype: str) -> float | None:
    """Return the largest median of a ladder, or None where it was not measured."""
    return max((one.value for one in figures if one.name == name and one.dtype == dtype), default=None)


def _ladder(
    name: str, dtype: str, sizes: tuple[int, ...], work_of: Callable[[int], tuple[Callable[[], Any], float]], device: Device, seconds: float
) -> list[Figure]:
    """Climb until the next size would take longer than what is left of the time."""
    found: list[Figure] = []
    until = time.perf_counter() + seconds
    for size in sizes:
        work, amount = work_of(size)
        times = timed(work, device, max(until - time.perf_counter(), 0.0) / 2)
        rates = sorted(amount / took / 1e12 for took in times)
        found.append(_figure(name, dtype, size, "TFLOP/s", rates))
        if time.perf_counter() + 8 * 2 * max(times) > until:
            break
    return found


def _matmul(device: Device, dtype: str, size: int) -> tuple[Callable[[], Any], float]:
    import torch

    given = torch.ones((size, size), dtype=getattr(torch, TORCH_DTYPES[dtype]), device=device.torch_device)
    return lambda: given @ given, 2.0 * size**3


def _attention(device: Device, dtype: str, tokens: int) -> tuple[Callable[[], Any], float]:
    import torch

    shape = (1, HEADS, tokens, HEAD_DIM)
    given = torch.ones(shape, dtype=getattr(torch, TORCH_DTYPES[dtype]), device=device.torch_device)
    return lambda: torch.nn.functional.scaled_dot_product_attention(given, given, given), 4.0 * HEADS * HEAD_DIM * tokens**2


def _copy(device: Device, seconds: float) -> Figure:
    import torch

    size = COPY_BYTES.get(device.torch_device, COPY_BYTES_ELSEWHERE)
    source = torch.ones(size, dtype=torch.uint8, device=device.torch_device)
    target = torch.empty_like(source)
    rates = sorted(2 * size / took / 1e9 for took in timed(lambda: target.copy_(source), device, seconds))
    return _figure("copy", "bytes", size, "GB/s", rates)


def _call(device: Device, seconds: float) -> Figure:
    import torch

    given = torch.ones(1, device=device.torch_device)
    return _figure("call", "fp32", 4, "microseconds", sorted(took * 1e6 for took in timed(lambda: given.add_(1), device, seconds / 4)))


def _figure(name: str, dtype: str, size: int, unit: str, values: list[float]) -> Figure:
    middle = values[len(values) // 2]
    return Figure(name=name, dtype=dtype, size=size, unit=unit, value=middle, least=values[0], most=values[-1], repeats=len(values))


def timed(work: Callable[[], Any], device: Device, seconds: float) -> list[float]:
    """Return the seconds of each run after one to warm up: at least three runs, at most as many as the time allows."""
    work()
    wait(device)
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < until and len(times) < MOST_REPEATS):
        began = time.perf_counter()
        work()
        wait(device)
        times.append(max(time.perf_counter() - began, 1e-9))
    return times


def wait(device: Device) -> None:
    """Wait until a device has done what it was given."""
    import torch

    if device.torch_device != "cpu":
        torch.accelerator.synchronize()
