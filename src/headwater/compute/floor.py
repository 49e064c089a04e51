"""The engines of a platform: those of the settings, and those of registered sites, opened and closed as the register says.

A site is opened in the background, so that one which does not answer holds nobody up; it is tried again, at longer and longer
intervals. What each engine has and how it fares is recorded when it changes, for those who ask.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from headwater.compute import pool, sites
from headwater.compute.engines import attempt
from headwater.compute.faring import Health, stand
from headwater.compute.pool import Stand, Standing
from headwater.compute.rounds import Rounds
from headwater.compute.sites import ENGINES, Order, Registered
from headwater.compute.work import Capacity, Engine, Remote
from headwater.core import ledger
from headwater.core.errors import HeadwaterError
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform

FOLDERS = "engines"
"""In the data folder: a link to the folder of each engine's attempts, by its name, also of those that were closed."""
READ_S = 1.0
"""Between looks at the register."""
FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 60.0
NOTHING = Capacity(cpus=0.0, memory_gib=0.0)

log = structlog.get_logger("headwater.compute")


@dataclass(slots=True, kw_only=True)
class _Site:
    """One engine, or the attempts to open it."""

    order: Order = Order.OPEN
    why: str = ""
    registered: Registered | None = None
    rounds: Rounds | None = None
    asked_s: float = field(default_factory=time.monotonic)
    problem: str = ""
    opening: bool = False
    retry_s: float = FIRST_RETRY_S
    next_try_s: float = 0.0
    losses_s: list[float] = field(default_factory=list)
    is_lost: bool = False
    answers_since_s: float = field(default_factory=time.monotonic)

    def silent_s(self) -> float:
        if self.rounds is None:
            return time.monotonic() - self.asked_s
        return self.rounds.engine.silent_s() if isinstance(self.rounds.engine, Remote) else 0.0


