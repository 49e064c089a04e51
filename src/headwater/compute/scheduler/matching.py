"""Which class of jobs may run on which site, how fast, and what its data costs to bring: a small matrix, class by site.

Every pair that is forbidden carries the one rule that forbids it. What is not known forbids where the job asked about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.compute.scheduler.shapes import Needs, SiteShape
from headwater.compute.scheduler.speeds import BASES, UnknownSpeed, speed_on

MATCH = np.dtype([
    ("rule", np.int64),  # what forbids the pair, 0 for nothing: one of these below
    ("basis", np.int64),  # what the speed rests on: see `speeds.py`
    ("speed", np.float64), ("stage_s_per_gib", np.float64), ("egress_fen_per_gib", np.float64),
])  # fmt: skip

ALLOWED, CHIP, MEMORY, MEMORY_UNKNOWN, RESIDENCY, LINK_UNKNOWN, SPEED_UNKNOWN = range(7)

FORBIDS = {
    CHIP: "its chips are not among those asked for",
    MEMORY: "its accelerators have less memory than asked",
    MEMORY_UNKNOWN: "the memory of its accelerators is not known",
    RESIDENCY: "it lacks a residency tag that the data needs",
    LINK_UNKNOWN: "the bandwidth from where the data lies is not known",
    SPEED_UNKNOWN: "the speed there is neither measured nor to be had from the chip's figures, and the policy refuses to guess",
}


def is_among(chip: str | None, asked: Sequence[str]) -> bool:
    """Tell whether a chip is one of those asked for, by vendor, vendor/model or vendor/model/variant."""
    return chip is not None and any(chip == one or chip.startswith(one + "/") for one in asked)


def forbidden_by(needs: Needs, site: SiteShape) -> int:
    """Return the rule that keeps the class off the site, speed apart, or ALLOWED."""
    if needs.chips and not is_among(site.chip, needs.chips):
        return CHIP
    if needs.memory_gib > 0 and site.memory_gib is None:
        return MEMORY_UNKNOWN
    if site.memory_gib is not None and needs.memory_gib > site.memory_gib:
        return MEMORY
    if not needs.residency <= site.residency:
        return RESIDENCY
    return LINK_UNKNOWN if way(needs, site) is None else ALLOWED


def way(needs: Needs, site: SiteShape) -> tuple[float, float] | None:
    """Return seconds and fen for each GiB of input that comes to the site, None where the bandwidth is not known.

    A price that is not known counts as 0: it weighs in a preference, not in a rule.
    """
    if needs.data_at in (None, site.place or site.name):
        return 0.0, 0.0
    link = next((one for one in site.inbound if one.place == needs.data_at), None)
    if link is None or not link.gib_per_s:
        return None
    return 1.0 / link.gib_per_s, link.fen_per_gib or 0.0


def matrix(classes: Sequence[Needs], sites: Sequence[SiteShape], *, unknown_speed: UnknownSpeed = "declared") -> npt.NDArray[Any]:
    """Return the matrix; a forbidden pair has speed 0."""
    known = {site.chip: site.figures for site in sites if site.chip is not None}
    made = np.zeros((len(classes), len(sites)), MATCH)
    for row, needs in enumerate(classes):
        for column, site in enumerate(sites):
            rule, speed = forbidden_by(needs, site), speed_on(needs, site, known, unknown=unknown_speed)
            rule = SPEED_UNKNOWN if rule == ALLOWED and speed.basis == "unknown" else rule
            stage_s, fen = way(needs, site) or (np.inf, np.inf)
            made[row, column] = (rule, BASES.index(speed.basis), speed.value if rule == ALLOWED else 0.0, stage_s, fen)
    return made.view(np.recarray)
