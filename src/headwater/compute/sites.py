"""The register of sites: what may run jobs beside the engines of the settings, by whose leave, and whether it takes any now.

A site is an engine under a name of its own: which kind, and how it is reached. What is known of the place, its owner's prices and
its carbon comes from the sites file. An order to drain is kept here for every site, also for one that the settings name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from sqlalchemy import JSON, Column, Connection, String, Table, delete, func, insert, select, update

from headwater.compute import jobs, pool
from headwater.compute.jobs import ANYWHERE, ENDS
from headwater.compute.work import EngineFactory, SiteOptions
from headwater.core import ledger
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.registry import Family

ENGINES: Family[EngineFactory] = Family("engines", EngineFactory)
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

sites = Table(
    "site",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("engine", String(40), nullable=False),
    Column("options", JSON),
    Column("order", String(8), nullable=False),
    Column("why", String(400), nullable=False, default=""),
    Column("since", UtcTime, nullable=False),
)


class Order(StrEnum):
    """What a site is told to do."""

    OPEN = "open"
    DRAIN = "drain"
    """Start nothing more; what runs there ends as it will."""
    EVICT = "evict"
    """Start nothing more, and stop what runs there, to go on from its checkpoints: elsewhere, where it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A site of the register. `options` is None for an engine that the settings name and that was only given an order."""

    name: str
    engine: str
    options: Mapping[str, Any] | None
    order: Order
    why: str
    since: datetime


def options_of(engine: str, told: Mapping[str, Any]) -> SiteOptions:
    """Return an engine's options, checked. Raises NotFound for an engine that has no sites, BadInput for options that do not fit."""
    kinds = [name for name in ENGINES.names() if ENGINES.get(name).site is not None]
    if engine not in kinds:
        raise NotFound(f"No sites can be registered with an engine '{engine[:40]}'.", f"There are: {', '.join(kinds)}.")
    try:
        return ENGINES.get(engine).options.model_validate(dict(told))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        fields = ", ".join(ENGINES.get(engine).options.model_fields)
        raise BadInput(f"The options do not fit a site with engine '{engine}': {wrong}.", f"Options: {fields}.") from error


def add(connection: Connection, name: str, engine: str, told: Mapping[str, Any], *, actor: str, at: datetime) -> Registered:
    """Register a site. Raises BadInput for a name or options that do not fit, Conflict where there is one of that name."""
    if not NAME.fullmatch(name) or name in (ANYWHERE, *ENGINES.names()):
        raise BadInput(
            f"'{name[:60]}' cannot be the name of a site.", "Use up to 40 lower-case letters, digits and dashes; no engine's name."
        )
    options = options_of(engine, told).model_dump(mode="json", exclude_defaults=True)
    if connection.execute(select(sites.c.name).where(sites.c.name == name)).first() is not None:
        raise Conflict(f"There is a site '{name}' already.", "Remove it first: headwater site remove.")
    made = Registered(name=name, engine=engine, options=options, order=Order.OPEN, why="", since=at)
    connection.execute(insert(sites).values(asdict(made)))
    ledger.append(connection, "site.added", subject=name, actor=actor, at=at, body={"engine": engine, "options": options})
    return made


def remove(connection: Connection, name: str, *, actor: str, at: datetime) -> None:
    """Take a site off the register. Raises NotFound, and Conflict while jobs that have not ended are bound to it."""
    found = get(connection, name)
    column = jobs.jobs.c
    bound = select(func.count()).select_from(jobs.jobs).where(column.engine == name, column.state.not_in(sorted(ENDS)))
    if count := connection.execute(bound).scalar_one():
        raise Conflict(f"{count} job(s) are bound to site '{name}' and have not ended.", "Drain it, and cancel those that only it may run.")
    connection.execute(delete(sites).where(sites.c.name == name))
    ledger.append(connection, "site.removed", subject=name, actor=actor, at=at, body={"engine": found.engine})


def tell(connection: Connection, name: str, order: Order, *, why: str, actor: str, at: datetime) -> Registered:
    """Give a site an order. Raises NotFound for a site that is neither registered nor an engine that the platform uses."""
    values = {"order": order, "why": why[:400], "since": at}
    if connection.execute(update(sites).where(sites.c.name == name).values(values)).rowcount == 0:
        if name not in _used(connection):
            raise NotFound(f"There is no site '{name[:60]}'.", "List them: headwater site list.")
        connection.execute(insert(sites).values(name=name, engine=name, options=None, **values))
    ledger.append(connection, f"site.{order}", subject=name, actor=actor, at=at, body={"why": why[:400]})
    return get(connection, name)


def _used(connection: Connection) -> set[str]:
    return set(pool.noted(connection)) - {"platform"}


def get(connection: Connection, name: str) -> Registered:
    """Return a site of the register. Raises NotFound."""
    row = connection.execute(select(sites).where(sites.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"No site '{name[:60]}' is registered.", "List them: headwater site list.")
    return _from(row)


def listed(connection: Connection) -> tuple[Registered, ...]:
    """Return the register, by name."""
    return tuple(_from(row) for row in connection.execute(select(sites).order_by(sites.c.name)))


def _from(row: Any) -> Registered:
    return Registered(**(row._asdict() | {"order": Order(row.order)}))
