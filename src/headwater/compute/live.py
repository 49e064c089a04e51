"""The jobs that wait and run, kept at hand by the one who dispatches: read whole once, then followed through the ledger.

Every change of a job is in the ledger, in the transaction of the change; so the entries since the last look name every job that
may have changed, whoever changed it. What a look costs hangs on what has changed, not on how much waits.

Of a job that waits only its place in the queue is kept; the whole of it is read when it comes into view.
"""

from __future__ import annotations

import heapq
import json
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, case, select

from headwater.compute import jobs
from headwater.compute.jobs import ENDS, ON_ENGINE, Job, Move, State
from headwater.compute.situation import Sums
from headwater.core import bulk
from headwater.core.ledger import ledger_entry, ledger_head

AT_ONCE = 500
"""Jobs asked for in one statement."""
ENTRIES_AT_ONCE = 1000
"""Entries of the ledger asked for in one statement."""
SUBMITTED = "graph.submitted"
ENDED = frozenset(f"job.{state}" for state in ENDS)
"""What the ledger says of a job that nothing more becomes of."""
JOBS_OF_A_GRAPH = case((ledger_entry.c.kind == SUBMITTED, ledger_entry.c.body))
"""The body of an entry that names jobs there; of others it is not read."""
PLACE = (*(jobs.jobs.c[name] for name in ("submitted_at", "graph", "position", "id", "organisation", "engine")),)


class Place(NamedTuple):
    """A waiting job's place: earlier ones come first."""

    submitted_at: datetime
    graph: str
    position: int
    id: str
    organisation: str
    engine: str


