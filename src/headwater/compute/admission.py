"""What the scheduler does not decide: whether a job could ever run where it is sent, and which devices it gets. Pure.

And the last look before a start: `lacking` says what a job asks for that is not free, whatever a plan said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.compute.work import Capacity
from headwater.core.steps import Resources

ROUNDING = 1e-6


def less(capacity: Capacity, taken: Capacity) -> Capacity:
    """Return what is left of a capacity once running jobs have theirs."""
    return Capacity(
        cpus=capacity.cpus - taken.cpus,
        memory_gib=capacity.memory_gib - taken.memory_gib,
        accelerators={chip: count - taken.accelerators.get(chip, 0) for chip, count in capacity.accelerators.items()},
    )


def never(asked: Resources, engine: str, there: Mapping[str, Capacity]) -> str:
    """Return why a job could not run on its engine even if it were empty; nothing where it could."""
    if engine not in there:
        return f"there is no engine '{engine}' here"
    if sum(count > 0 for count in asked.accelerators.values()) > 1:
        kinds = ", ".join(sorted(asked.accelerators))
        return f"it asks for accelerators of several kinds ({kinds}), which do not work together; ask for one kind"
    if lack := lacking(asked, there[engine]):
        return f"engine '{engine}' could never run it: it asks for {lack} in all; lower its 'resources'"
    return ""


def lacking(asked: Resources, there: Capacity) -> str:
    """Return the first thing that is asked for and not there, with the figures; empty where all is there."""
    if asked.cpus > there.cpus + ROUNDING:
        return f"{asked.cpus:g} CPUs where {_left(there.cpus):g} are"
    if asked.memory_gib > there.memory_gib + ROUNDING:
        return f"{asked.memory_gib:g} GiB of memory where {_left(there.memory_gib):.1f} are"
    for chip, count in asked.accelerators.items():
        if count > there.accelerators.get(chip, 0):
            return f"{count} {chip} where {there.accelerators.get(chip, 0)} are"
    return ""


def _left(amount: float) -> float:
    """Return what is left of something, without the dust that decimal fractions leave in binary."""
    return max(round(amount, 6), 0.0)


def allot(asked: Mapping[str, int], capacity: Capacity, running: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Return the lowest free device indices of each chip that a job asks for; `running` is what others hold.

    `lacking` has made sure that there are enough.
    """
    held = {chip: {index for one in running for index in one.get(chip, ())} for chip in asked}
    return {
        chip: [index for index in range(capacity.accelerators.get(chip, 0)) if index not in held[chip]][:count]
        for chip, count in asked.items()
    }
