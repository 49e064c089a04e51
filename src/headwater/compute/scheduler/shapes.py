"""What the scheduler is told of jobs, sites and queues, before it is put into arrays.

Times are seconds on one clock. A unit is the smallest amount that is given out: a whole accelerator (or core), or a
thousandth of one where `SiteShape.device_units` is 1000. What a source does not say is None and is never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "memory", "collective"]
"""What holds a job up on a chip: arithmetic, memory bandwidth, or the links between chips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFigures:
    """What a roofline needs of a chip; None is not known."""

    compute_tflops: float | None = None
    memory_gb_s: float | None = None
    link_gb_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a site must have to run a job, and how well it runs there. Jobs of equal needs are one class."""

    chips: tuple[str, ...] = ()
    """Acceptable chips: a vendor, vendor/model or vendor/model/variant. None named: any."""
    memory_gib: float = 0.0
    """Of each accelerator."""
    residency: frozenset[str] = frozenset()
    """Tags that the site must all carry."""
    data_at: str | None = None
    """The place that holds the input."""
    bound: Bound | None = None
    reference: str | None = None
    """The chip on which the job's run times hold; None: a site of speed 1."""
    reference_figures: ChipFigures = ChipFigures()
    """Of the reference, where no site has it."""
    measured: tuple[tuple[str, float], ...] = ()
    """Chip and speed there, measured, relative to the reference. Goes before any roofline."""


ANYTHING = Needs()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShare:
    """Units that a job holds on one node of its site; `devices` are bits, 0 where devices are not told apart."""

    node: int
    units: int
    devices: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A job that waits, or runs on `site` since `started_s` with `attained_s` of work done by now."""

    name: str
    submit_s: float
    units: int
    """May be 0 for a job that asks only CPU and memory."""
    estimate_s: float | None = None
    """Run time on the reference chip (a site of speed 1), holding `units`."""
    kind: str = ""
    """Like jobs share it: a user and name, or a shape."""
    lane: int = 0
    queue: str | None = None
    home: str | None = None
    """The only site row allowed."""
    priority: float = 0.0
    deadline_s: float | None = None
    checkpoint_s: float = 0.0
    """Seconds of work between checkpoints; 0 = one can be taken whenever the job is stopped."""
    needs: Needs = ANYTHING
    input_gib: float = 0.0
    cpu_milli: int = 0
    memory_mib: int = 0
    """Host memory."""
    least_units: int | None = None
    """With `most_units`: the job is elastic and runs on any number between, `units` being the number its estimate is for."""
    most_units: int | None = None
    site: str | None = None
    started_s: float | None = None
    attained_s: float = 0.0
    """Work done, in seconds on the reference chip holding `units`."""
    overhead_s: float = 0.0
    """Stage-in or restart that a running job still has before it."""
    starts: int = 0
    held_units: int | None = None
    """What an elastic job holds now; None: `units`."""
    nodes: tuple[NodeShare, ...] = ()
    """Where a running job lies. Not said: a fitting place is assumed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time in which units of a site are kept for one queue and those below it, or for nobody (maintenance)."""

    from_s: float
    to_s: float
    units: int | None = None
    """None: all of the site."""
    queue: str | None = None
    """None: nobody may run."""
    reason: str = ""


def in_order(windows: Sequence[Window]) -> list[Window]:
    """Return windows by opening, as the scheduler counts them."""
    return sorted(windows, key=lambda one: (one.from_s, one.to_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """The way that data comes to a site from a place: bandwidth, and what a GiB costs to take out of there."""

    place: str
    gib_per_s: float | None
    fen_per_gib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteShape:
    """One pool of like chips at a site, as the scheduler sees it. A site with several pools is several rows."""

    name: str
    node_units: tuple[int, ...]
    lane: int = 0
    speed: float = 1.0
    """Declared relative speed, for jobs whose speed here is neither measured nor to be had from a roofline."""
    score: float = 0.0
    """Added to what placement prefers to be low."""
    place: str = ""
    """Where it is: rows of one place need no staging between them. Empty: a place of its own, by its name."""
    chip: str | None = None
    figures: ChipFigures = ChipFigures()
    memory_gib: float | None = None
    """Of each accelerator."""
    residency: frozenset[str] = frozenset()
    inbound: tuple[Inbound, ...] = ()
    fen_per_unit_h: tuple[float, ...] | None = None
    """1 value, or 24 by hour of the scheduler's clock."""
    kgco2_per_unit_h: tuple[float, ...] | None = None
    unit_weight: float = 1.0
    """Normalised units that one unit counts as, in quotas and shares."""
    device_units: int = 1
    """Units of one device: 1, or 1000 where shares of a device are given out (placement on nodes = "packed")."""
    node_cpu_milli: tuple[int, ...] | None = None
    """None: CPU is not counted here."""
    node_memory_mib: tuple[int, ...] | None = None
    host: str = ""
    """Rows of one host draw on the same CPU and memory, that of the first row which states it. Empty: a host of its own."""
    node_block: tuple[int, ...] | None = None
    """The rack or switch of each node. None: all the same."""
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueShape:
    """A node of the queue tree. `parent` names another queue listed before it, or None for the root.

    `quota` is in normalised units. A queue that may borrow runs past its quota on what its parent's quota leaves.
    """

    name: str
    parent: str | None = None
    weight: float = 1.0
    quota: float | None = None
    may_borrow: bool = True
    usage: float = 0.0
    """Average normalised units held so far, halved every half-life, its children's with its own."""
