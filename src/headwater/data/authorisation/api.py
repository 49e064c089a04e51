"""Routes over grants: look, use, offer, disclose; and the files behind signed addresses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.core import identity
from headwater.core.errors import NotFound, Refused
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.web import permitted, platform_of, public
from headwater.data.authorisation import disclosure, grants, products
from headwater.data.authorisation.decision import Use
from headwater.data.authorisation.grants import Grant
from headwater.data.authorisation.policy import Action
from headwater.data.authorisation.products import Kind, Offer
from headwater.data.authorisation.serving import serve_file
from headwater.data.authorisation.signed_urls import PREFIX, BadAddress, FileAccess, check_url, sign_url
from headwater.data.catalogue import sets
from headwater.data.catalogue.access import rows_without_grant, visible
from headwater.data.catalogue.api import DOWNLOAD, Name
from headwater.data.catalogue.sets import DataSet, Version

router = APIRouter(tags=["data"])

Reader = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
User = Annotated[Actor, Depends(permitted(Permission.DATA_QUERY))]
Anyone = Annotated[Actor | None, Depends(public("A signed address is its own right to one file, for a while."))]
GrantName = Annotated[str, Path(max_length=80, description="The grant's number or statement.", examples=["HW-DA-2026-000001"])]


class TermsOut(BaseModel):
    """The terms of a grant, in plain words."""

    actions: list[Action]
    purposes: list[str]
    recipients: list[str]
    starts_at: datetime | None
    ends_at: datetime | None
    count: int | None
    regions: list[str]
    fee_ceiling_fen: int | None
    onward_sharing: bool


class ProductOut(BaseModel):
    """A product or service under a grant, with its actual price."""

    id: str
    statement: str
    name: str
    kind: Kind
    price_fen: int
    unit: str
    changed_by: str
    changed_at: datetime


class GrantOut(BaseModel):
    """A grant, and how it stands now."""

    statement: str
    number: str = Field(examples=["HW-DA-2026-000001"])
    dataset: str | None
    grantee: str
    organisation: str
    mode: str
    policy: dict[str, Any] = Field(description="The terms as an ODRL agreement (JSON-LD).")
    terms: TermsOut
    problem: str | None = Field(description="Why it was not taken up as a grant that allows anything.")
    used: int
    refused: int
    taken_up_at: datetime
    stands: bool
    because: str


class GrantDetailOut(GrantOut):
    """A grant with what is offered under it."""

    products: list[ProductOut]


class LinksIn(BaseModel):
    """Which files of a version are wanted, and for what: the facts that the terms speak of."""

    version: int | None = Field(None, ge=1, le=2**31 - 1, description="The newest where left out.")
    files: list[Annotated[str, Field(max_length=500)]] = Field(default_factory=list, max_length=1000, description="All where empty.")
    grant: str = Field("", max_length=80, description="The grant; not needed for open data.", examples=["HW-DA-2026-000001"])
    purpose: str | None = Field(None, max_length=100, examples=["traffic_management"])
    region: str | None = Field(None, max_length=64, examples=["CN-BJ"])
    price_fen: int | None = Field(None, ge=0, le=10**12)
    onward: bool = Field(False, description="Whether the data will be passed on.")
    hours: float = Field(1.0, gt=0, le=168)


class LinkOut(BaseModel):
    """A file's signed address on this server."""

    file: str
    digest: str
    bytes: int
    url: str = Field(examples=["/data/signed/…/part.parquet"])
    expires_at: datetime


class LinksOut(BaseModel):
    """Signed addresses, and why they were given."""

    dataset: str
    version: int
    because: str
    links: list[LinkOut]


class OfferIn(BaseModel):
    """A product or service to enter, or whose price changes."""

    name: str = Field(min_length=1, max_length=200, examples=["Stops near an address"])
    kind: Kind = "service"
    price_fen: int = Field(ge=0, le=10**12)
    unit: str = Field(min_length=1, max_length=40, examples=["query"])


@router.get("/api/data/grants", summary="List the grants that your organisations gave or hold")
def grants_listed(request: Request, actor: Reader, dataset: Annotated[str | None, Query(max_length=100)] = None) -> list[GrantOut]:
    platform = platform_of(request)
    grants.take_up(platform)
    wanted = visible(platform, dataset, actor).id if dataset else None
    with platform.db.read() as connection:
        held = grants.listed(connection, scopes=actor.scopes(Permission.DATA_READ), dataset=wanted)
    return [GrantOut.model_validate(told(request, one)) for one in held]


@router.get("/api/data/grants/{grant}", summary="Look at one grant, its terms and what is offered under it")
def grant_shown(request: Request, actor: Reader, grant: GrantName) -> GrantDetailOut:
    held = found_grant(request, grant, actor)
    with platform_of(request).db.read() as connection:
        offered = products.of(connection, held.statement)
    return GrantDetailOut.model_validate(told(request, held) | {"products": [one.as_json() for one in offered]})


@router.post("/api/data/grants/{grant}/products", summary="Enter a product or service under a grant, or change its price", status_code=201)
def offer(request: Request, actor: User, grant: GrantName, wish: OfferIn) -> ProductOut:
    held = found_grant(request, grant, actor)
    identity.require(actor, Permission.DATA_QUERY, held.grantee)
    made = products.offer(platform_of(request), held.statement, Offer(**wish.model_dump()), actor=actor.id)
    return ProductOut.model_validate(made.as_json())


