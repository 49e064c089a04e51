"""What a running platform is made of: settings, clock, database, artifact store, keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.clock import Clock, SystemClock
from headwater.core.db import Database
from headwater.core.errors import Conflict, Unavailable
from headwater.core.keys import Keyring
from headwater.core.settings import Settings
from headwater.core.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One platform, open. Services take it, or the part of it that they need."""

    settings: Settings
    clock: Clock
    db: Database
    store: Store
    keyring: Keyring

    def found(self) -> str:
        """Make the first organisation and administrator if need be, and return the administrator's id."""

        def found(connection: Connection) -> str:
            return identity.found(connection, at=self.clock.now())

        try:
            return self.db.write(found)
        except Conflict:  # another process founded it between our look and our write: now we see its administrator
            return self.db.write(found)


@contextlib.contextmanager
def opened(settings: Settings, *, clock: Clock | None = None) -> Iterator[Platform]:
    """Open the platform of a data folder, making or upgrading its database first, and close it at the end."""
    from headwater.core.migrations import upgrade

    try:
        settings.data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"The data folder cannot be made: {error.strerror}.", "Choose another with --data.", where=str(settings.data_folder)
        ) from error
    db = Database(settings.database)
    try:
        upgrade(db)
        yield Platform(
            settings=settings,
            clock=clock or SystemClock(),
            db=db,
            store=Store(settings.store, max_bytes=settings.store_max_bytes),
            keyring=Keyring(settings.data_folder / "keys"),
        )
    finally:
        db.close()