class Floor:
    """All engines of one platform. For the dispatcher's thread, but for opening, which runs on `background`."""

    def __init__(
        self,
        platform: Platform,
        engines: Mapping[str, Engine],
        rounds: Callable[[Engine], Rounds],
        background: Callable[[str, Callable[[], None]], None],
        write: Callable[[Callable[[Connection], object]], object],
    ) -> None:
        """Take over engines that are open.

        `rounds` makes what asks an engine, `background` runs what may take long for the site of a name, `write` a transaction of the
        leader.
        """
        self._platform = platform
        self._rounds = rounds
        self._background = background
        self._write = write
        self._guard = threading.Lock()
        self._sites = {name: _Site(rounds=rounds(engine)) for name, engine in engines.items()}
        for engine in engines.values():
            self._link(engine)
        self._read_s = -READ_S
        self._noted: tuple[dict[str, Capacity], dict[str, Stand]] | None = None
        self.stands: dict[str, Stand] = {}
        self.came_back: list[str] = []
        """Sites that were opened or found again since they were last taken from here."""

    def open_engines(self) -> dict[str, Engine]:
        """Return the engines that are open, by name."""
        return {name: rounds.engine for name, rounds in self.rounds().items()}

    def rounds(self) -> dict[str, Rounds]:
        """Return what asks each engine that is open, by its name."""
        with self._guard:
            return {name: site.rounds for name, site in self._sites.items() if site.rounds is not None}

    def look(self, busy: Mapping[str, int], asked: Collection[str] = (), *, anew: bool = False) -> dict[str, Capacity]:
        """Take in the register and how every site fares, record what has changed, and return what all have.

        `busy` counts the jobs on each; `asked` are sites that jobs wait for: one that is not known yet may have been registered just now.
        With `anew` all is recorded, whatever this process recorded last: another may have done so since.
        """
        if anew:
            self._noted = None
        if time.monotonic() >= self._read_s + READ_S or not self._sites.keys() >= set(asked):
            self._read_s = time.monotonic()
            self._take_in()
        for name, site in self._sites.items():
            if site.rounds is None and not site.opening and time.monotonic() >= site.next_try_s:
                site.opening = True
                self._background(name, lambda name=name, site=site: self._open(name, site))  # type: ignore[misc]
        seen = {name: site.rounds.capacity if site.rounds is not None else NOTHING for name, site in self._sites.items()}
        self.stands = {name: self._stand(name, site, busy.get(name, 0)) for name, site in self._sites.items()}
        self._note(seen)
        return seen

    def closed(self) -> dict[str, str]:
        """Return why a site starts nothing now, for each that does not."""
        return {name: stand.why for name, stand in self.stands.items() if not stand.is_open}

    def is_lost(self, name: str) -> bool:
        """Tell whether a site is lost now."""
        return name in self.stands and self.stands[name].standing is Standing.LOST

    def evicts(self, name: str) -> bool:
        """Tell whether what runs on a site is to stop."""
        return name in self._sites and self._sites[name].order is Order.EVICT

    def knows(self, name: str) -> bool:
        """Tell whether there is a site of that name, open or not."""
        return name in self._sites

    def close(self) -> None:
        """Let go of all engines, each when it has answered what it was asked."""
        for rounds in self.rounds().values():
            rounds.close()
        for rounds in self.rounds().values():
            rounds.wait_closed()

    def _take_in(self) -> None:
        with self._platform.db.read() as connection:
            register = {one.name: one for one in sites.listed(connection)}
        for name, one in register.items():
            if name not in self._sites and one.options is not None:
                self._sites[name] = _Site(registered=one, losses_s=self._past_losses(name))
        for name in [name for name, site in self._sites.items() if site.registered is not None and name not in register]:
            rounds = self._sites.pop(name).rounds
            if rounds is not None:
                rounds.close()
        for name, site in self._sites.items():
            site.order, site.why = (register[name].order, register[name].why) if name in register else (Order.OPEN, "")

    def _past_losses(self, name: str) -> list[float]:
        """Return when a site was lost within the last hour, as the ledger has it, on this process's clock."""
        now = self._platform.clock.now()
        with self._platform.db.read() as connection:
            found = [one.at for one in ledger.entries(connection, kind="site.lost", subject=name, limit=20, newest_first=True)]
        return [time.monotonic() - (now - at).total_seconds() for at in reversed(found) if now - at < timedelta(hours=1)]

    def _open(self, name: str, site: _Site) -> None:
        assert site.registered is not None
        factory = ENGINES.get(site.registered.engine)
        assert factory.site is not None
        try:
            options = sites.options_of(site.registered.engine, site.registered.options or {})
            engine = factory.site(self._platform, name, options)
            self._link(engine)
            rounds = self._rounds(engine)
        except HeadwaterError as error:
            site.problem, site.next_try_s = error.what, time.monotonic() + site.retry_s
            site.retry_s = min(2 * site.retry_s, LONGEST_RETRY_S)
            log.warning("site.not_opened", site=name, error=str(error))
        else:
            with self._guard:
                if self._sites.get(name) is site:
                    site.rounds, site.problem, site.answers_since_s = rounds, "", time.monotonic()
                    self.came_back.append(name)
                    rounds.sweep()
                else:
                    rounds.close()
        finally:
            site.opening = False

    def _link(self, engine: Engine) -> None:
        """Make the folder of an engine's attempts known under its name. Raises Unavailable where the disk refuses."""
        link, there = self._platform.settings.data_folder / FOLDERS / engine.name, engine.folder("any").parent
        try:
            link.parent.mkdir(mode=0o700, exist_ok=True)
            if not link.is_symlink() or link.readlink() != there:
                link.unlink(missing_ok=True)
                link.symlink_to(there, target_is_directory=True)
        except OSError as error:
            raise attempt.cannot_write(error, link) from error

    def _stand(self, name: str, site: _Site, busy: int) -> Stand:
        silent_s, lost_s = site.silent_s(), self._platform.settings.site_lost_s
        if silent_s >= lost_s and not site.is_lost:
            site.is_lost = True
            site.losses_s.append(time.monotonic())
            self._tell("site.lost", name, {"silent_s": round(silent_s)})
        elif site.is_lost and silent_s == 0.0:
            site.is_lost, site.answers_since_s = False, time.monotonic()
            self.came_back.append(name)
            if site.rounds is not None:
                site.rounds.sweep()
            self._tell("site.found", name, {})
        health = Health(
            silent_s=silent_s,
            opened=site.rounds is not None and site.rounds.is_swept,
            problem=site.problem,
            losses_s=site.losses_s,
            answers_since_s=site.answers_since_s,
            order=site.order,
            why=site.why,
            busy=busy,
        )
        return stand(health, now_s=time.monotonic(), lost_s=lost_s)

    def _tell(self, kind: str, name: str, body: Mapping[str, object]) -> None:
        now = self._platform.clock.now()
        self._write(lambda connection: ledger.append(connection, kind, subject=name, actor=SYSTEM, at=now, body=body))

    def _note(self, seen: dict[str, Capacity]) -> None:
        """Record what there is where it has changed; the seconds in a reason change always, and alone are not recorded."""
        standings = {name: Stand(standing=stand.standing) for name, stand in self.stands.items()}
        if self._noted == (seen, standings):
            return
        now, stands = self._platform.clock.now(), dict(self.stands)
        self._write(lambda connection: pool.note(connection, seen, stands, at=now))
        self._noted = seen, standings
