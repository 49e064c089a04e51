"""Console pages over jobs: the list, and one job with its log as it grows."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from headwater.compute import floor_pages, jobs, story, views
from headwater.compute.api import found, wake, why_of
from headwater.compute.curves import charts
from headwater.compute.jobs import ENDS, Job, State
from headwater.compute.listing import listing
from headwater.compute.settlement.pages import router as settlement
from headwater.compute.views import LogChunk
from headwater.compute.why import WhyView
from headwater.core import identity, ledger
from headwater.core.errors import NotFound
from headwater.core.identity import Actor, Permission
from headwater.core.web import Update, fragment, live, names_of, page, permitted, platform_of

router = APIRouter(include_in_schema=False)
router.include_router(floor_pages.router)
router.include_router(settlement)

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
Canceller = Annotated[Actor, Depends(permitted(Permission.COMPUTE_CANCEL))]
LONGEST_LIST = 200
WHY_LASTS_S = 5.0
TAIL_LINES, TAIL_BYTES = 500, 64 << 10
PIECE = 1 << 16


@router.get("/jobs")
def listed(request: Request, actor: Reader, state: Annotated[str, Query(pattern="^[a-z]*$", max_length=20)] = "") -> Response:
    platform = platform_of(request)
    wanted = State(state) if state in set(State) else None
    shown = listing(request).newest(scopes=actor.scopes(Permission.COMPUTE_READ), limit=LONGEST_LIST, state=wanted)
    now = platform.clock.now()
    return page(request, "compute/jobs.html", jobs=shown, states=list(State), state=wanted or "", now=now, elapsed=elapsed)


@router.get("/jobs/{job}")
def shown(request: Request, actor: Reader, job: str) -> Response:
    one = found(request, job, actor, Permission.COMPUTE_READ)
    since = views.tail_offset(platform_of(request), one, lines=TAIL_LINES, most_bytes=TAIL_BYTES)
    chunk = log_of(request, one, since)
    may_cancel = one.state not in ENDS and identity.decide(actor, Permission.COMPUTE_CANCEL, one.organisation).allowed
    return page(
        request,
        "compute/job.html",
        log=chunk,
        log_since=since,
        may_cancel=may_cancel,
        follow=one.state not in ENDS,
        **known(request, one, reason(request, one)),
    )


@router.get("/jobs/{job}/live")
def followed(request: Request, actor: Reader, job: str, offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0) -> Response:
    found(request, job, actor, Permission.COMPUTE_READ)
    return live(request, _look(request, actor, job, offset))


@router.get("/jobs/{job}/log")
def whole_log(request: Request, actor: Reader, job: str, attempt: Annotated[int | None, Query(ge=1, le=1 << 30)] = None) -> Response:
    one = found(request, job, actor, Permission.COMPUTE_READ)
    file = views.log_file(platform_of(request), one, attempt)
    name = f"{one.id}.{attempt or one.attempt}.log"
    headers = {"content-disposition": f'attachment; filename="{name}"', "content-length": str(os.fstat(file.fileno()).st_size)}
    return StreamingResponse(_pieces(file), media_type="text/plain; charset=utf-8", headers=headers)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file to the size that it has now, and close it."""
    with file:
        left = os.fstat(file.fileno()).st_size
        while left and (piece := file.read(min(left, PIECE))):
            left -= len(piece)
            yield piece


@router.post("/jobs/{job}/cancel")
def cancel(request: Request, actor: Canceller, job: str) -> Response:
    platform = platform_of(request)
    one = found(request, job, actor, Permission.COMPUTE_CANCEL)
    platform.db.write(lambda connection: jobs.ask_cancel(connection, one.id, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return RedirectResponse(f"/jobs/{one.id}", status_code=303)


def reason(request: Request, job: Job) -> WhyView | None:
    """Return why a job that has not ended is where it is."""
    return None if job.state in ENDS else why_of(request, job)


def known(request: Request, job: Job, why: WhyView | None) -> dict[str, Any]:
    """Return what the templates of one job show."""
    platform = platform_of(request)
    view = views.view(platform, job)
    with platform.db.read() as connection:
        newest = tuple(ledger.entries(connection, subject=job.id, kind="job.*", limit=story.MOST_ENTRIES, newest_first=True))
    attempts = story.attempts(reversed(newest))
    names = names_of(request, [job.submitted_by, *(one.cancel_asked_by for one in attempts if one.cancel_asked_by)])
    facts = json.dumps(view.facts, ensure_ascii=False, indent=2) if view.facts else ""
    told: dict[str, Any] = {"job": view, "why": why, "by": names[job.submitted_by], "facts": facts, "charts": charts(platform, job)}
    return told | {"attempts": attempts, "names": names, "now": platform.clock.now(), "elapsed": elapsed}


def elapsed(view: views.JobView, now: datetime) -> float | None:
    """Return how long a job took, or has run so far; None where it has not started."""
    if view.took_s is not None or view.started_at is None or view.ended_at is not None:
        return view.took_s
    return float(max(0, int((now - view.started_at).total_seconds())))


def log_of(request: Request, job: Job, offset: int) -> LogChunk | None:
    """Return a part of a job's log, or None where it never had one."""
    try:
        return views.log_chunk(platform_of(request), job, offset=offset)
    except NotFound:
        return None


def _look(request: Request, actor: Actor, job: str, offset: int) -> Callable[[], Iterable[Update]]:
    place, why, asked_s = offset, None, -WHY_LASTS_S

    def look() -> Iterable[Update]:
        nonlocal place, why, asked_s
        one = found(request, job, actor, Permission.COMPUTE_READ)
        if why is None or why.state is not one.state or time.monotonic() > asked_s + WHY_LASTS_S:
            why, asked_s = reason(request, one), time.monotonic()
        yield Update(kind="part", id="job", content=fragment(request, "compute/job_parts.html", **known(request, one, why)))
        while (chunk := log_of(request, one, place)) is not None and chunk.text:
            place = chunk.next_offset
            yield Update(kind="append", id="log", content=chunk.text)
        if one.state in ENDS:
            yield Update(kind="end")

    return look
