"""Usage records: one for each attempt that ended, also those that were preempted, failed or lost, and sums over them.

The ledger entry `usage.metered` holds every figure of a record; the table is made from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Connection, Float, Index, Integer, String, Table, delete, func, insert, select
from sqlalchemy.engine import Row

from headwater.compute.jobs import within
from headwater.compute.settlement.entries import enter
from headwater.compute.settlement.periods import Period
from headwater.core.clock import from_text, to_text
from headwater.core.db import UtcTime, metadata
from headwater.core.ledger import Entry

KIND = "usage.metered"
SUMS = ("accelerator_s", "domestic_accelerator_s", "core_s", "cpu_s", "gib_s", "energy_kwh", "location_kgco2", "market_kgco2")

usage_records = Table(
    "usage_record",
    metadata,
    Column("key", String(140), primary_key=True),
    Column("job", String(120), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("organisation", String(200), nullable=False),
    Column("site", String(40), nullable=False),
    Column("outcome", String(12), nullable=False),
    Column("measured_by", String(10), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    Column("metered_at", UtcTime, nullable=False),
    Column("accelerators", JSON, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("memory_gib", Float, nullable=False),
    Column("accelerator_s", Float, nullable=False),
    Column("domestic_accelerator_s", Float, nullable=False),
    Column("core_s", Float, nullable=False),
    Column("cpu_s", Float),
    Column("gib_s", Float, nullable=False),
    Column("energy_kwh", Float),
    Column("location_kgco2", Float),
    Column("market_kgco2", Float),
    Column("energy_basis", String(300), nullable=False),
    Column("card", Integer),
    Column("charge_fen", BigInteger),
    Column("charge_basis", String(300), nullable=False),
    Index("ix_usage_record_site", "site", "metered_at"),
    Index("ix_usage_record_organisation", "organisation", "metered_at"),
    Index("ix_usage_record_job", "job"),
)


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """What one attempt used: seconds times accelerators, cores and GiB that it held, CPU seconds as measured, energy and carbon.

    None is unknown, and the basis says why. `card` is the version of the site's rate card that it was charged by.
    """

    key: str
    job: str
    attempt: int
    organisation: str
    site: str
    outcome: Outcome
    measured_by: str
    """`engine`: the engine's own account of how long it ran; `platform`: from its recorded start to its recorded end."""
    started_at: datetime
    ended_at: datetime
    metered_at: datetime
    """When it was recorded: the moment that puts it into a period, so that a past period never changes."""
    accelerators: Mapping[str, int]
    cpus: float
    memory_gib: float
    accelerator_s: float
    domestic_accelerator_s: float
    core_s: float
    cpu_s: float | None
    gib_s: float
    energy_kwh: float | None
    location_kgco2: float | None
    market_kgco2: float | None
    energy_basis: str
    card: int | None
    charge_fen: int | None
    charge_basis: str

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values: the body of its ledger entry, and a line of a usage statement."""
        told = asdict(self) | {"accelerators": dict(self.accelerators), "outcome": str(self.outcome)}
        return told | {name: to_text(told[name]) for name in ("started_at", "ended_at", "metered_at")}


def record_from(told: Mapping[str, Any]) -> UsageRecord:
    """Return the record that `as_json` wrote. Raises KeyError, TypeError or ValueError for what is none."""
    times = {name: from_text(told[name]) for name in ("started_at", "ended_at", "metered_at")}
    return UsageRecord(**(dict(told) | times | {"outcome": Outcome(told["outcome"])}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Sums over some records. Energy and carbon are sums of what is known, `unknown_energy` counts the records without."""

    records: int = 0
    accelerator_s: float = 0.0
    domestic_accelerator_s: float = 0.0
    core_s: float = 0.0
    cpu_s: float = 0.0
    gib_s: float = 0.0
    energy_kwh: float = 0.0
    location_kgco2: float = 0.0
    market_kgco2: float = 0.0
    unknown_energy: int = 0
    charge_fen: int = 0
    uncharged: int = 0
    """Records that no rate card priced."""

    @property
    def domestic_share(self) -> float | None:
        """The share of accelerator-seconds on chips whose vendor has its seat here, 0 to 1; None where none were used.

        A chip whose origin is not known does not count as domestic.
        """
        return self.domestic_accelerator_s / self.accelerator_s if self.accelerator_s > 0 else None