@router.post(
    "/api/data/sets/{dataset}/links", summary="Get signed addresses of a version's files: the terms are weighed, and the decision recorded"
)
def links(request: Request, actor: User, name: Name, wish: LinksIn) -> LinksOut:
    platform = platform_of(request)
    dataset = visible(platform, name, actor)
    with platform.db.read() as connection:
        version = sets.version(connection, dataset, wish.version)
    files = [version.file(one) for one in wish.files] if wish.files else list(version.files)
    grantee, statement, because = _let_in(request, actor, dataset, version, wish)
    lasts = timedelta(hours=wish.hours)
    made = []
    for file in files:
        wanted = FileAccess(dataset=dataset.id, version=version.number, file=file.name, grantee=grantee, grant=statement)
        url = sign_url(platform, wanted, lasts)
        made.append(LinkOut(file=file.name, digest=file.digest, bytes=file.bytes, url=url, expires_at=platform.clock.now() + lasts))
    return LinksOut(dataset=dataset.name, version=version.number, because=because, links=made)


@router.get("/api/data/disclosure/{year}", summary="The yearly disclosure of authorised operation, replayed from the ledger")
def disclosed(
    request: Request,
    actor: Annotated[Actor, Depends(permitted(Permission.DATA_READ, ROOT))],  # noqa: ARG001 - the role is what matters
    year: Annotated[int, Path(ge=2000, le=2200, examples=[2026])],
) -> dict[str, Any]:
    with platform_of(request).db.read() as connection:
        return disclosure.of(connection, year)


@router.get(PREFIX + "/{token}/{file}", summary="Download a file by its signed address", response_class=Response, responses=DOWNLOAD)
def signed(
    request: Request,
    actor: Anyone,  # noqa: ARG001 - strangers are kept in pace
    token: Annotated[str, Path(max_length=2000)],
    file: Annotated[str, Path(max_length=500)],
) -> Response:
    """The address tells all: altering it, its expiry, the end of its grant, or the data set's withdrawal closes it. Takes Range."""
    platform = platform_of(request)
    opened = check_url(platform, token)
    with platform.db.read() as connection:
        dataset = sets.find(connection, opened.dataset)
        if dataset.withdrawn_at is not None:
            raise BadAddress("The data set was withdrawn.", "Ask its owner.")
        if opened.grant:
            _check_still_granted(request, opened.grant)
        wanted = sets.version(connection, dataset, opened.version).file(opened.file)
    if wanted.name.rpartition("/")[2] != file:
        raise NotFound("This address names another file.", "Use it as it was given.")
    return serve_file(request, platform.store, wanted)


def told(request: Request, grant: Grant) -> dict[str, Any]:
    """Return a grant with how it stands now, as JSON values."""
    platform = platform_of(request)
    with platform.db.read() as connection:
        stands = grants.standing(connection, platform.keyring, grant, platform.clock.now())
    return grant.as_json() | {"stands": stands.allowed, "because": stands.because}


def found_grant(request: Request, name: str, actor: Actor) -> Grant:
    """Return a grant that the actor's organisations gave or hold. Raises NotFound: others need not know of it."""
    platform = platform_of(request)
    grants.take_up(platform)
    with platform.db.read() as connection:
        held = grants.find(connection, name)
    if any(identity.decide(actor, Permission.DATA_READ, one).allowed for one in (held.organisation, held.grantee)):
        return held
    raise NotFound(f"There is no grant '{name[:80]}'.", "List them with `headwater data grants`.")


def _let_in(request: Request, actor: Actor, dataset: DataSet, version: Version, wish: LinksIn) -> tuple[str, str, str]:
    """Return for whom, under which grant and why files may be had. Raises Refused with every reason."""
    free = rows_without_grant(dataset, actor)
    if free.allowed and not wish.grant:
        return actor.organisation, "", free.because
    if not wish.grant:
        raise Refused(f"{free.because}.", "Name the grant, or apply for one.")
    platform, grant = platform_of(request), found_grant(request, wish.grant, actor)
    use = Use(
        action="read",
        organisation=actor.organisation,
        purpose=wish.purpose,
        region=wish.region,
        price_fen=wish.price_fen,
        onward=wish.onward,
    )
    about = {"version": version.number, "files": wish.files[:20]}
    decision = grants.use(platform, grant.statement, dataset, use, actor=actor.id, about=about)
    if not decision.allowed:
        raise Refused(f"The grant does not allow this: {decision.because}.", "Apply for other terms.")
    return grant.grantee, grant.statement, decision.because


def _check_still_granted(request: Request, statement: str) -> None:
    """Raise BadAddress where the grant was revoked or its term is over; a spent count does not close what it has opened."""
    platform = platform_of(request)
    with platform.db.read() as connection:
        held = grants.find(connection, statement)
        stands = grants.unrevoked(connection, platform.keyring, held, platform.clock.now())
    if not stands.allowed:
        raise BadAddress(f"The grant behind this address is over: {stands.because}.", "Apply for a new one.")
