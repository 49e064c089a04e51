"""A small table of people, put under protection."""

from __future__ import annotations

import io
from datetime import timedelta

import polars as pl
from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.identity import SYSTEM, Actor
from headwater.core.platform import Platform
from headwater.data.privacy.protected import budget, holding
from headwater.data.privacy.protected.holding import Declared, Protected

LAB = "city/lab"
ROWS = 400
COLUMNS = [
    {"name": "age", "kind": "number", "minimum": 0, "maximum": 100},
    {"name": "income", "kind": "number", "minimum": 0, "maximum": 1000},
    {"name": "sex", "kind": "category", "values": ["F", "M"]},
    {"name": "district", "kind": "category", "values": ["east", "west", "north"]},
]


def frame() -> pl.DataFrame:
    """Return 400 people: 200 women and 200 men, 6 of the men in the north."""
    sex = ["F" if row % 2 else "M" for row in range(ROWS)]
    district = [
        "north" if row in range(0, 12, 2) or row in range(101, 141, 2) else "east" if row % 4 < 2 else "west" for row in range(ROWS)
    ]
    return pl.DataFrame(
        {
            "age": [18 + row % 60 for row in range(ROWS)],
            "income": [100.0 + row % 90 for row in range(ROWS)],
            "sex": sex,
            "district": district,
        }
    )


def protect(site: Platform, name: str = "people", **more: object) -> Protected:
    """Return the table, stored and protected."""
    data = io.BytesIO()
    frame().write_parquet(data)
    declared = Declared.model_validate({"artifact": site.store.put_bytes(data.getvalue()), "columns": COLUMNS} | more)
    return holding.register(site, name, "city", declared, actor=site.found())


def asker(site: Platform, *, epsilon: float = 1.0, most: int = 100, organisation: str = LAB, table: str = "people") -> Actor:
    """Return a developer of another organisation, with a budget on the table."""

    def work(connection: Connection) -> Actor:
        now = site.clock.now()
        if (
            connection.execute(identity.select(identity.organisations).where(identity.organisations.c.path == organisation)).one_or_none()
            is None
        ):
            identity.add_organisation(connection, organisation, organisation, actor=SYSTEM, at=now)
        person = identity.add_person(connection, f"asker of {organisation}", organisation, actor=SYSTEM, at=now)
        identity.grant(connection, person, "developer", organisation, reason="test", actor=SYSTEM, at=now)
        return identity.load_actor(connection, person, now=now + timedelta(seconds=1))

    actor = site.db.write(work)
    if epsilon:
        budget.give(site, table, organisation, epsilon=epsilon, most_questions=most, reason="agreed", actor=site.found())
    return actor
