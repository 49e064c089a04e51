"""The story of one job, from the ledger's entries about it: its attempts, and how each came to its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from headwater.compute.jobs import ENDS, State
from headwater.core.ledger import Entry

MOST_ENTRIES = 500
"""Of one job that are read, the newest."""
KINDS = {f"job.{state}": state for state in State}


class End(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    AGAIN = "again"
    """It was lost or failed, and another attempt was allowed: the reason says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One start of a job on an engine; `end` is None while it goes on."""

    number: int
    started_at: datetime
    running_at: datetime | None = None
    ended_at: datetime | None = None
    end: End | None = None
    why_there: str = ""
    reason: str = ""
    stopped_for: str | None = None
    """The job that it was asked to make room for."""
    cancel_asked_by: str | None = None


def attempts(entries: Iterable[Entry]) -> tuple[Attempt, ...]:
    """Return a job's attempts in order, from its ledger entries, oldest first.

    Entries about an attempt whose start is not among them are left out.
    """
    told: list[Attempt] = []
    for entry in entries:
        if entry.kind == "job.starting":
            number, why_there = int(entry.body["attempt"]), str(entry.body.get("reason", ""))
            told.append(Attempt(number=number, started_at=entry.at, why_there=why_there))
        elif told and told[-1].end is None:
            told[-1] = _after(told[-1], entry)
    return tuple(told)


def _after(attempt: Attempt, entry: Entry) -> Attempt:
    state, reason = KINDS.get(entry.kind), str(entry.body.get("reason", ""))
    if entry.kind == "job.preempted":
        return replace(attempt, stopped_for=str(entry.body.get("for", "")))
    if entry.kind == "job.cancel_asked":
        return replace(attempt, cancel_asked_by=entry.actor)
    if state is State.RUNNING:
        return replace(attempt, running_at=entry.at)
    if state is State.QUEUED:
        # asked to make room, it may still have been lost on the way: then the reason does not say that it was stopped
        end = End.PREEMPTED if attempt.stopped_for is not None and "was stopped for" in reason else End.AGAIN
        return replace(attempt, ended_at=entry.at, end=end, reason=reason)
    if state in ENDS:
        shown = "" if state is State.DONE else reason
        return replace(attempt, ended_at=entry.at, end=End(str(state)), reason=shown)
    return attempt
