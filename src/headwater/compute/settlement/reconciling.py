"""Two accounts of the same use held against each other, line by line: what only one side has, and where figures differ. Pure.

Swapping the two sides swaps every difference and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headwater.compute.settlement.records import UsageRecord

FIGURES = ("accelerator_s", "core_s", "gib_s", "cpu_s", "energy_kwh", "charge_fen")
"""What is compared of a line, beside what it was charged for."""
EXACT = frozenset({"charge_fen"})
"""Money is compared to the fen, whatever the tolerance."""
ALIKE = ("organisation", "accelerators", "outcome")


class Kind(StrEnum):
    """How two accounts differ over one attempt."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference: the attempt, the figure (empty for a whole line), and what each side says."""

    kind: Kind
    key: str
    figure: str = ""
    ours: Any = None
    theirs: Any = None

    def as_json(self) -> dict[str, Any]:
        """Return the difference as JSON values."""
        return {"kind": str(self.kind), "key": self.key, "figure": self.figure, "ours": self.ours, "theirs": self.theirs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a comparison found: how many lines each side has, how many agree, and every difference by attempt."""

    ours: int
    theirs: int
    agreed: int
    ours_fen: int
    theirs_fen: int
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = {name: getattr(self, name) for name in ("ours", "theirs", "agreed", "ours_fen", "theirs_fen")}
        return told | {"differences": [one.as_json() for one in self.differences]}


def reconcile(ours: Iterable[UsageRecord], theirs: Iterable[UsageRecord], *, within: float = 0.0) -> Reconciled:
    """Return where two accounts differ, lines matched by attempt.

    `within` is the relative difference that is let pass, 0.01 for one in a hundred; money must be equal.
    """
    mine, yours = {one.key: one for one in ours}, {one.key: one for one in theirs}
    found: list[Difference] = []
    agreed = 0
    for key in sorted({*mine, *yours}):
        if key not in mine:
            found.append(Difference(kind=Kind.MISSING_HERE, key=key, theirs=yours[key].charge_fen))
        elif key not in yours:
            found.append(Difference(kind=Kind.MISSING_THERE, key=key, ours=mine[key].charge_fen))
        else:
            differing = _differing(mine[key], yours[key], within)
            found += differing
            agreed += not differing
    return Reconciled(
        ours=len(mine), theirs=len(yours), agreed=agreed, ours_fen=_fen(mine), theirs_fen=_fen(yours), differences=tuple(found)
    )


def _differing(mine: UsageRecord, yours: UsageRecord, within: float) -> list[Difference]:
    pairs = [(name, getattr(mine, name), getattr(yours, name)) for name in (*ALIKE, *FIGURES)]
    return [
        Difference(kind=Kind.DIFFERS, key=mine.key, figure=name, ours=_plain(one), theirs=_plain(other))
        for name, one, other in pairs
        if not _same(one, other, within if name in FIGURES and name not in EXACT else 0.0)
    ]


def _same(one: Any, other: Any, within: float) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= within * max(abs(one), abs(other))
    return bool(one == other)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _fen(lines: Mapping[str, UsageRecord]) -> int:
    return sum(one.charge_fen or 0 for one in lines.values())
