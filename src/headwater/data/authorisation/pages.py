"""Console pages of the authorisation desk: grants and how they stand, one grant with its decisions, the yearly disclosure."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from headwater.core import identity, ledger
from headwater.core.calendar import local_day
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.web import names_of, page, permitted, platform_of
from headwater.data.authorisation import disclosure, disclosure_page, grants, products
from headwater.data.authorisation.api import found_grant
from headwater.data.authorisation.products import Kind, Offer
from headwater.data.catalogue import sets

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
User = Annotated[Actor, Depends(permitted(Permission.DATA_QUERY))]
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
SHOWN = 50


@router.get("/data/desk")
def desk(request: Request, actor: Reader) -> Response:
    """Every grant that the reader's organisations gave or hold; those just issued are taken up."""
    platform = platform_of(request)
    grants.take_up(platform)
    now = platform.clock.now()
    with platform.db.read() as connection:
        held = grants.listed(connection, scopes=actor.scopes(Permission.DATA_READ))
        stands = [(one, grants.standing(connection, platform.keyring, one, now)) for one in held]
        names = {one.dataset: sets.find(connection, one.dataset) for one in held if one.dataset}
    year = local_day(now).year
    in_city = identity.decide(actor, Permission.DATA_READ, ROOT).allowed
    years = [(one, disclosure.due(one)) for one in (year - 1, year)] if in_city else []
    return page(request, "data/desk.html", grants=stands, datasets=names, years=years)


@router.get("/data/desk/{grant}")
def shown(request: Request, actor: Reader, grant: str) -> Response:
    """One grant: its terms, what is offered under it, and the last decisions on its use."""
    platform, held = platform_of(request), found_grant(request, grant, actor)
    with platform.db.read() as connection:
        stands = grants.standing(connection, platform.keyring, held, platform.clock.now())
        decisions = list(ledger.entries(connection, kind="data.use.*", subject=held.statement, limit=SHOWN, newest_first=True))
        offered = products.of(connection, held.statement)
        dataset = sets.find(connection, held.dataset) if held.dataset else None
    return page(
        request,
        "data/grant.html",
        grant=held,
        stands=stands,
        decisions=decisions,
        names=names_of(request, [one.actor for one in decisions]),
        offered=offered,
        dataset=dataset,
        may_offer=stands.allowed and identity.decide(actor, Permission.DATA_QUERY, held.grantee).allowed,
    )


@router.post("/data/desk/{grant}/products")
def offer(
    request: Request,
    actor: User,
    grant: str,
    name: Annotated[str, Form(min_length=1, max_length=200)],
    price_fen: Annotated[int, Form(ge=0, le=10**12)],
    unit: Annotated[str, Form(min_length=1, max_length=40)],
    kind: Annotated[Kind, Form()] = "service",
) -> Response:
    held = found_grant(request, grant, actor)
    identity.require(actor, Permission.DATA_QUERY, held.grantee)
    products.offer(platform_of(request), held.statement, Offer(name=name, kind=kind, price_fen=price_fen, unit=unit), actor=actor.id)
    return RedirectResponse(f"/data/desk/{held.number}", status_code=303)


@router.get("/data/disclosure/{year}")
def disclosed(
    request: Request,
    actor: Annotated[Actor, Depends(permitted(Permission.DATA_READ, ROOT))],  # noqa: ARG001 - the role is what matters
    year: Annotated[int, Path(ge=2000, le=2200)],
) -> Response:
    """The yearly disclosure as a page that stands by itself, to be saved and published."""
    with platform_of(request).db.read() as connection:
        told = disclosure.of(connection, year)
    return HTMLResponse(disclosure_page.render(told), headers={"content-security-policy": PAGE_POLICY})
