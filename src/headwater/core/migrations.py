"""Bring a database to this version's schema, or refuse one that is newer.

The migrations are Alembic scripts in `headwater/migrations/versions`, named `NNNN_what.py`; the
number is the revision. Alembic itself is imported only where there is something to do.
"""

from __future__ import annotations

from importlib.resources import files

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from headwater.core.db import Database
from headwater.core.errors import Conflict, Unavailable


def newest() -> str:
    """Return the newest revision that this version of Headwater knows."""
    names = (entry.name for entry in files("headwater.migrations").joinpath("versions").iterdir())
    return max(name.split("_")[0] for name in names if name[:4].isdigit())


def current(db: Database) -> str | None:
    """Return the revision a database is at, or None where it is empty. Raises Unavailable."""
    try:
        with db.engine().connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("select version_num from alembic_version")).scalar_one_or_none()
    except DBAPIError as error:
        raise Unavailable(
            f"The database cannot be opened: {error.orig}.",
            "Check the address, that it runs, and the rights on the data folder.",
            where=db.engine().url.render_as_string(hide_password=True),
        ) from error


def upgrade(db: Database) -> None:
    """Apply the migrations that a database lacks. Raises Conflict for a database made by a newer version."""
    at, target = current(db), newest()
    if at == target:
        return
    if at is not None and at > target:
        raise Conflict(f"The database is at revision {at}; this version knows up to {target}.", "Install the newer version that made it.")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "headwater:migrations")
    with db.engine().begin() as connection:
        if not db.is_sqlite:
            connection.execute(text("select pg_advisory_xact_lock(7351001)"))  # one upgrade at a time; SQLite has begun immediate
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
