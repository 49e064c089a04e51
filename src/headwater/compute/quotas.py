"""How much organisations may hold at once, and what each one's share weighs: the scheduler's tree of queues.

One normalised unit is an accelerator, or a CPU where a job asks for none. An organisation's jobs count against its own quota and
against those of all above it. One that may borrow runs past its quota on what the quota above it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Column, Connection, Float, ForeignKey, String, Table, delete, insert, select

from headwater.compute.jobs import within
from headwater.compute.scheduler.shapes import QueueShape
from headwater.compute.usage import lineage
from headwater.core import identity, ledger
from headwater.core.db import metadata
from headwater.core.errors import NotFound

quotas = Table(
    "quota",
    metadata,
    Column("organisation", String(200), ForeignKey("organisation.path"), primary_key=True),
    Column("units", Float),
    Column("weight", Float, nullable=False),
    Column("may_borrow", Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What an organisation may hold at once (None: no limit of its own), its weight beside its siblings, whether it may borrow."""

    organisation: str
    units: float | None = None
    weight: float = 1.0
    may_borrow: bool = True


def put(connection: Connection, quota: Quota, *, actor: str, at: datetime) -> None:
    """Set an organisation's quota, with its ledger entry. Raises NotFound for an unknown organisation."""
    column = identity.organisations.c.path
    if connection.execute(select(column).where(column == quota.organisation)).first() is None:
        raise NotFound(f"There is no organisation {quota.organisation[:80]}.", "Add it first: headwater organisation add.")
    body = {"units": quota.units, "weight": quota.weight, "may_borrow": quota.may_borrow}
    connection.execute(delete(quotas).where(quotas.c.organisation == quota.organisation))
    connection.execute(insert(quotas).values(organisation=quota.organisation, **body))
    ledger.append(connection, "quota.set", subject=quota.organisation, actor=actor, at=at, body=body)


def remove(connection: Connection, organisation: str, *, actor: str, at: datetime) -> None:
    """Remove an organisation's quota, with its ledger entry. Raises NotFound where it has none."""
    if connection.execute(delete(quotas).where(quotas.c.organisation == organisation)).rowcount == 0:
        raise NotFound(f"{organisation[:80]} has no quota of its own.", "List them: headwater quota list.")
    ledger.append(connection, "quota.removed", subject=organisation, actor=actor, at=at)


def listed(connection: Connection, scopes: Iterable[str] = (identity.ROOT,)) -> tuple[Quota, ...]:
    """Return the quotas of the organisations within some scopes, by path."""
    query = select(quotas).where(within(quotas.c.organisation, scopes)).order_by(quotas.c.organisation)
    return tuple(Quota(**row._mapping) for row in connection.execute(query))


def above(organisation: str) -> str:
    """Return the organisation in which one must hold the permission to set this one's quota: nobody raises their own."""
    return organisation.rpartition("/")[0] or identity.ROOT


def rooms(set_quotas: Sequence[Quota], held: Mapping[str, float]) -> Callable[[str], bool]:
    """Return what tells whether quotas keep an organisation from starting anything while these units are held, by path."""
    ends = {
        one.organisation
        for one in set_quotas
        if one.units is not None and held.get(one.organisation, 0.0) >= one.units and (not one.may_borrow or "/" not in one.organisation)
    }
    return lambda organisation: bool(ends) and not ends.isdisjoint(lineage(organisation))


def queues(set_quotas: Sequence[Quota], organisations: Iterable[str], used: Mapping[str, float]) -> tuple[QueueShape, ...]:
    """Return the tree of queues, parents first, for these quotas and the organisations whose jobs wait or run; `used` is decayed use."""
    known = {one.organisation: one for one in set_quotas}
    paths = {path for named in (*known, *organisations) for path in lineage(named)}
    return tuple(_queue(known.get(path, Quota(organisation=path)), used.get(path, 0.0)) for path in sorted(paths))


def _queue(quota: Quota, used: float) -> QueueShape:
    path, parent = quota.organisation, quota.organisation.rpartition("/")[0] or None
    return QueueShape(name=path, parent=parent, weight=quota.weight, quota=quota.units, may_borrow=quota.may_borrow, usage=used)
