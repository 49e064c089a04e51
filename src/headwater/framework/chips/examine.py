"""Run everything there is on one device: the suite, the collectives, the ladders."""

from __future__ import annotations

from headwater.core.errors import BadInput, NotFound, StepFailed
from headwater.framework.chips.adapter import Adapter, Device, here
from headwater.framework.chips.calibrate import Figure
from headwater.framework.chips.conformance import Outcome, conformance
from headwater.framework.chips.record import Shown


def device_named(name: str | None) -> tuple[Adapter, Device]:
    """Return a device that is here, by its torch name, or the first accelerator, else the processor. Raises NotFound."""
    found = here()
    for adapter, device in found:
        if name in (None, device.torch_device):
            return adapter, device
    known = ", ".join(device.torch_device for _, device in found)
    raise NotFound(f"There is no device '{(name or '')[:40]}' here.", f"There are: {known}.")


def examine(adapter: Adapter, device: Device, *, seconds: float = 1.0, ranks: int = 2) -> Shown:
    """Return what a device shows. `ranks` processes try the collectives; 1 leaves them out.

    Raises BadInput where the adapter names no back end and there are ranks.
    """
    outcomes, rates = together(adapter, device, ranks) if ranks > 1 else ((), {})
    figures: tuple[Figure, ...] = adapter.calibrate(device, seconds=seconds) if seconds > 0 else ()
    return Shown(outcomes=(*conformance(device), *outcomes), figures=figures, rates=rates)


def together(adapter: Adapter, device: Device, ranks: int) -> tuple[tuple[Outcome, ...], dict[str, float]]:
    """Return what collectives show over several processes; a back end that fails whole is one refused case."""
    from headwater.framework.chips import collectives

    if not adapter.collective:
        raise BadInput(f"No source names the collective back end of {adapter.vendor}.", "Use --ranks 1, or name it in the adapter.")
    try:
        return collectives.run(adapter.collective, device.torch_device.partition(":")[0], ranks=ranks)
    except StepFailed as error:
        return (Outcome(kind="collective", name="start", dtype="fp32", verdict="refused", said=error.what[:200]),), {}
