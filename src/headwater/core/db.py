"""The database: SQLite in one file by default, PostgreSQL by URL, the same code over both.

Reads take a connection each. Writes go through `Database.write(work)`, where `work` gets a
connection inside a transaction and its return value comes back only after the commit:

- On SQLite one writer thread runs them and commits several at once (group commit), so that a burst of
  small writes pays for one disk flush; each has a savepoint of its own, so one that fails leaves no
  trace. WAL, `synchronous=FULL`: what was answered survives power loss.
- On PostgreSQL each runs in the caller's thread and is repeated when the server reports a
  serialisation failure or deadlock; `work` must therefore do nothing but talk to the database.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, String, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.types import TypeDecorator

from headwater.core import clock
from headwater.core.errors import HeadwaterError, Unavailable

T = TypeVar("T")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every room's tables."""

LARGEST_BATCH = 64
BUSY_MS = 30_000
CONNECTIONS = 32
"""To SQLite that are kept once they were needed: as many threads answer requests, and opening one costs more than a query."""
POSTGRES_ATTEMPTS = 8
RETRY_CODES = {"40001", "40P01", "23505", "0A000"}
"""Serialisation failure; deadlock; a row that another transaction made first, which the next attempt will see; a table that changed since
a statement was prepared, which the next attempt prepares anew."""
RESTS_S = 1.0
"""After how long a connection to PostgreSQL is asked whether it is still there before it is used again."""
AWAY_CODES = ("08", "57P", "25P03")
"""What PostgreSQL's codes begin with where it ends a session, or takes none: stopping, starting, or tired of an idle transaction."""


class UtcTime(TypeDecorator[datetime]):
    """A UTC time kept as RFC 3339 text of fixed width, so that both databases keep and sort it alike."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:  # noqa: ARG002
        return None if value is None else clock.to_text(value)

    def process_result_value(self, value: str | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else clock.from_text(value)


@dataclass(slots=True)
class _Write:
    work: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class Database:
    """One database. Thread-safe. Close it to end its writer thread."""

    def __init__(self, url: str) -> None:
        """Open the database at a SQLAlchemy URL (`sqlite:///path` or `postgresql+pg8000://…`)."""
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._reader = _sqlite_engine(url, "BEGIN") if self.is_sqlite else _postgres_engine(url)
        self._pending: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        if self.is_sqlite:
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE")
            self._thread = threading.Thread(target=self._write_loop, name="database-writer", daemon=True)
            self._thread.start()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection with one consistent view of the data, for reading only."""
        try:
            with self._reader.connect() as connection:
                yield connection
        except DBAPIError as error:
            if _is_away(error):
                raise self._unavailable(error) from error
            raise

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return what it returns, after the commit.

        What `work` raises comes back to the caller and its changes are undone.
        """
        if self._closed:
            raise Unavailable("The database is closed.", "Start the platform again.", where=self._place())
        if not self.is_sqlite:
            return self._write_postgres(work)
        if threading.current_thread() is self._thread:
            raise RuntimeError("write() called inside write(): pass the connection on instead")
        item = _Write(work)
        self._pending.put(item)
        result: T = item.done.result()
        return result

    def close(self) -> None:
        """Finish the writes under way and let go of the database."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._pending.put(None)
            self._thread.join()
            self._writer.dispose()
        self._reader.dispose()

    def engine(self) -> Engine:
        """Return the engine, for migrations only."""
        return self._writer if self.is_sqlite else self._reader

    def _write_postgres(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(1, POSTGRES_ATTEMPTS + 1):
            try:
                with self._reader.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt < POSTGRES_ATTEMPTS and _sql_state(error) in RETRY_CODES:
                    continue
                if _is_away(error):
                    raise self._unavailable(error) from error
                raise
        raise AssertionError("unreachable")

    def _write_loop(self) -> None:
        while (first := self._pending.get()) is not None:
            batch = [first]
            with contextlib.suppress(queue.Empty):
                while len(batch) < LARGEST_BATCH:
                    item = self._pending.get_nowait()
                    if item is None:
                        self._pending.put(None)
                        break
                    batch.append(item)
            self._commit(batch)

    def _commit(self, batch: list[_Write]) -> None:
        results: list[tuple[_Write, Any]] = []
        try:
            with self._writer.begin() as connection:
                for item in batch:
                    try:
                        with connection.begin_nested():
                            results.append((item, item.work(connection)))
                    except OperationalError:
                        raise
                    except BaseException as error:  # noqa: BLE001 - whatever the caller's work raised goes back to the caller
                        item.done.set_exception(error)
        except DBAPIError as error:
            failure = self._unavailable(error)
            for item in batch:
                if not item.done.done():
                    item.done.set_exception(failure)
            return
        for item, value in results:
            item.done.set_result(value)

    def _unavailable(self, error: DBAPIError) -> HeadwaterError:
        return Unavailable(
            f"The database did not answer: {error.orig}.", "Check that it runs, is not locked, and has disk space.", where=self._place()
        )

    def _place(self) -> str:
        return self._reader.url.render_as_string(hide_password=True)


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path}"


def _sql_state(error: DBAPIError) -> str:
    details = error.orig.args[0] if error.orig is not None and error.orig.args else {}
    return str(details.get("C", "")) if isinstance(details, dict) else ""


def _is_away(error: DBAPIError) -> bool:
    """Tell whether an error says that the database is not there, or went away in the middle."""
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated or _sql_state(error).startswith(AWAY_CODES)


def _postgres_engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=8, hide_parameters=True)  # values stay out of errors, so of logs

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        from headwater.core.postgres import Connection as Prepared  # the driver is loaded only where it is used

        return Prepared(*arguments, **options)

    @event.listens_for(engine, "checkin")
    def _rest(_connection: Any, record: Any) -> None:
        record.info["rests_since_s"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _look(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("rests_since_s", time.monotonic()) < RESTS_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError("the connection was closed while it rested") from error  # the pool makes another

    return engine


def _sqlite_engine(url: str, begin: str) -> Engine:
    connect = {"timeout": BUSY_MS / 1000, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect, hide_parameters=True, pool_size=CONNECTIONS, max_overflow=CONNECTIONS)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we begin transactions ourselves: Python's driver begins them too late
        for pragma in (f"busy_timeout={BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _use_write_ahead_log(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL. SQLite answers "locked" at once, without its busy timeout, while another connection switches it too."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
