"""Console pages for operators: the map of sites, one site, the queue with its reasons, and what organisations hold beside their quotas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Annotated, Any, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import func, select

from headwater.compute import holding, jobs, pool, presence, queue, quotas, usage
from headwater.compute import map as mapping
from headwater.compute.catalogue.figures import Figure, Unknown
from headwater.compute.catalogue.sites import Site
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import ON_ENGINE, State
from headwater.compute.judging import Judge
from headwater.compute.presence import SiteNow
from headwater.compute.queue import Wanted
from headwater.compute.sites import Order
from headwater.compute.sites_api import tell
from headwater.compute.situation import INSIDE
from headwater.core import chart
from headwater.core.chart import Chart
from headwater.core.errors import NotFound
from headwater.core.identity import ROOT, Actor, Permission, decide
from headwater.core.web import Update, fragment, live, page, permitted, platform_of

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
Operator = Annotated[Actor, Depends(permitted(Permission.COMPUTE_SITES, ROOT))]
SITES_LAST_S = 2.0
"""Between looks at the sites for one who watches them."""
PAGE, MOST_JOBS_SHOWN = 50, 50
HOURS, POINTS = 24, 145
Organisation = Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9/_.-]*$")]


@router.get("/sites")
def sites(request: Request, actor: Reader) -> Response:  # noqa: ARG001
    return page(request, "compute/sites.html", **_sites(request))


@router.get("/sites/live")
def sites_followed(request: Request, actor: Reader) -> Response:  # noqa: ARG001
    return live(request, _look(request))


@router.get("/sites/{site}")
def site(request: Request, actor: Reader, site: str) -> Response:
    platform = platform_of(request)
    now, stated = platform.clock.now(), presence.described(platform.settings.sites_file)
    since, scopes = now - timedelta(hours=HOURS), actor.scopes(Permission.COMPUTE_READ)
    with platform.db.read() as connection:
        every = presence.look(connection, stated.sites, now)
        one = next((seen for seen in every if seen.id == site), None)
        if one is None:
            raise NotFound(f"There is no site {site[:60]}.", "Look at /sites for those there are.")
        running = presence.jobs_here(connection, site, ON_ENGINE, scopes=scopes, limit=MOST_JOBS_SHOWN)
        queued = presence.jobs_here(connection, site, {State.QUEUED}, scopes=scopes, limit=MOST_JOBS_SHOWN)
        ran = presence.lately(connection, site, since)
    held = presence.held_over(ran, since=since, now=now, points=POINTS)
    return page(
        request,
        "compute/site.html",
        site=one,
        running=running,
        queued=queued,
        now=now,
        cut=len(ran) >= presence.MOST_JOBS,
        use=[made for what, points in held.items() if (made := chart.lines(what, {what: points}, x_title="h")) is not None],
        tariff=None if one.facts is None else tariff(one.facts),
        lines=[line for line in mapping.drawn(every, stated.sites.links if stated.sites else ()).lines if site in line.ends],
        sheet=sheet(one.facts),
        may_order=decide(actor, Permission.COMPUTE_SITES, ROOT).allowed,
    )


@router.post("/sites/{site}/order")
def ordered(
    request: Request,
    actor: Operator,
    site: str,
    order: Annotated[Order, Form()],
    why: Annotated[str, Form(max_length=300)] = "",
) -> Response:
    tell(request, actor, site, order, why)
    return RedirectResponse(f"/sites/{quote(site)}", status_code=303)


@router.get("/queue")
def queued(
    request: Request,
    actor: Reader,
    organisation: Organisation = "",
    chip: Annotated[str, Query(max_length=120)] = "",
    site: Annotated[str, Query(max_length=40)] = "",
    offset: Annotated[int, Query(ge=0, le=10**7)] = 0,
) -> Response:
    platform, scopes = platform_of(request), actor.scopes(Permission.COMPUTE_READ)
    kept = {"organisation": organisation, "chip": chip, "site": site}
    wanted = Wanted(organisation=organisation, chip=chip, engine=site, offset=offset, limit=PAGE)
    with platform.db.read() as connection:
        found = queue.look(connection, _judge(request), wanted, scopes=scopes, now=platform.clock.now())
        engines = pool.noted(connection)
        asking = queue.organisations(connection, scopes)
    return page(
        request,
        "compute/queue.html",
        queue=found,
        wanted=wanted,
        first=offset + 1,
        organisations=sorted({*asking, *([organisation] if organisation else [])}),
        chips=sorted({name for whole in engines.values() for name in whole.accelerators} | ({chip} if chip else set())),
        sites=sorted({*engines, *([site] if site else [])}),
        earlier=_link("/queue", **kept, offset=max(0, offset - PAGE)) if offset else "",
        later=_link("/queue", **kept, offset=offset + PAGE) if offset + PAGE < found.count else "",
    )


@router.get("/quotas")
def held(request: Request, actor: Reader) -> Response:
    platform, scopes = platform_of(request), actor.scopes(Permission.COMPUTE_READ)
    now, column = platform.clock.now(), jobs.jobs.c
    counted = select(column.organisation, func.count()).where(column.state == State.QUEUED, column.engine != INSIDE)
    with platform.db.read() as connection:
        ran = usage.recent(connection, now=now, half_life_s=HOURS * 3600 / usage.HALF_LIVES)
        waiting = {row[0]: row[1] for row in connection.execute(counted.group_by(column.organisation))}
        own = quotas.listed(connection, scopes)
    since = now - timedelta(hours=HOURS)
    rows = holding.tree(ran, waiting, own, scopes=tuple(scopes), since=since, now=now)
    ended = sum(job.state not in ON_ENGINE for job in ran)
    return page(request, "compute/quotas.html", rows=rows, hours=HOURS, cut=ended >= usage.MOST_JOBS)


def tariff(site: Site) -> Chart | None:
    """Return a site's electricity price over the local day as a chart of steps, None where it states none."""
    steps = [(minute / 60, band.fen_per_kwh.value) for band in site.tariff for minute in (band.from_minute, band.to_minute)]
    return chart.lines("tariff", {"fen/kWh": steps}, x_title="h", y_title="fen/kWh")


