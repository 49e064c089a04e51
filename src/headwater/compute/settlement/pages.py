"""Console pages of usage and settlement: what organisations used of their budgets, what sites are owed, one site's statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from headwater.compute import presence, quotas
from headwater.compute.quotas import Quota
from headwater.compute.settlement import budgets, disputes, ratecards, records, statements, vouchers
from headwater.compute.settlement.api import CityReader, Label, Reader, Site, redeem, span_of
from headwater.compute.settlement.budgets import Standing
from headwater.compute.settlement.periods import PATTERN, Period, day_of, month_of, period
from headwater.compute.settlement.records import Total, add
from headwater.compute.usage import lineage
from headwater.core import chart, identity
from headwater.core.chart import Chart
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.web import page, permitted, platform_of

router = APIRouter(include_in_schema=False)

Redeemer = Annotated[Actor, Depends(permitted(Permission.USAGE_READ))]
DAYS, MONTHS = 30, 12
MOST_LINES_SHOWN = 500


@router.get("/usage")
def used(request: Request, actor: Reader, label: Annotated[str | None, Query(alias="period", pattern=PATTERN)] = None) -> Response:
    platform, span, scopes = platform_of(request), span_of(request, label), actor.scopes(Permission.USAGE_READ)
    now = platform.clock.now()
    with platform.db.read() as connection:
        lines = records.by_organisation(connection, scopes, span)
        total = records.total_of(connection, scopes, span)
        standings = [budgets.standing(connection, one) for one in budgets.listed(connection, scopes, now)]
        own = {one.organisation: one for one in quotas.listed(connection, scopes)}
        daily = [(day, records.total_of(connection, scopes, day)) for day in days_to(now)]
        held = vouchers.listed(connection, scopes, limit=20)
    return page(
        request,
        "compute/usage.html",
        span=span,
        total=total,
        rows=rows(lines, standings, own),
        charts=charts(daily),
        vouchers=held,
        yuan=budgets.yuan,
        periods=months_to(now),
        city=identity.decide(actor, Permission.USAGE_READ, ROOT).allowed,
    )


@router.post("/usage/redeem")
def redeemed(request: Request, actor: Redeemer, code: Annotated[str, Form(min_length=1, max_length=200)]) -> Response:
    redeem(request, actor, code)
    return RedirectResponse("/usage", status_code=303)


@router.get("/settlement")
def settled(request: Request, actor: CityReader) -> Response:  # noqa: ARG001
    platform = platform_of(request)
    now = platform.clock.now()
    stated = presence.described(platform.settings.sites_file).sites
    with platform.db.read() as connection:
        found = records.sites(connection)
        spans = months_to(now)[:3]
        owed = {site: [statements.read(connection, site, span) for span in spans] for site in found}
        cards = {one.site: one for one in ratecards.listed(connection) if one.valid_from <= now}
        open_disputes = disputes.listed(connection, limit=50)
    owners = {site: stated.by_id[site].owner for site in found if stated is not None and site in stated.by_id}
    return page(
        request,
        "compute/settlement.html",
        owed=owed,
        spans=spans,
        cards=cards,
        owners=owners,
        disputes=open_disputes,
        yuan=budgets.yuan,
    )


@router.get("/settlement/{site}/{period}.csv")
def exported(request: Request, actor: CityReader, site: Site, label: Label) -> Response:  # noqa: ARG001
    span = period(label)
    with platform_of(request).db.read() as connection:
        text = statements.as_csv(statements.read(connection, site, span))
    name = f"{site}-{span.label}.csv"
    return Response(text, media_type="text/csv; charset=utf-8", headers={"content-disposition": f'attachment; filename="{name}"'})


@router.get("/settlement/{site}/{period}")
def stated(request: Request, actor: CityReader, site: Site, label: Label) -> Response:  # noqa: ARG001
    span = period(label)
    with platform_of(request).db.read() as connection:
        told = statements.read(connection, site, span)
        cards = [one for one in ratecards.listed(connection, site) if one.version in {line.card for line in told.lines}]
    return page(request, "compute/statement_of_site.html", told=told, lines=told.lines[:MOST_LINES_SHOWN], cards=cards, yuan=budgets.yuan)


@dataclass(slots=True, kw_only=True)
class Row:
    """What an organisation with all below it used in a period, its quota, and its budgets that hold now."""

    organisation: str
    total: Total = field(default_factory=Total)
    quota: Quota | None = None
    standings: list[Standing] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """How many organisations are above it."""
        return self.organisation.count("/")


def rows(lines: tuple[tuple[str, str, Total], ...], standings: list[Standing], own: dict[str, Quota]) -> list[Row]:
    """Return a row for each organisation that used something, has a budget or a quota, by path; use counts for all above it too."""
    named = {organisation for organisation, _, _ in lines} | {one.budget.organisation for one in standings} | set(own)
    found = {name: Row(organisation=name) for name in named}
    for organisation, _, total in lines:
        for path in lineage(organisation):
            if path in found:
                found[path].total = add(found[path].total, total)
    for one in standings:
        found[one.budget.organisation].standings.append(one)
    for name, quota in own.items():
        found[name].quota = quota
    return [found[name] for name in sorted(found)]


def charts(daily: list[tuple[Period, Total]]) -> list[Chart]:
    """Return charts of the hours used on each of the last days, those with any: of accelerators, of domestic ones, of cores."""
    found = []
    for name in ("accelerator_s", "domestic_accelerator_s", "core_s"):
        points = [(float(number - len(daily) + 1), getattr(total, name) / 3600) for number, (_, total) in enumerate(daily)]
        drawn = chart.lines(name, {"h": points}, x_title="d", y_title="h") if any(hours for _, hours in points) else None
        found += [drawn] if drawn is not None else []
    return found


def days_to(now: datetime) -> list[Period]:
    """Return the last days, today last."""
    return [day_of(now - timedelta(days=ago)) for ago in reversed(range(DAYS))]


def months_to(now: datetime) -> list[Period]:
    """Return the last months, this one first."""
    found = [month_of(now)]
    while len(found) < MONTHS:
        found.append(month_of(found[-1].since - timedelta(seconds=1)))
    return found
