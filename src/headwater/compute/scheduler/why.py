"""A decision in words: why a job runs where it does, or why it waits and what would unblock it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.compute.scheduler.compiled import at_hand
from headwater.compute.scheduler.matching import ALLOWED, FORBIDS
from headwater.compute.scheduler.shapes import SiteShape, in_order
from headwater.compute.scheduler.speeds import BASES
from headwater.compute.scheduler.state import (
    BACKFILLED,
    BEFORE_WINDOW,
    BEHIND_HEAD,
    DELAYS_HEAD,
    MADE_LARGER,
    MADE_SMALLER,
    NO_HOST_ROOM,
    NO_NODE,
    NO_ROOM,
    NOT_ASKED,
    NOWHERE,
    OUTRANKED,
    OVER_QUOTA,
    RECLAIMED,
    RUNNING,
    STARTED,
    TOO_LARGE,
    WINDOW_OPENED,
    Rules,
    State,
)

CODES = {
    NOT_ASKED: "behind",
    STARTED: "started",
    NO_ROOM: "no_room",
    NO_NODE: "fragmented",
    BEHIND_HEAD: "slot_later",
    DELAYS_HEAD: "delays_head",
    OVER_QUOTA: "over_quota",
    TOO_LARGE: "too_large",
    OUTRANKED: "outranked",
    BACKFILLED: "backfilled",
    NOWHERE: "nowhere",
    NO_HOST_ROOM: "no_host_room",
    BEFORE_WINDOW: "before_window",
    WINDOW_OPENED: "window_opened",
    RECLAIMED: "reclaimed",
    MADE_SMALLER: "made_smaller",
    MADE_LARGER: "made_larger",
}
NO_CODES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one job is where it is. `unblocks` is empty for a job that runs."""

    job: str
    code: str
    why: str
    unblocks: str = ""


