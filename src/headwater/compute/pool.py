"""What there is to give out: the engines as the dispatcher last saw them, and as rows of the scheduler's sites.

An engine is one row that counts thousandths of a CPU, and one row for each of its chips that counts accelerators. All draw on the
CPUs and memory of the same host, so that none is given out twice. A job that asks for no accelerator runs on the first row alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import JSON, Column, Connection, Float, String, Table, delete, insert, select

from headwater.compute.scheduler.shapes import SiteShape
from headwater.compute.work import Capacity
from headwater.core.db import UtcTime, metadata
from headwater.core.steps import Resources

MILLI, MIB_A_GIB = 1000, 1024
CPU = "cpu"
"""The "chip" of a row that counts CPUs."""
ROUNDING = 1e-6
"""Of a unit: what a decimal fraction may be off in binary."""

engines = Table(
    "engine",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("cpus", Float, nullable=False),
    Column("memory_gib", Float, nullable=False),
    Column("accelerators", JSON, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("standing", String(12), nullable=False, default="active", server_default="active"),
    Column("why", String(400), nullable=False, default="", server_default=""),
)


class Standing(StrEnum):
    """How a site fares."""

    ACTIVE = "active"
    UNREACHED = "unreached"
    """It has not answered since this server began to ask."""
    LOST = "lost"
    """It has not answered for so long that its jobs go elsewhere, where they may."""
    HELD = "held"
    """It answers again, but was lost too often of late."""
    DRAINING = "draining"
    """It is to start nothing, and jobs are still there."""
    DRAINED = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How a site fares, and why it starts nothing where it does not."""

    standing: Standing = Standing.ACTIVE
    why: str = ""

    @property
    def is_open(self) -> bool:
        """Whether jobs may start there."""
        return self.standing is Standing.ACTIVE


OPEN = Stand()


def note(connection: Connection, seen: Mapping[str, Capacity], stands: Mapping[str, Stand] = MappingProxyType({}), *, at: datetime) -> None:
    """Record the engines that there are now and how they fare, in place of those before."""
    connection.execute(delete(engines))
    for name, whole in seen.items():
        told = {"cpus": whole.cpus, "memory_gib": whole.memory_gib, "accelerators": dict(whole.accelerators)}
        stand = stands.get(name, OPEN)
        connection.execute(insert(engines).values(name=name, seen_at=at, standing=stand.standing, why=stand.why[:400], **told))


def noted(connection: Connection) -> dict[str, Capacity]:
    """Return the engines that were recorded last."""
    rows = connection.execute(select(engines).order_by(engines.c.name))
    return {row.name: Capacity(cpus=row.cpus, memory_gib=row.memory_gib, accelerators=row.accelerators) for row in rows}


def stands_noted(connection: Connection) -> dict[str, Stand]:
    """Return how the engines fared that were recorded last."""
    rows = connection.execute(select(engines.c.name, engines.c.standing, engines.c.why))
    return {row.name: Stand(standing=Standing(row.standing), why=row.why) for row in rows}


def cpu_milli(asked: Resources) -> int:
    """Return thousandths of a CPU that a job takes, rounded up."""
    return math.ceil(asked.cpus * MILLI - ROUNDING)


def memory_mib(asked: Resources) -> int:
    """Return MiB of memory that a job takes, rounded up."""
    return math.ceil(asked.memory_gib * MIB_A_GIB - ROUNDING)


def row_of(engine: str, asked: Resources) -> str:
    """Return the name of the only site row on which a job of this engine may run."""
    return next((f"{engine}/{chip}" for chip, count in sorted(asked.accelerators.items()) if count > 0), engine)


def units_of(asked: Resources) -> int:
    """Return the units that a job takes of its row: accelerators, or thousandths of a CPU where it asks for none."""
    return max(asked.accelerators.values(), default=0) or cpu_milli(asked)


def normalised_units(asked: Resources) -> float:
    """Return the units that a job counts as in quotas and shares: accelerators, or CPUs where it asks for none."""
    return float(max(asked.accelerators.values(), default=0) or cpu_milli(asked) / MILLI)


def total(held: Iterable[Resources]) -> Capacity:
    """Return what jobs hold in all."""
    asked = tuple(held)
    chips = sorted({chip for one in asked for chip, count in one.accelerators.items() if count > 0})
    return Capacity(
        cpus=sum(one.cpus for one in asked),
        memory_gib=sum(one.memory_gib for one in asked),
        accelerators={chip: sum(one.accelerators.get(chip, 0) for one in asked) for chip in chips},
    )


def at_least(whole: Capacity, held: Capacity) -> Capacity:
    """Return a capacity that takes in what is held of it: an engine may have shrunk under the jobs that run there."""
    there, taken = whole.accelerators, held.accelerators
    return Capacity(
        cpus=max(whole.cpus, held.cpus),
        memory_gib=max(whole.memory_gib, held.memory_gib),
        accelerators={chip: max(there.get(chip, 0), taken.get(chip, 0)) for chip in {*there, *taken}},
    )


def chip_of(asked: Resources) -> str:
    """Return the chip that the only row of a site on which a job may run counts: `CPU` for one that asks for none."""
    return next((chip for chip, count in sorted(asked.accelerators.items()) if count > 0), CPU)


def rows(engine: str, whole: Capacity, lane: int, residency: frozenset[str] = frozenset()) -> tuple[SiteShape, ...]:
    """Return an engine as rows of sites."""
    milli = (math.floor(whole.cpus * MILLI + ROUNDING),)
    mib = (math.floor(whole.memory_gib * MIB_A_GIB + ROUNDING),)
    host = SiteShape(
        name=engine,
        node_units=milli,
        lane=lane,
        chip=CPU,
        residency=residency,
        unit_weight=1 / MILLI,
        node_cpu_milli=milli,
        node_memory_mib=mib,
        host=engine,
    )
    pools = sorted((chip, count) for chip, count in whole.accelerators.items() if count > 0)
    return host, *(
        SiteShape(name=f"{engine}/{chip}", node_units=(count,), lane=lane, host=engine, chip=chip, residency=residency)
        for chip, count in pools
    )
