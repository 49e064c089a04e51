"""Routes over jobs (list, look, why, follow the log, cancel), over quotas, and over how well run times are predicted."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from headwater.compute import jobs, prediction, quotas, sites_api, views
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import Job, State
from headwater.compute.listing import listing
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.prediction import accuracy
from headwater.compute.settlement.api import router as settlement
from headwater.compute.views import JobView, LogChunk
from headwater.compute.why import WhyView, why
from headwater.core import identity
from headwater.core.identity import Actor, Permission
from headwater.core.web import permitted, platform_of

router = APIRouter(prefix="/api", tags=["compute"])
router.include_router(sites_api.router)
router.include_router(settlement)

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
Canceller = Annotated[Actor, Depends(permitted(Permission.COMPUTE_CANCEL))]
QuotaSetter = Annotated[Actor, Depends(permitted(Permission.COMPUTE_QUOTA))]


class QuotaView(BaseModel):
    """What an organisation may hold at once, and what its share weighs."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")

    organisation: str = Field(max_length=200, examples=["city"])
    units: float | None = Field(
        None, ge=0, le=1e9, allow_inf_nan=False, description="Accelerators, or CPUs where none are asked; null: no limit.", examples=[64]
    )
    weight: float = Field(1.0, gt=0, le=1e6, allow_inf_nan=False, description="Its share beside its siblings'.", examples=[2])
    may_borrow: bool = Field(True, description="Whether it may run past its units on what the quota above it leaves.")


class OrganisationIn(BaseModel):
    """An organisation, by its path."""

    model_config = ConfigDict(extra="forbid")

    organisation: str = Field(max_length=200, examples=["city"])


class AccuracyView(BaseModel):
    """How expected run times compared with what happened, each job expected from those that had ended when it was handed in."""

    model_config = ConfigDict(from_attributes=True)

    jobs: int
    predicted: int = Field(description="Jobs of which one alike, or at least some job, had ended before.")
    median_ratio: float | None = Field(description="Expected over actual: 1 is right, 0.5 expects half of what it took.", examples=[0.98])
    ratio_p10: float | None
    ratio_p90: float | None
    median_factor: float | None = Field(description="The larger of the ratio and its inverse, in the median.")
    covered: float | None = Field(description="Part of the actual run times between the expected p10 and p90.")


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


def why_of(request: Request, job: Job) -> WhyView:
    """Return why a job is where it is, by the policy that the dispatcher has read, where one runs here."""
    dispatcher = cast("Dispatcher | None", getattr(request.app.state, "dispatcher", None))
    judge = None if dispatcher is None else dispatcher.judge
    with platform_of(request).db.read() as connection:
        return why(platform_of(request), connection, job, judge=judge)


@router.get("/jobs", summary="List jobs, newest first")
def listed(request: Request, actor: Reader, state: State | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobView]:
    return listing(request).newest(scopes=actor.scopes(Permission.COMPUTE_READ), limit=limit, state=state)


@router.get("/jobs/{job}", summary="Look at one job")
def shown(request: Request, actor: Reader, job: str) -> JobView:
    return views.view(platform_of(request), found(request, job, actor, Permission.COMPUTE_READ))


@router.get("/jobs/{job}/why", summary="Say why a job runs where it does, or why it waits and what would unblock it")
def explained(request: Request, actor: Reader, job: str) -> WhyView:
    return why_of(request, found(request, job, actor, Permission.COMPUTE_READ))


@router.get("/jobs/{job}/log", summary="Read a part of a job's log")
def log(request: Request, actor: Reader, job: str, offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0) -> LogChunk:
    return views.log_chunk(platform_of(request), found(request, job, actor, Permission.COMPUTE_READ), offset=offset)


@router.post("/jobs/{job}/cancel", summary="Ask for a job's end", status_code=202)
def cancel(request: Request, actor: Canceller, job: str) -> JobView:
    platform = platform_of(request)
    found(request, job, actor, Permission.COMPUTE_CANCEL)
    platform.db.write(lambda connection: jobs.ask_cancel(connection, job, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return views.view(platform, found(request, job, actor, Permission.COMPUTE_CANCEL))


@router.get("/quotas", summary="List organisations' quotas and weights")
def quotas_listed(request: Request, actor: Reader) -> list[QuotaView]:
    with platform_of(request).db.read() as connection:
        return [QuotaView.model_validate(one) for one in quotas.listed(connection, actor.scopes(Permission.COMPUTE_READ))]


@router.post("/quotas", summary="Set an organisation's quota and weight", status_code=201)
def quota_set(request: Request, actor: QuotaSetter, body: QuotaView) -> QuotaView:
    platform, quota = platform_of(request), Quota(**body.model_dump())
    identity.require(actor, Permission.COMPUTE_QUOTA, quotas.above(quota.organisation))
    platform.db.write(lambda connection: quotas.put(connection, quota, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return body


@router.post("/quotas/remove", summary="Remove an organisation's quota", status_code=204, response_class=Response)
def quota_removed(request: Request, actor: QuotaSetter, body: OrganisationIn) -> Response:
    platform = platform_of(request)
    identity.require(actor, Permission.COMPUTE_QUOTA, quotas.above(body.organisation))
    platform.db.write(lambda connection: quotas.remove(connection, body.organisation, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return Response(status_code=204)


@router.get("/prediction", summary="Say how well run times were predicted")
def predicted(request: Request, actor: Reader) -> AccuracyView:
    with platform_of(request).db.read() as connection:
        past = prediction.past(connection, actor.scopes(Permission.COMPUTE_READ))
    return AccuracyView.model_validate(accuracy(past))