class Facts:
    """The figures that the words about one job need, each found when it is asked for."""

    def __init__(self, table: Explainer, row: int) -> None:
        self._table, self._row = table, row
        self._reason, self._other = int(table.rows.reason[row]), int(table.rows.because_of[row])

    @property
    def units(self) -> int:
        return int(self._table.rows.units[self._row])

    @property
    def site(self) -> str:
        site = int(self._table.rows.site[self._row])
        return self._table.sites[site].name if site >= 0 else "no site"

    @property
    def other(self) -> str:
        names_a_job = self._reason not in (OVER_QUOTA, BEFORE_WINDOW, WINDOW_OPENED) and 0 <= self._other < len(self._table.jobs)
        return self._table.jobs[self._other] if names_a_job else "the job ahead"

    @property
    def _queue(self) -> int:
        return self._other if self._reason == OVER_QUOTA else int(self._table.rows.queue[self._row])

    @property
    def queue(self) -> str:
        return self._table.queues[self._queue]

    @property
    def held(self) -> float:
        return float(self._table.state.queues.held[self._queue])

    @property
    def asked(self) -> float:
        """Normalised units, as quotas count."""
        return self.units * self._room.unit_weight

    @property
    def quota(self) -> float:
        return float(self._table.state.queues.quota[self._queue])

    @property
    def _room(self) -> Room:
        return self._table.room(self._row)

    @property
    def most_free(self) -> int:
        return self._room.most_free

    @property
    def free(self) -> int:
        return self._room.free

    @property
    def cpus(self) -> float:
        return int(self._table.rows.cpu_milli[self._row]) / 1000

    @property
    def memory_gib(self) -> float:
        return int(self._table.rows.memory_mib[self._row]) / 1024

    @property
    def cpus_free(self) -> float:
        return self._room.cpus_free

    @property
    def memory_free_gib(self) -> float:
        return self._room.memory_free_gib

    @property
    def window(self) -> str:
        return window_words(self._table.sites, self._other)

    @property
    def forbidden(self) -> str:
        rules = forbidden(self._table.state, self._row)
        return "; ".join(f"{self._table.sites[site].name}, because {rule}" for site, rule in rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is free on the sites that a job may use."""

    most_free: int
    free: int
    unit_weight: float
    cpus_free: float
    memory_free_gib: float


Words = Callable[[Facts], tuple[str, str]]

WORDS: dict[str, Words] = {
    "started": lambda f: (f"{f.units} units were free on {f.site}, the site this policy prefers among those that fit.", ""),
    "backfilled": lambda f: (f"{f.units} units on {f.site} were free and starting here does not delay {f.other}.", ""),
    "no_room": lambda f: (
        f"{f.units} units are asked on one site and at most {f.most_free} are free there ({f.free} over all its sites).",
        f"{f.units - f.most_free} more free units on one site." if f.most_free < f.units else "A site that may run this job coming back.",
    ),
    "fragmented": lambda f: (
        f"{f.most_free} units are free, but no node, or not enough whole nodes, for {f.units}.",
        "A job ending on a partly used node.",
    ),
    "delays_head": lambda f: (
        f"It fits, but would delay {f.other}, which is ahead and has a promised start.",
        f"{f.other} starting, or a shorter time limit.",
    ),
    "slot_later": lambda _: (
        "Its promised slot is later: jobs ahead of it keep theirs.",
        "A job ahead ending before its estimate, or a shorter time limit.",
    ),
    "over_quota": lambda f: (
        f"The queue {f.queue} holds {f.held:g} of its {f.quota:g} units and {f.asked:g} more are asked.",
        f"{f.held + f.asked - f.quota:g} units of {f.queue} given back, or a larger quota.",
    ),
    "outranked": lambda f: (
        f"It was stopped so that {f.other}, which comes first under this policy, can run.",
        "Free units after the jobs that come first.",
    ),
    "reclaimed": lambda f: (
        f"It was stopped so that {f.other}, whose queue had less than its share, can run; of those that could be, it lost least work.",
        f"Units free for {f.queue}.",
    ),
    "no_host_room": lambda f: (
        f"{f.units} units are free, but it asks {f.cpus:g} CPUs and {f.memory_gib:g} GiB of a host, and at most {f.cpus_free:g} CPUs and "
        f"{f.memory_free_gib:.4g} GiB are free on one.",
        "CPUs or memory of a host given back.",
    ),
    "before_window": lambda f: (f"It fits, but would still run when {f.window}.", "A shorter time limit, or the end of the window."),
    "window_opened": lambda f: (f"It was stopped because {f.window}, and it had run past its time.", "The end of the window."),
    "nowhere": lambda f: (f"No site may run it: {f.forbidden}.", "Other chips, less memory or fewer tags in the request; or such a site."),
    "made_smaller": lambda f: (f"It runs on, on {f.units} units, so that {f.other} can start.", ""),
    "made_larger": lambda f: (f"It runs on, on {f.units} units: nobody waits for those it took.", ""),
    "too_large": lambda f: (f"{f.units} units are asked and no site it may use has as many.", "Fewer units, or a larger site."),
    "behind": lambda _: ("The pass ended before it: no units were left, or a job ahead blocks this queue.", "The jobs ahead starting."),
}


class Explainer:
    """Tells why jobs run or wait, after a decision. Jobs that may use the same sites share what is found of those."""

    def __init__(
        self, state: State, jobs: Sequence[str], sites: Sequence[SiteShape], queues: Sequence[str], wordless: frozenset[str] = NO_CODES
    ) -> None:
        """`jobs`, `sites` and `queues` are the names behind the rows of the state's tables; codes in `wordless` need no words."""
        self._wordless = wordless
        self.state, self.jobs, self.sites, self.queues = at_hand(state), jobs, sites, queues
        self.rows: Any = self.state.jobs
        self._rooms: dict[tuple[int, int, int], Room] = {}

    def explain(self, row: int) -> Reason:
        """Return why the job in this row runs or waits."""
        code = CODES.get(int(self.rows.reason[row]), "behind")
        if code == "behind" and self.rows.state[row] == RUNNING:
            why = f"It runs on {self.sites[int(self.rows.site[row])].name} and nothing changed that."
            return Reason(job=self.jobs[row], code="running", why=why)
        why, unblocks = ("", "") if code in self._wordless else WORDS[code](Facts(self, row))
        return Reason(job=self.jobs[row], code=code, why=why, unblocks=unblocks)

    def room(self, row: int) -> Room:
        """Return what is free on the sites that the job in this row may use."""
        rows = self.rows
        alike = int(rows.lane[row]), int(rows.home[row]), int(rows.cls[row])
        if alike not in self._rooms:
            self._rooms[alike] = self._room(row, *alike)
        return self._rooms[alike]

    def _room(self, row: int, lane: int, home: int, _cls: int) -> Room:
        table = self.state.sites
        usable = [s for s in range(len(table)) if table.up[s] and table.lane[s] == lane and home in (-1, s) and allowed(self.state, row, s)]
        hosts = self.state.hosts[sorted({int(table.host[s]) for s in usable})]
        emptiest = hosts[np.lexsort((-hosts.memory_free, -hosts.cpu_free))][:1]
        return Room(
            most_free=max((int(table.free[s]) for s in usable), default=0),
            free=sum(int(table.free[s]) for s in usable),
            unit_weight=float(min((table.unit_weight[s] for s in usable), default=1.0)),
            cpus_free=float(emptiest.cpu_free.sum()) / 1000,
            memory_free_gib=float(emptiest.memory_free.sum()) / 1024,
        )


def allowed(state: State, row: int, site: int) -> bool:
    return bool(state.match.rule[state.jobs.cls[row], site] == ALLOWED)


def forbidden(state: State, row: int) -> list[tuple[int, str]]:
    """Return the sites of the job's lane that its class may not use, with the rule in words."""
    job = state.jobs[row]
    rules = [(site, int(state.match.rule[job.cls, site])) for site in range(len(state.sites)) if state.sites.lane[site] == job.lane]
    return [(site, FORBIDS[rule]) for site, rule in rules if rule != ALLOWED]


def window_words(sites: Sequence[SiteShape], row: int) -> str:
    """Return what opens, in words; `row` counts the windows as the scheduler's table does."""
    listed = [(site.name, window) for site in sites for window in in_order(site.windows)]
    if not 0 <= row < len(listed):
        return "a window opens"
    name, window = listed[row]
    units = "all" if window.units is None else f"{window.units} units"
    purpose = "maintenance" if window.queue is None else f"the queue {window.queue}"
    because = f" ({window.reason})" if window.reason else ""
    return f"{units} of {name} are kept for {purpose}{because} from second {window.from_s:g} to {window.to_s:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """What one site is to one job: forbidden by a rule, or how fast it would run there, how long staging takes, and its score."""

    site: str
    forbidden: str
    free: int
    speed: float
    speed_basis: str
    stage_s: float
    egress_fen: float
    score: float
    """What placement weighs, as things are after the decision: the lowest is wanted most."""


def considered(state: State, rules: Rules, row: int, sites: Sequence[SiteShape], now_s: float) -> tuple[Considered, ...]:
    """Return every site of the job's lane as the decision saw it, those it may use by score first."""
    from headwater.compute.scheduler.snapshot_kernel import score_of

    job, found = state.jobs[row], []
    for site in (int(row) for row in np.flatnonzero(state.sites.lane == job.lane)):
        pair = state.match[job.cls, site]
        may = pair.rule == ALLOWED and job.home in (-1, site)
        found.append(
            Considered(
                site=sites[site].name,
                forbidden="" if may else FORBIDS.get(int(pair.rule), "the job is bound to another site"),
                free=int(state.sites.free[site]),
                speed=float(pair.speed),
                speed_basis=BASES[int(pair.basis)],
                stage_s=float(job.input_gib * pair.stage_s_per_gib) if may else float("inf"),
                egress_fen=float(job.input_gib * pair.egress_fen_per_gib) if may else float("inf"),
                score=float(score_of(state, rules, row, int(site), now_s)) if may else float("inf"),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.forbidden != "", one.score)))