def enter_record(connection: Connection, record: UsageRecord, *, actor: str) -> None:
    """Record an attempt's use with its ledger entry, in the transaction of its end."""
    enter(connection, KIND, applied, subject=record.key, actor=actor, at=record.metered_at, body=record.as_json())


def applied(connection: Connection, entry: Entry) -> None:
    """Take a record into the table."""
    connection.execute(insert(usage_records).values(asdict(record_from(entry.body)) | {"outcome": entry.body["outcome"]}))


def clear(connection: Connection) -> None:
    """Empty the table, to be rebuilt."""
    connection.execute(delete(usage_records))


def of_site(connection: Connection, site: str, period: Period, *, limit: int | None = None) -> tuple[UsageRecord, ...]:
    """Return a site's records of a period in the order in which they were made."""
    column = usage_records.c
    query = select(usage_records).where(column.site == site, _in(period)).order_by(column.metered_at, column.key).limit(limit)
    return tuple(map(_from_row, connection.execute(query)))


def sites(connection: Connection) -> tuple[str, ...]:
    """Return every site that has a record."""
    return tuple(connection.execute(select(usage_records.c.site).distinct().order_by(usage_records.c.site)).scalars())


def by_organisation(
    connection: Connection, scopes: Iterable[str], period: Period | None = None, *, limit: int = 1000
) -> tuple[tuple[str, str, Total], ...]:
    """Return each organisation's total at each site in a period or ever, within some scopes: organisation, site, total."""
    column = usage_records.c
    query = select(column.organisation, column.site, *_totals()).where(within(column.organisation, scopes))
    query = query if period is None else query.where(_in(period))
    query = query.group_by(column.organisation, column.site).order_by(column.organisation, column.site).limit(limit)
    return tuple((row.organisation, row.site, _total(row)) for row in connection.execute(query))


def total_of(connection: Connection, scopes: Iterable[str], period: Period | None = None) -> Total:
    """Return the total of some scopes, in a period or ever."""
    query = select(*_totals()).where(within(usage_records.c.organisation, scopes))
    query = query if period is None else query.where(_in(period))
    return _total(connection.execute(query).one())


def charged_fen(connection: Connection, organisation: str, period: Period) -> int:
    """Return what an organisation and all below it were charged in a period."""
    column = usage_records.c
    query = select(func.sum(column.charge_fen)).where(within(column.organisation, [organisation]), _in(period))
    return int(connection.execute(query).scalar_one() or 0)


def summed(records: Iterable[UsageRecord]) -> Total:
    """Return the total of some records; the order in which they come changes nothing. Pure."""
    every = list(records)
    sums = {name: math.fsum(value for one in every if (value := getattr(one, name)) is not None) for name in SUMS}
    return Total(
        records=len(every),
        unknown_energy=sum(one.energy_kwh is None for one in every),
        charge_fen=sum(one.charge_fen or 0 for one in every),
        uncharged=sum(one.charge_fen is None for one in every),
        **sums,
    )


def add(one: Total, other: Total) -> Total:
    """Return the sum of two totals. Pure."""
    return Total(**{name: getattr(one, name) + getattr(other, name) for name in Total.__dataclass_fields__})


def _in(period: Period) -> Any:
    column = usage_records.c.metered_at
    return (column >= period.since) & (column < period.until)


def _totals() -> list[Any]:
    column = usage_records.c
    sums = [func.sum(column[name]).label(name) for name in (*SUMS, "charge_fen")]
    known = [func.count(column[name]).label(f"known_{name}") for name in ("energy_kwh", "charge_fen")]
    return [func.count().label("records"), *sums, *known]


def _total(row: Row[Any]) -> Total:
    told = row._asdict()
    return Total(
        records=row.records,
        unknown_energy=row.records - row.known_energy_kwh,
        charge_fen=int(row.charge_fen or 0),
        uncharged=row.records - row.known_charge_fen,
        **{name: float(told[name] or 0.0) for name in SUMS},
    )


def _from_row(row: Row[Any]) -> UsageRecord:
    told = row._asdict()
    return UsageRecord(**(told | {"outcome": Outcome(told["outcome"])}))
