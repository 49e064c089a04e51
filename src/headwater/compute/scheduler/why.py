"""A decision in words: why a job runs where it does, or why it waits and what would unblock it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater.compute.scheduler.state import (
    BACKFILLED,
    BEHIND_HEAD,
    DELAYS_HEAD,
    NO_NODE,
    NO_ROOM,
    NOT_ASKED,
    OUTRANKED,
    OVER_QUOTA,
    RUNNING,
    STARTED,
    TOO_LARGE,
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
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one job is where it is. `unblocks` is empty for a job that runs."""

    job: str
    code: str
    why: str
    unblocks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The figures that the words need."""

    units: int
    site: str
    other: str
    queue: str
    held: int
    quota: int
    most_free: int
    free: int


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
        f"The queue {f.queue} holds {f.held} of its {f.quota} units and {f.units} more are asked.",
        f"{f.held + f.units - f.quota} units of {f.queue} given back, or a larger quota.",
    ),
    "outranked": lambda f: (
        f"It was stopped so that {f.other}, which comes first under this policy, can run.",
        "Free units after the jobs that come first.",
    ),
    "too_large": lambda f: (f"{f.units} units are asked and no site it may use has as many.", "Fewer units, or a larger site."),
    "behind": lambda _: ("The pass ended before it: no units were left, or a job ahead blocks this queue.", "The jobs ahead starting."),
}


def explain(state: State, row: int, jobs: Sequence[str], sites: Sequence[str], queues: Sequence[str]) -> Reason:
    """Return why the job in this row runs or waits, after a decision."""
    code = CODES.get(int(state.jobs.reason[row]), "behind")
    if code == "behind" and state.jobs.state[row] == RUNNING:
        return Reason(job=jobs[row], code="running", why=f"It runs on {sites[int(state.jobs.site[row])]} and nothing changed that.")
    why, unblocks = WORDS[code](facts_for(state, row, jobs, sites, queues))
    return Reason(job=jobs[row], code=code, why=why, unblocks=unblocks)


def facts_for(state: State, row: int, jobs: Sequence[str], sites: Sequence[str], queues: Sequence[str]) -> Facts:
    """Return the figures about a job for its words."""
    job, table = state.jobs[row], state.sites
    usable = [s for s in range(len(table)) if table.up[s] and table.lane[s] == job.lane and job.home in (-1, s)]
    other, over_quota = int(job.because_of), int(job.reason) == OVER_QUOTA
    queue = other if over_quota else int(job.queue)
    return Facts(
        units=int(job.units),
        site=sites[int(job.site)] if job.site >= 0 else "no site",
        other=jobs[other] if 0 <= other < len(jobs) and not over_quota else "the job ahead",
        queue=queues[queue],
        held=int(state.queues.held[queue]),
        quota=int(state.queues.quota[queue]),
        most_free=max((int(table.free[s]) for s in usable), default=0),
        free=sum(int(table.free[s]) for s in usable),
    )
