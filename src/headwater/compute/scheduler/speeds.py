"""How fast a class of jobs runs on a site's chips, relative to the chip its run times hold for.

Measured goes before a roofline, a roofline before the site's declared speed. A roofline compares the one figure that binds the
class on both chips (Williams, Waterman and Patterson 2009); where either is not known there is none, and the policy says what then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from headwater.compute.catalogue.chips import Chip
from headwater.compute.catalogue.figures import Figure
from headwater.compute.scheduler.shapes import Bound, ChipFigures, Needs, SiteShape

UnknownSpeed = Literal["declared", "refuse"]
"""What a policy says where a speed is neither measured nor to be had from figures."""
Basis = Literal["measured", "same chip", "roofline", "declared", "unknown"]
BASES: tuple[Basis, ...] = ("measured", "same chip", "roofline", "declared", "unknown")
COMPUTE_FIGURES = {"fp64": "fp64_tflops", "fp32": "fp32_tflops", "tf32": "tf32_tflops", "fp16": "fp16_tflops", "bf16": "bf16_tflops"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A relative speed and what it rests on; `unknown` has none."""

    value: float
    basis: Basis


def figures_of(chip: Chip, precision: str = "bf16") -> ChipFigures:
    """Return what a roofline needs of a catalogued chip, its arithmetic at one precision (a key of COMPUTE_FIGURES)."""

    def known(name: str) -> float | None:
        figure = chip.figure(name)
        return figure.value if isinstance(figure, Figure) else None

    return ChipFigures(
        compute_tflops=known(COMPUTE_FIGURES[precision]), memory_gb_s=known("memory_bandwidth_gb_s"), link_gb_s=known("link_bandwidth_gb_s")
    )


def binding(figures: ChipFigures, bound: Bound) -> float | None:
    """Return the figure that holds up such a job."""
    return {"compute": figures.compute_tflops, "memory": figures.memory_gb_s, "collective": figures.link_gb_s}[bound]


def roofline(here: ChipFigures, reference: ChipFigures, bound: Bound) -> float | None:
    """Return the speed here relative to the reference, None where a figure of either is not known."""
    one, other = binding(here, bound), binding(reference, bound)
    return one / other if one and other else None


def speed_on(needs: Needs, site: SiteShape, known: Mapping[str, ChipFigures], *, unknown: UnknownSpeed) -> Speed:
    """Return how fast the class runs on the site; `known` are the figures of all sites' chips.

    Without a measurement or a roofline it is the site's declared speed. A class that names a reference chip asked for more than
    that: for it the declared speed is a fallback, which the policy may refuse.
    """
    measured = dict(needs.measured)
    if site.chip is not None and site.chip in measured:
        return Speed(value=measured[site.chip], basis="measured")
    if needs.reference is None:
        return Speed(value=site.speed, basis="declared")
    if site.chip == needs.reference:
        return Speed(value=1.0, basis="same chip")
    if needs.bound is not None:
        found = roofline(site.figures, known.get(needs.reference, needs.reference_figures), needs.bound)
        if found is not None:
            return Speed(value=found, basis="roofline")
    return Speed(value=site.speed, basis="declared") if unknown == "declared" else Speed(value=0.0, basis="unknown")
