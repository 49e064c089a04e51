"""Routes over jobs: list, look, follow the log, cancel."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, Request

from headwater.compute import jobs, views
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import Job, State
from headwater.compute.views import JobView, LogChunk
from headwater.core import identity
from headwater.core.identity import Actor, Permission
from headwater.core.web import permitted, platform_of

router = APIRouter(prefix="/api/jobs", tags=["compute"])

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
Canceller = Annotated[Actor, Depends(permitted(Permission.COMPUTE_CANCEL))]


def wake(request: Request) -> None:
    """Have the dispatcher look at the queue now."""
    dispatcher = cast("Dispatcher | None", getattr(request.app.state, "dispatcher", None))
    if dispatcher is not None:
        dispatcher.wake()


def found(request: Request, job: str, actor: Actor, permission: Permission) -> Job:
    """Return a job that the actor may use in this way. Raises NotFound, Refused."""
    with platform_of(request).db.read() as connection:
        one = jobs.get(connection, job)
    identity.require(actor, permission, one.organisation)
    return one


@router.get("", summary="List jobs, newest first")
def listed(request: Request, actor: Reader, state: State | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobView]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        seen = jobs.listed(connection, scopes=actor.scopes(Permission.COMPUTE_READ), limit=limit, state=state)
    return [views.view(platform, job) for job in seen]


@router.get("/{job}", summary="Look at one job")
def shown(request: Request, actor: Reader, job: str) -> JobView:
    return views.view(platform_of(request), found(request, job, actor, Permission.COMPUTE_READ))


@router.get("/{job}/log", summary="Read a part of a job's log")
def log(request: Request, actor: Reader, job: str, offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0) -> LogChunk:
    return views.log_chunk(platform_of(request), found(request, job, actor, Permission.COMPUTE_READ), offset=offset)


@router.post("/{job}/cancel", summary="Ask for a job's end", status_code=202)
def cancel(request: Request, actor: Canceller, job: str) -> JobView:
    platform = platform_of(request)
    found(request, job, actor, Permission.COMPUTE_CANCEL)
    platform.db.write(lambda connection: jobs.ask_cancel(connection, job, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return views.view(platform, found(request, job, actor, Permission.COMPUTE_CANCEL))