def sheet(site: Site | None) -> list[tuple[str, str, Figure | Unknown]]:
    """Return what a sites file states of a site: what it is of, its key, and the figure or why there is none."""
    if site is None:
        return []
    keys = ("power_usage_effectiveness", "location_kgco2_per_kwh", "market_kgco2_per_kwh", "egress_fen_per_gib")
    whole = [("", key, cast("Figure | Unknown", getattr(site, key))) for key in keys]
    return whole + [
        (one.name, key, figure)
        for one in site.pools
        for key, figure in (("fen_per_chip_h", one.fen_per_chip_h), ("watts_per_chip", one.watts_per_chip))
    ]


def _sites(request: Request) -> dict[str, Any]:
    platform = platform_of(request)
    stated = presence.described(platform.settings.sites_file)
    with platform.db.read() as connection:
        found: tuple[SiteNow, ...] = presence.look(connection, stated.sites, platform.clock.now())
    drawn = mapping.drawn(found, stated.sites.links if stated.sites else ())
    return {"sites": found, "map": drawn, "problem": stated.problem, "described": stated.sites is not None}


def _look(request: Request) -> Callable[[], Iterable[Update]]:
    shown, asked_s = "", -SITES_LAST_S

    def look() -> Iterable[Update]:
        nonlocal shown, asked_s
        if time.monotonic() >= asked_s + SITES_LAST_S:
            shown, asked_s = fragment(request, "compute/sites_parts.html", **_sites(request)), time.monotonic()
        yield Update(kind="part", id="sites", content=shown)

    return look


def _judge(request: Request) -> Judge:
    dispatcher = cast("Dispatcher | None", getattr(request.app.state, "dispatcher", None))
    return Judge(platform_of(request).settings) if dispatcher is None else dispatcher.judge


def _link(path: str, **query: object) -> str:
    return f"{path}?{urlencode({name: value for name, value in query.items() if value not in ('', 0)})}"
