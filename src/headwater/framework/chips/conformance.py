"""What works on a device: every operator and collective of the suite, in every number format, held against the processor in fp64.

A verdict is one of: `works`; `differs`, with by how much; `refused`, with the device's own words. A format that the device lacks is
refused, never left out. Nothing here trusts an adapter: the suite is what a vendor runs to find out, and what a record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from headwater.framework.chips.adapter import TORCH_DTYPES, Device
from headwater.framework.chips.operators import OPERATORS, Operator

Verdict = Literal["works", "differs", "refused"]
KINDS = {"fp64": "float", "fp32": "float", "bf16": "float", "fp16": "float", "int64": "int", "int32": "int"}
DTYPES = TORCH_DTYPES | {"int64": "int64", "int32": "int32"}
TOLERANCE = {"fp64": 1e-9, "fp32": 2e-4, "fp16": 2e-2, "bf16": 8e-2, "int64": 0.0, "int32": 0.0}
"""Largest difference beside the reference's largest entry: some hundred units in the last place of the format."""
SEED = 20260101


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one case. `error` is the largest difference beside the largest entry, None where nothing was computed."""

    kind: Literal["operator", "gradient", "collective", "cast", "compile"]
    name: str
    dtype: str
    verdict: Verdict
    error: float | None = None
    said: str = ""


def conformance(device: Device, operators: Iterable[Operator] = OPERATORS) -> tuple[Outcome, ...]:
    """Return what every operator, gradient and cast of the suite gives on a device, and whether a small function compiles."""
    found = [
        outcome for one in operators for dtype, kind in KINDS.items() if kind in one.kinds for outcome in _operator(one, dtype, device)
    ]
    return (*found, *(_cast(dtype, device) for dtype in TORCH_DTYPES), _compiles(device))


def _operator(one: Operator, dtype: str, device: Device) -> list[Outcome]:
    found = [_outcome("operator", one.name, dtype, lambda: _both(one, dtype, device, gradient=False))]
    if one.gradient and KINDS[dtype] == "float":
        found.append(_outcome("gradient", one.name, dtype, lambda: _both(one, dtype, device, gradient=True)))
    return found


def _outcome(kind: Any, name: str, dtype: str, run: Callable[[], float]) -> Outcome:
    try:
        error = run()
    except Exception as refusal:  # noqa: BLE001 - whatever a device's stack raises is what the suite is there to record
        return Outcome(kind=kind, name=name, dtype=dtype, verdict="refused", said=_first_line(refusal))
    verdict: Verdict = "works" if error <= TOLERANCE.get(dtype, 0.0) else "differs"
    return Outcome(kind=kind, name=name, dtype=dtype, verdict=verdict, error=error)


def _both(one: Operator, dtype: str, device: Device, *, gradient: bool) -> float:
    """Return how far the device's answer, or the gradient of a weighted sum of it, is from the reference."""
    import torch

    answers = []
    for where, wanted in ((device.torch_device, DTYPES[dtype]), ("cpu", "float64" if KINDS[dtype] == "float" else "int64")):
        made: list[Any] = []
        answer = one.run(torch, maker(dtype, where, wanted, made, gradient=gradient))
        if gradient:
            answer = answer.double()
            (
                answer * torch.linspace(-1, 2, answer.numel(), dtype=torch.float64, device=answer.device).reshape(answer.shape)
            ).sum().backward()
            answer = torch.cat([tensor.grad.double().cpu().flatten() for tensor in made if tensor.grad is not None])
        answers.append(answer.detach().cpu().double())
    return off(*answers)


def maker(dtype: str, device: str, wanted: str, made: list[Any], *, gradient: bool = False) -> Callable[..., Any]:
    """Return a function that gives seeded tensors, rounded to `dtype`, then held as `wanted` on a device; they are listed in `made`."""
    import torch

    generator = torch.Generator().manual_seed(SEED)

    def make(*shape: int) -> Any:
        if KINDS[dtype] == "int":
            plain = torch.randint(-9, 10, shape, generator=generator)
        else:
            plain = torch.randn(shape, generator=generator, dtype=torch.float64).to(getattr(torch, DTYPES[dtype]))
        tensor = plain.to(getattr(torch, wanted)).to(device)
        if gradient:
            tensor.requires_grad_()
        made.append(tensor)
        return tensor

    return make


def off(found: Any, wanted: Any) -> float:
    """Return the largest difference beside the largest entry of what is wanted; infinity where shapes differ or a number is none."""
    if found.shape != wanted.shape or not bool(found.isfinite().all()):
        return float("inf")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12)) if found.numel() else 0.0


def _cast(dtype: str, device: Device) -> Outcome:
    """Cast there and back: numbers that the format holds must come back as they were."""

    def run() -> float:
        import torch

        exact = torch.tensor([0.0, 1.0, -2.0, 0.5, 448.0 if dtype == "fp8" else 1024.0])
        there = exact.to(device.torch_device).to(getattr(torch, TORCH_DTYPES[dtype]))
        return off(there.to(torch.float32).cpu(), exact)

    return _outcome("cast", "there and back", dtype, run)


def _compiles(device: Device) -> Outcome:
    def run() -> float:
        import torch

        given = torch.linspace(-2, 2, 64, device=device.torch_device).reshape(8, 8)

        def plain(x: Any) -> Any:
            return torch.nn.functional.gelu(x @ x).sum(-1)

        return off(torch.compile(plain)(given).cpu(), plain(given).cpu()) if hasattr(torch, "compile") else float("inf")

    return _outcome("compile", "torch.compile", "fp32", run)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