class Live:
    """The jobs of one database that are queued or on an engine. For one thread."""

    def __init__(self) -> None:
        """Know nothing yet: the first look reads all."""
        self.active: dict[str, Job] = {}
        self.sums = Sums()
        self.ended_steps: set[str | None] = set()
        """The steps of jobs that ended well since this was last cleared; None: of one that was not seen at work."""
        self.quotas_changed = True
        """Whether quotas were set or removed since this was last set to False."""
        self._queued: dict[str, Place] = {}
        self._by_owner: dict[tuple[str, str], list[Place]] = {}
        self._whole: dict[str, Job] = {}
        self._told: set[str] = set()
        """Jobs of which `started` has told, and whose entry in the ledger was not seen yet."""
        self._seq: int | None = None

    @property
    def count(self) -> int:
        """How many jobs are queued."""
        return len(self._queued)

    def look(self, connection: Connection) -> None:
        """Take in what has changed since the last look."""
        if self._seq is None:
            self._seq = connection.execute(select(ledger_head.c.seq)).scalar_one_or_none() or 0
            self._read(connection, jobs.jobs.c.state == State.QUEUED, jobs.jobs.c.state.in_(sorted(ON_ENGINE)))
            return
        touched = self._touched(connection)
        for job in touched:
            self._drop(job)
        for part in _parts([job for job, is_over in touched.items() if not is_over]):
            column, of_these = jobs.jobs.c, bulk.among(connection, jobs.jobs.c.id, part)
            self._read(connection, of_these & (column.state == State.QUEUED), of_these & column.state.in_(sorted(ON_ENGINE)))

    def _touched(self, connection: Connection) -> dict[str, bool]:
        """Return the jobs that entries since the last look name, and whether the last one says that it has ended."""
        found = dict[str, bool]()
        for seq, kind, subject, body in self._entries(connection):
            self._seq = seq
            if kind == SUBMITTED:
                found |= dict.fromkeys(json.loads(body)["jobs"], False)
            elif kind == "job.starting" and subject in self._told:
                self._told.discard(subject)
            elif kind.startswith("job."):
                found[subject] = kind in ENDED
                if kind == "job.done":
                    self.ended_steps.add(self.active[subject].step if subject in self.active else None)
            elif kind.startswith("quota."):
                self.quotas_changed = True
        return found

    def _entries(self, connection: Connection) -> Iterator[Row[int, str, str, Any]]:
        """Give the entries since the last look.

        Without a limit PostgreSQL reads the whole ledger for the last few: of a table that has just grown it has no statistics.
        """
        column, after = ledger_entry.c, self._seq
        query = select(column.seq, column.kind, column.subject, JOBS_OF_A_GRAPH).order_by(column.seq).limit(ENTRIES_AT_ONCE)
        while True:
            rows = connection.execute(query.where(column.seq > after)).all()
            yield from rows
            if len(rows) < ENTRIES_AT_ONCE:
                return
            after = rows[-1].seq

    def _read(self, connection: Connection, queued: Any, active: Any) -> None:
        for row in connection.execute(select(*PLACE).where(queued).order_by(*PLACE[:3])):
            place = Place(*row)
            self._queued[place.id] = place
            _put(self._by_owner.setdefault((place.engine, place.organisation), []), place)
        for row in connection.execute(select(jobs.jobs).where(active)):
            job = jobs.from_row(row)
            self.active[job.id] = job
            self.sums.add(job)

    def _drop(self, job: str) -> None:
        if (active := self.active.pop(job, None)) is not None:
            self.sums.add(active, -1)
        self._whole.pop(job, None)
        place = self._queued.pop(job, None)
        if place is not None:
            mine = self._by_owner[place.engine, place.organisation]
            del mine[bisect_left(mine, place)]
            if not mine:
                del self._by_owner[place.engine, place.organisation]

    def oldest(self, connection: Connection, most: int, *, last: Callable[[str], bool] = lambda _: False) -> tuple[Job, ...]:
        """Return the oldest jobs that are queued for each engine, the oldest first.

        Those of organisations that are to come `last` take nobody's place: as many of them are returned besides.
        """
        lists: dict[tuple[str, bool], list[list[Place]]] = {}
        for (engine, owner), mine in self._by_owner.items():
            lists.setdefault((engine, last(owner)), []).append(mine)
        return self._full(connection, sorted(place for mine in lists.values() for place in islice(heapq.merge(*mine), most)))

    def window(
        self, connection: Connection, most: int, *, aside: Callable[[str], bool], rank: Callable[[str], float] = lambda _: 0.0
    ) -> tuple[Job, ...]:
        """Return queued jobs to decide about, the oldest first: of each organisation in turn its next for each engine, up to `most`.

        Where all fit they are all returned. Else organisations that are to be left `aside` for now are, and those of lower `rank` come
        first, then those whose next job has waited longest.
        """
        if self.count <= most:
            return self.oldest(connection, most)
        owners = [owner for owner in self._by_owner if not aside(owner[1])]
        lists = [self._by_owner[owner] for owner in sorted(owners, key=lambda owner: (rank(owner[1]), self._by_owner[owner][0]))]
        taken: list[Place] = []
        depth = 0
        while len(taken) < most and lists:
            taken += [mine[depth] for mine in lists[: most - len(taken)]]
            depth += 1
            lists = [mine for mine in lists if len(mine) > depth]
        return self._full(connection, sorted(taken))

    def _full(self, connection: Connection, places: Iterable[Place]) -> tuple[Job, ...]:
        """Return whole jobs, read where they have not been in view before."""
        wanted = [place.id for place in places]
        for part in _parts([job for job in wanted if job not in self._whole]):
            for row in connection.execute(select(jobs.jobs).where(bulk.among(connection, jobs.jobs.c.id, part))):
                self._whole[row.id] = jobs.from_row(row)
        return tuple(self._whole[job] for job in wanted if job in self._whole)

    def note(self, told: Sequence[dict[str, Any]]) -> None:
        """Take in columns of queued jobs that were set without an entry in the ledger; each row names its `id`."""
        for row in told:
            if row["id"] in self._whole:
                self._whole[row["id"]] = replace(self._whole[row["id"]], **{name: value for name, value in row.items() if name != "id"})

    def started(self, moves: Iterable[Move]) -> list[Job]:
        """Take in jobs that were just recorded as starting, and return them as they are now."""
        made = []
        for move in moves:
            job = replace(move.job, state=State.STARTING, reason=move.reason[:1000], **move.values)
            self._drop(job.id)
            self.active[job.id] = job
            self.sums.add(job)
            self._told.add(job.id)
            made.append(job)
        return made

    def by_engine(self) -> Counter[str]:
        """Count the jobs on each engine."""
        return Counter(job.engine for job in self.active.values())


def _put(mine: list[Place], place: Place) -> None:
    if not mine or mine[-1] < place:
        mine.append(place)
    else:
        insort(mine, place)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), AT_ONCE):
        yield ids[first : first + AT_ONCE]
