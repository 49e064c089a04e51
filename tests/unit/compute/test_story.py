"""A job's attempts, told from the ledger's entries about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from headwater.compute.story import End, attempts
from headwater.core.ledger import Entry

BEGUN = datetime(2026, 3, 1, 8, tzinfo=UTC)


def told(*events: tuple[str, Mapping[str, Any]]) -> list[Entry]:
    """Return entries about one job, a minute apart."""
    return [
        Entry(
            seq=number,
            at=BEGUN + timedelta(minutes=number),
            kind=f"job.{kind}",
            actor="wu" if kind == "cancel_asked" else "system",
            subject="g.job",
            body=dict(body),
            previous="",
            hash="",
        )
        for number, (kind, body) in enumerate(events)
    ]


def test_a_job_that_made_room_was_lost_and_then_succeeded_tells_all_three() -> None:
    found = attempts(
        told(
            ("starting", {"attempt": 1, "reason": "engine 'local' had room"}),
            ("running", {"attempt": 1}),
            ("preempted", {"for": "g.other", "why": "it comes first"}),
            ("queued", {"attempt": 1, "reason": "attempt 1 was stopped for g.other; 30 s of its work are kept"}),
            ("starting", {"attempt": 2, "reason": "first in its queue"}),
            ("queued", {"attempt": 2, "reason": "attempt 2 was lost with its process; it is tried again"}),
            ("starting", {"attempt": 3, "reason": "first in its queue"}),
            ("running", {"attempt": 3}),
            ("done", {"attempt": 3, "reason": "first in its queue"}),
        )
    )
    assert [(one.number, one.end) for one in found] == [(1, End.PREEMPTED), (2, End.AGAIN), (3, End.DONE)]
    assert found[0].stopped_for == "g.other"
    assert "30 s of its work are kept" in found[0].reason
    assert found[1].running_at is None
    assert found[2].ended_at == BEGUN + timedelta(minutes=8)


def test_one_that_was_to_make_room_but_was_lost_is_not_called_preempted() -> None:
    found = attempts(
        told(
            ("starting", {"attempt": 1}),
            ("preempted", {"for": "g.other"}),
            ("queued", {"attempt": 1, "reason": "attempt 1 failed (failed); it is tried again"}),
        )
    )
    assert (found[0].end, found[0].stopped_for) == (End.AGAIN, "g.other")


def test_who_asked_for_the_end_is_told_and_what_runs_has_none() -> None:
    cancelled = attempts(
        told(("starting", {"attempt": 1}), ("cancel_asked", {}), ("cancelled", {"attempt": 1, "reason": "cancelled while it ran"}))
    )
    assert (cancelled[0].end, cancelled[0].cancel_asked_by) == (End.CANCELLED, "wu")
    running = attempts(told(("queued", {"attempt": 0}), ("starting", {"attempt": 1}), ("running", {"attempt": 1})))
    assert (len(running), running[0].end, running[0].ended_at) == (1, None, None)
