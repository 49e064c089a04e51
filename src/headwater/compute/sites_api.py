"""Routes over the register of sites: list, register, check, drain, open again, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from headwater.compute import pool, sites
from headwater.compute.checking import check
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import ON_ENGINE, in_states
from headwater.compute.pool import Standing
from headwater.compute.sites import Order, Registered
from headwater.compute.situation import INSIDE
from headwater.core.errors import NotFound
from headwater.core.identity import ROOT, Actor, Permission, decide
from headwater.core.web import permitted, platform_of

router = APIRouter(prefix="/sites")

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
Operator = Annotated[Actor, Depends(permitted(Permission.COMPUTE_SITES, ROOT))]


class NewSite(BaseModel):
    """A site to register."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=40, examples=["haidian-a"])
    engine: str = Field(max_length=40, description="What runs jobs there.", examples=["slurm"])
    options: dict[str, Any] = Field(
        default_factory=dict, max_length=40, description="How it is reached; each engine has its own.", examples=[{"partition": "main"}]
    )


class OrderIn(BaseModel):
    """An order to a site."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field("", max_length=400, description="Why; it is kept in the ledger.", examples=["maintenance of the cooling"])
    evict: bool = Field(False, description="Also stop what runs there; it goes on from its checkpoints, elsewhere where it may.")


class SiteView(BaseModel):
    """A site: what it is, what it is told to do, how it fares, what it has and how many jobs are on it."""

    name: str
    engine: str
    registered: bool = Field(description="False for an engine of the settings.")
    options: dict[str, Any] | None = None
    order: Order = Order.OPEN
    since: datetime | None = Field(None, description="Since when that order holds.")
    standing: Standing | None = Field(None, description="How it fared when the dispatcher last looked; null: not looked at yet.")
    why: str = Field("", description="Why it starts nothing, where it does not.")
    cpus: float = 0.0
    memory_gib: float = 0.0
    accelerators: dict[str, int] = Field(default_factory=dict)
    running: int = 0


class CheckView(BaseModel):
    """What a check found."""

    model_config = ConfigDict(from_attributes=True)

    site: str
    works: bool
    cpus: float
    memory_gib: float
    accelerators: dict[str, int]
    answered_s: float = Field(description="Seconds until the site said what it has.")
    ran_s: float | None = Field(description="Seconds from handing in a job that does nothing to its end; null: it did not succeed.")
    problem: str = ""


def views(connection: Connection) -> list[SiteView]:
    """Return every site, by name: those of the register, and the engines of the settings."""
    register = {one.name: one for one in sites.listed(connection)}
    seen, stands = pool.noted(connection), pool.stands_noted(connection)
    running = [job.engine for job in in_states(connection, ON_ENGINE)]
    made = []
    for name in sorted({*register, *seen} - {INSIDE}):
        one, whole, stand = register.get(name), seen.get(name), stands.get(name)
        made.append(
            SiteView(
                name=name,
                engine=one.engine if one is not None else name,
                registered=one is not None and one.options is not None,
                options=dict(one.options) if one is not None and one.options is not None else None,
                order=one.order if one is not None else Order.OPEN,
                since=one.since if one is not None else None,
                standing=None if stand is None else stand.standing,
                why="" if stand is None else stand.why,
                cpus=0.0 if whole is None else whole.cpus,
                memory_gib=0.0 if whole is None else whole.memory_gib,
                accelerators={} if whole is None else dict(whole.accelerators),
                running=running.count(name),
            )
        )
    return made


def dispatcher_of(request: Request) -> Dispatcher | None:
    """Return the dispatcher of this process, where one runs."""
    return cast("Dispatcher | None", getattr(request.app.state, "dispatcher", None))


def tell(request: Request, actor: Actor, site: str, order: Order, why: str) -> None:
    """Give a site an order and have the dispatcher look."""
    platform = platform_of(request)
    platform.db.write(lambda connection: sites.tell(connection, site, order, why=why, actor=actor.id, at=platform.clock.now()))
    if (dispatcher := dispatcher_of(request)) is not None:
        dispatcher.wake()


def _view(request: Request, site: str) -> SiteView:
    with platform_of(request).db.read() as connection:
        return next(one for one in views(connection) if one.name == site)


@router.get("", summary="List sites, how they fare and what they have")
def sites_listed(request: Request, actor: Reader) -> list[SiteView]:
    with platform_of(request).db.read() as connection:
        found = views(connection)
    hidden = {} if decide(actor, Permission.COMPUTE_SITES, ROOT).allowed else {"options": None}
    return [one.model_copy(update=hidden) for one in found]


@router.post("", summary="Register a site", status_code=201)
def site_added(request: Request, actor: Operator, body: NewSite) -> SiteView:
    platform = platform_of(request)
    platform.db.write(
        lambda connection: sites.add(connection, body.name, body.engine, body.options, actor=actor.id, at=platform.clock.now())
    )
    if (dispatcher := dispatcher_of(request)) is not None:
        dispatcher.wake()
    return _view(request, body.name)


@router.post("/{site}/check", summary="Ask a site what it has, and run a job there that does nothing")
def site_checked(request: Request, actor: Operator, site: str) -> CheckView:  # noqa: ARG001
    platform, dispatcher = platform_of(request), dispatcher_of(request)
    engine = None if dispatcher is None else dispatcher.engines.get(site)
    with platform.db.read() as connection:
        try:
            one = sites.get(connection, site)
        except NotFound:
            if engine is None:
                raise
            one = Registered(name=site, engine=site, options=None, order=Order.OPEN, why="", since=platform.clock.now())
    found = check(platform, one, engine)
    whole = {"cpus": found.capacity.cpus, "memory_gib": found.capacity.memory_gib, "accelerators": dict(found.capacity.accelerators)}
    timed = {"answered_s": round(found.answered_s, 3), "ran_s": None if found.ran_s is None else round(found.ran_s, 3)}
    return CheckView(site=site, works=found.works, problem=found.problem, **whole, **timed)


@router.post("/{site}/drain", summary="Have a site start nothing more")
def site_drained(request: Request, actor: Operator, site: str, body: OrderIn) -> SiteView:
    tell(request, actor, site, Order.EVICT if body.evict else Order.DRAIN, body.why)
    return _view(request, site)


@router.post("/{site}/open", summary="Have a site start jobs again")
def site_opened(request: Request, actor: Operator, site: str, body: OrderIn) -> SiteView:
    tell(request, actor, site, Order.OPEN, body.why)
    return _view(request, site)


@router.post("/{site}/remove", summary="Take a site off the register", status_code=204, response_class=Response)
def site_removed(request: Request, actor: Operator, site: str) -> Response:
    platform = platform_of(request)
    platform.db.write(lambda connection: sites.remove(connection, site, actor=actor.id, at=platform.clock.now()))
    return Response(status_code=204)
