"""Routes over usage, rate cards, budgets, vouchers, statements of sites, and disputes."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath

from headwater.compute.quotas import above
from headwater.compute.settlement import budgets, disputes, ratecards, records, statements, views, vouchers
from headwater.compute.settlement.periods import PATTERN, Period, month_of, period
from headwater.compute.settlement.ratecards import Card
from headwater.compute.settlement.views import (
    AnswerIn,
    BudgetIn,
    BudgetName,
    BudgetView,
    CardView,
    CodeIn,
    ComparisonView,
    DisputeIn,
    DisputeView,
    IssuedView,
    SettlementIn,
    SignedView,
    StatementView,
    UsageView,
    VoucherIn,
    VoucherView,
)
from headwater.core import identity
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.web import permitted, platform_of

router = APIRouter()

Reader = Annotated[Actor, Depends(permitted(Permission.USAGE_READ))]
CityReader = Annotated[Actor, Depends(permitted(Permission.USAGE_READ, ROOT))]
Manager = Annotated[Actor, Depends(permitted(Permission.SETTLEMENT_MANAGE))]
CityManager = Annotated[Actor, Depends(permitted(Permission.SETTLEMENT_MANAGE, ROOT))]
Site = Annotated[str, InPath(pattern=views.SITE)]
Label = Annotated[str, InPath(alias="period", pattern=PATTERN, description="2026, 2026-Q4, 2026-11 or 2026-11-26.")]


def span_of(request: Request, label: str | None) -> Period:
    """Return the period of a label, this month where there is none. Raises BadInput."""
    return period(label) if label else month_of(platform_of(request).clock.now())


def scopes_of(actor: Actor, organisation: str | None) -> tuple[str, ...]:
    """Return the scopes to look in: all that the actor may read, or one organisation. Raises Refused."""
    if organisation is None:
        return actor.scopes(Permission.USAGE_READ)
    identity.require(actor, Permission.USAGE_READ, organisation)
    return (organisation,)


@router.get("/usage", summary="Say what was used in a period, by organisation and site")
def used(
    request: Request,
    actor: Reader,
    label: Annotated[str | None, Query(alias="period", pattern=PATTERN)] = None,
    organisation: Annotated[str | None, Query(pattern=views.PATH)] = None,
) -> UsageView:
    span, scopes = span_of(request, label), scopes_of(actor, organisation)
    with platform_of(request).db.read() as connection:
        lines, total = records.by_organisation(connection, scopes, span), records.total_of(connection, scopes, span)
    return views.usage_view(span.label, lines, total)


@router.get("/settlement/budgets", summary="List budgets and what is spent of each")
def budgets_listed(request: Request, actor: Reader) -> list[BudgetView]:
    with platform_of(request).db.read() as connection:
        every = budgets.listed(connection, actor.scopes(Permission.USAGE_READ))
        return [views.budget_view(budgets.standing(connection, one)) for one in every]


@router.post("/settlement/budgets", summary="Set an organisation's budget of a period", status_code=201)
def budget_set(request: Request, actor: Manager, body: BudgetIn) -> BudgetView:
    platform = platform_of(request)
    identity.require(actor, Permission.SETTLEMENT_MANAGE, above(body.organisation))
    at = platform.clock.now()
    made = platform.db.write(lambda connection: budgets.put(connection, body.organisation, body.period, body.fen, actor=actor.id, at=at))
    with platform.db.read() as connection:
        return views.budget_view(budgets.standing(connection, made))


@router.post("/settlement/budgets/remove", summary="Remove a budget", status_code=204, response_class=Response)
def budget_removed(request: Request, actor: Manager, body: BudgetName) -> Response:
    platform = platform_of(request)
    identity.require(actor, Permission.SETTLEMENT_MANAGE, above(body.organisation))
    at = platform.clock.now()
    platform.db.write(lambda connection: budgets.remove(connection, body.organisation, body.period, actor=actor.id, at=at))
    return Response(status_code=204)


@router.get("/settlement/vouchers", summary="List compute vouchers, newest first")
def vouchers_listed(request: Request, actor: Reader) -> list[VoucherView]:
    with platform_of(request).db.read() as connection:
        return [VoucherView.model_validate(one) for one in vouchers.listed(connection, actor.scopes(Permission.USAGE_READ))]


@router.post("/settlement/vouchers", summary="Issue a compute voucher; its code is shown this once", status_code=201)
def voucher_issued(request: Request, actor: Manager, body: VoucherIn) -> IssuedView:
    platform, at = platform_of(request), platform_of(request).clock.now()
    identity.require(actor, Permission.SETTLEMENT_MANAGE, above(body.organisation))
    voucher, code = platform.db.write(
        lambda connection: vouchers.issue(
            connection, body.organisation, body.fen, expires_at=body.expires_at, reason=body.reason, actor=actor.id, at=at
        )
    )
    return IssuedView(**VoucherView.model_validate(voucher).model_dump(), code=code)


@router.post("/settlement/vouchers/redeem", summary="Add a voucher to its organisation's budget, once")
def voucher_redeemed(request: Request, actor: Reader, body: CodeIn) -> VoucherView:
    return VoucherView.model_validate(redeem(request, actor, body.code))


def redeem(request: Request, actor: Actor, code: str) -> vouchers.Voucher:
    """Redeem a voucher for one who belongs to its organisation: whoever may see its usage. Raises NotFound, Refused, Conflict."""
    platform, at = platform_of(request), platform_of(request).clock.now()
    with platform.db.read() as connection:
        holder = vouchers.get(connection, vouchers.id_of(code)).organisation
    identity.require(actor, Permission.USAGE_READ, holder)
    return platform.db.write(lambda connection: vouchers.redeem(connection, code, actor=actor.id, at=at))


@router.get("/settlement/rates", summary="List rate cards, by site and version")
def rates_listed(request: Request, actor: Reader) -> list[CardView]:  # noqa: ARG001
    with platform_of(request).db.read() as connection:
        return [views.card_view(one) for one in ratecards.listed(connection)]


@router.post("/settlement/rates/{site}", summary="Set a site's next rate card", status_code=201)
def rates_set(request: Request, actor: CityManager, site: Site, body: Card) -> CardView:
    platform, at = platform_of(request), platform_of(request).clock.now()
    return views.card_view(platform.db.write(lambda connection: ratecards.put(connection, site, body, actor=actor.id, at=at)))


@router.get("/settlement/statements/{site}/{period}", summary="Say what a site supplied in a period and what it is owed")
def stated(request: Request, actor: CityReader, site: Site, label: Label) -> StatementView:  # noqa: ARG001
    span = period(label)
    with platform_of(request).db.read() as connection:
        return views.statement_view(statements.read(connection, site, span))


@router.post("/settlement/statements/{site}/{period}", summary="Sign the usage statement of a site and a period", status_code=201)
def signed(request: Request, actor: CityManager, site: Site, label: Label) -> SignedView:
    platform, span = platform_of(request), period(label)
    held = platform.db.write(lambda connection: statements.sign(connection, platform, site, span, actor=actor.id))
    return SignedView(digest=held.digest, envelope=statements.envelope_of(held))


@router.post("/settlement/reconcile", summary="Hold a site's signed usage statement against the platform's own account")
def reconciled(
    request: Request, actor: CityManager, body: dict[str, Any], within: Annotated[float, Query(ge=0, le=0.5)] = 0.0
) -> ComparisonView:
    platform, envelope = platform_of(request), json.dumps(body)
    found = platform.db.write(lambda connection: statements.compare(connection, platform, envelope, within=within, actor=actor.id))
    return views.comparison_view(found)


@router.get("/settlement/disputes", summary="List disputes over lines of usage, those not settled first")
def disputes_listed(
    request: Request,
    actor: CityReader,  # noqa: ARG001
    site: Annotated[str | None, Query(pattern=views.SITE)] = None,
) -> list[DisputeView]:
    with platform_of(request).db.read() as connection:
        return [DisputeView.model_validate(one) for one in disputes.listed(connection, site)]


@router.post("/settlement/disputes", summary="Dispute a line of usage", status_code=201)
def dispute_opened(request: Request, actor: CityManager, body: DisputeIn) -> DisputeView:
    platform, at = platform_of(request), platform_of(request).clock.now()
    made = platform.db.write(lambda connection: disputes.open_dispute(connection, body.site, body.key, body.claim, actor=actor.id, at=at))
    return DisputeView.model_validate(made)


@router.post("/settlement/disputes/{dispute}/answer", summary="Answer a dispute")
def dispute_answered(request: Request, actor: CityManager, dispute: str, body: AnswerIn) -> DisputeView:
    platform, at = platform_of(request), platform_of(request).clock.now()
    made = platform.db.write(lambda connection: disputes.answer(connection, dispute, body.answer, actor=actor.id, at=at))
    return DisputeView.model_validate(made)


@router.post("/settlement/disputes/{dispute}/settle", summary="Settle a dispute by an adjustment")
def dispute_settled(request: Request, actor: CityManager, dispute: str, body: SettlementIn) -> DisputeView:
    platform, at = platform_of(request), platform_of(request).clock.now()
    fen, told = body.adjustment_fen, body.settlement
    made = platform.db.write(lambda connection: disputes.settle(connection, dispute, fen, told, actor=actor.id, at=at))
    return DisputeView.model_validate(made)
