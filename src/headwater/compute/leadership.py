"""Which server decides: one at a time, by a lease in the database; the others stand by.

The lease is a row: who holds it, an epoch that grows with each new holder, and when it lapses by the database's own clock. Its
holder renews it. Another takes it when it has lapsed or was let go of, or at once when its holder's process is gone from this
machine. Every transaction of a leader begins by checking that the epoch is still its own, and keeps it so until its end: a leader
that was paused or cut off can change nothing once another has taken over.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import JSON, Column, ColumnElement, Connection, Float, Integer, String, Table, func, insert, literal_column, select, update

from headwater.core.db import Database, metadata
from headwater.core.errors import HeadwaterError, Unavailable

T = TypeVar("T")

NAME = "dispatcher"
LASTS_S = 6.0
RENEW_S = 2.0
TRY_S = 0.5
"""How often a server that stands by looks whether it may lead."""
IDLE_MS = 5000
"""How long PostgreSQL lets a leader pause inside a transaction before it ends it: its locks would hold up the next leader."""

lease = Table(
    "lease",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("expires", Float, nullable=False),
    Column("homes", JSON, nullable=False),
)

log = structlog.get_logger("headwater.compute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, told apart from every other that there ever was: `machine` is one boot of one machine, or container of it."""

    host: str
    machine: str
    pid: int
    began: int

    def __str__(self) -> str:
        return f"{self.host} {self.machine} {self.pid} {self.began}"


def this_process() -> Process:
    """Return this process."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    machine = f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return Process(host=socket.gethostname()[:60], machine=machine, pid=os.getpid(), began=_began(os.getpid()) or 0)


class Leadership:
    """The lead over a database's jobs, as this server has or has not got it. `start` it once; `stop` it. Safe for several threads."""

    def __init__(self, db: Database, homes: Mapping[str, str]) -> None:
        """Make it; `homes` are the folders of this server's engines by engine (see `engines/home.py`), told to those who stand by.

        It may grow while this server leads: what it then holds is told at the next renewal.
        """
        self._db = db
        self._homes = homes
        self._holder = f"{this_process()} {secrets.token_hex(4)}"
        self._epoch: int | None = None
        self._until_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leadership", daemon=True)

    @property
    def epoch(self) -> int | None:
        """The epoch that this server leads in, or None while it stands by. It ends by this machine's clock at the latest when it lapses."""
        epoch = self._epoch
        return epoch if time.monotonic() < self._until_s else None

    def start(self) -> None:
        """Take the lead if nobody has it, and go on to renew it or to wait for it. Raises Unavailable where the database is away."""
        self._try()
        self._thread.start()

    def stop(self) -> None:
        """Let go of the lead, so that another may have it at once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        epoch, self._until_s = self._epoch, 0.0
        if epoch is None:
            return
        try:
            self._db.write(lambda connection: connection.execute(update(lease).where(*_is(epoch)).values(expires=0.0)))
        except HeadwaterError as error:
            log.warning("leadership.not_let_go", error=str(error))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of the leader, as `Database.write` does. Raises Unavailable where this server does not lead."""
        epoch = self.epoch
        if epoch is None:
            raise _stands_by()

        def fenced(connection: Connection) -> T:
            _check(connection, epoch)
            return work(connection)

        return self._db.write(fenced)

    def elsewhere(self, connection: Connection) -> frozenset[str]:
        """Return this server's engines whose folders are not the leader's: what it put there before is nobody's any more."""
        told = connection.execute(select(lease.c.homes, lease.c.holder).where(lease.c.name == NAME)).one_or_none()
        if told is None or told.holder == self._holder:
            return frozenset()
        return frozenset(name for name, home in self._homes.items() if told.homes.get(name) != home)

    def _keep(self) -> None:
        while not self._stopping.wait(TRY_S if self.epoch is None else RENEW_S):
            try:
                self._try()
            except Exception as error:  # noqa: BLE001 - whatever keeps the database away, the lease lapses and is asked for again
                log.warning("leadership.not_renewed", error=str(error))
                self._stopping.wait(TRY_S)

    def _try(self) -> None:
        began_s, led = time.monotonic(), self.epoch
        epoch = self._db.write(self._taken)
        self._until_s = began_s + LASTS_S if epoch is not None else 0.0
        self._epoch = epoch
        if epoch != led:
            log.info("leadership.changed", epoch=epoch, leads=epoch is not None)

    def _taken(self, connection: Connection) -> int | None:
        """Renew the lease, or take it where it is free, and return its epoch; None where another holds it."""
        now = _clock(connection)
        fresh = {"expires": now + LASTS_S, "holder": self._holder, "homes": dict(self._homes)}
        if self._epoch is not None:
            renewed = connection.execute(update(lease).where(*_is(self._epoch)).values(expires=now + LASTS_S, homes=dict(self._homes)))
            if renewed.rowcount == 1:
                return self._epoch
        query = select(lease.c.epoch, lease.c.holder, (lease.c.expires <= now).label("lapsed")).where(lease.c.name == NAME)
        held = connection.execute(query.with_for_update()).one_or_none()
        if held is None:
            connection.execute(insert(lease).values(name=NAME, epoch=1, **fresh))
            return 1
        if not held.lapsed and not gone(held.holder):
            return None
        connection.execute(update(lease).where(lease.c.name == NAME).values(epoch=held.epoch + 1, **fresh))
        return int(held.epoch) + 1


def gone(holder: str) -> bool:
    """Tell whether a lease's holder was a process of this machine that has ended. One elsewhere counts as alive until it lapses."""
    here = this_process()
    parts = holder.split(" ")
    if len(parts) != 5 or parts[:2] != [here.host, here.machine]:
        return False
    return _began(int(parts[2])) != int(parts[3])


def _began(pid: int) -> int | None:
    """Return when a process began, in ticks since this machine did; None where it has ended, even if nobody has taken it in yet."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if told[0] in "ZX" else int(told[19])


def _check(connection: Connection, epoch: int) -> None:
    """Raise Unavailable unless the lease is still of this epoch, and keep it so until the transaction ends.

    The lock lets renewals pass and holds takeovers up. PostgreSQL ends the transaction of a leader that is paused in it.
    """
    query = select(lease.c.epoch).where(*_is(epoch)).with_for_update(read=True, key_share=True)
    if connection.dialect.name == "postgresql":
        query = query.add_columns(func.set_config("idle_in_transaction_session_timeout", str(IDLE_MS), True))
    if connection.execute(query).first() is None:
        raise _stands_by()


def _is(epoch: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return lease.c.name == NAME, lease.c.epoch == epoch


def _clock(connection: Connection) -> ColumnElement[Any]:
    """Return the database's clock, in seconds since 1970."""
    sqlite = connection.dialect.name == "sqlite"
    return literal_column("(julianday('now') - 2440587.5) * 86400.0" if sqlite else "extract(epoch from clock_timestamp())", Float)


def _stands_by() -> Unavailable:
    return Unavailable(
        "This server does not lead: another decides on this database's jobs.", "Look at that one; jobs may be sent to either."
    )
