"""Organisations, people, roles and tokens. A person sees and ends their own tokens; administrators do the rest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.identity import ROLES, Actor, Permission
from headwater.core.limit import Limit, narrowed
from headwater.core.web import permitted, platform_of
from headwater.server import accounts

router = APIRouter(prefix="/api", tags=["identity"])
Manager = Annotated[Actor, Depends(permitted(Permission.IDENTITY_MANAGE))]
PERSON = "1f0e8a7c5b3d4e6f9a0b1c2d3e4f5a6b"
TokenId = Annotated[str, Path(max_length=64, description="The start of the token's hash.", examples=["9f86d081884c"])]
PersonId = Annotated[str, Path(max_length=64, examples=[PERSON])]
NAME = r"^[^\x00-\x1f\x7f]+$"


class GrantOut(BaseModel):
    """A role that a person holds within a scope."""

    model_config = ConfigDict(from_attributes=True)

    role: str = Field(examples=["developer"])
    scope: str = Field(examples=["city/haidian"])
    expires_at: datetime | None = Field(None, examples=[None])


class PersonOut(BaseModel):
    """A person with the roles that hold now."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=[PERSON])
    name: str = Field(examples=["li.wei"])
    organisation: str = Field(examples=["city/haidian"])
    grants: list[GrantOut]


class PersonIn(BaseModel):
    """A person to add."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, pattern=NAME, examples=["li.wei"])
    organisation: str = Field(max_length=200, examples=["city"])


class GrantIn(BaseModel):
    """A role to give."""

    model_config = ConfigDict(extra="forbid")

    role: str = Field(max_length=40, examples=["developer"])
    scope: str = Field(max_length=200, examples=["city"])
    reason: str = Field(min_length=3, max_length=1000, examples=["joins the credit team"])
    days: float | None = Field(None, gt=0, le=3650, description="How long it holds; null for no end.", examples=[90])


class OrganisationOut(BaseModel):
    """An organisation."""

    model_config = ConfigDict(from_attributes=True)

    path: str = Field(examples=["city/haidian"])
    title: str = Field(examples=["Haidian district"])


class OrganisationIn(BaseModel):
    """An organisation to add below an existing one."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(max_length=200, examples=["city/haidian"])
    title: str = Field(min_length=1, max_length=200, pattern=NAME, examples=["Haidian district"])


class TokenIn(BaseModel):
    """A token to make for oneself."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(min_length=1, max_length=200, pattern=NAME, examples=["nightly run"])
    days: float = Field(90, gt=0, le=365, examples=[90])
    scopes: list[Permission] | None = Field(
        None, min_length=1, max_length=100, description="The only permissions that it gives; null for all of the person's.", examples=[None]
    )
    organisation: str | None = Field(None, max_length=200, description="The only organisation that it reaches.", examples=["city"])


class TokenOut(BaseModel):
    """What is kept of a token."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["9f86d081884c"])
    kind: str = Field(examples=["api"])
    label: str = Field(examples=["nightly run"])
    created_at: datetime = Field(examples=["2026-01-31T08:00:00Z"])
    expires_at: datetime = Field(examples=["2026-04-30T08:00:00Z"])
    used_at: datetime | None = Field(None, description="When a session was last used, to the minute.", examples=[None])
    scopes: list[str] | None = Field(None, description="The only permissions that it gives.", examples=[["compute.read"]])
    organisation: str | None = Field(None, description="The only organisation that it reaches.", examples=[None])


class TokenText(BaseModel):
    """A new token's text, told this once."""

    token: str = Field(examples=["hw_api_…"])


Anyone = Annotated[Actor, Depends(permitted(Permission.PLAN_READ))]


@router.get("/me", summary="Tell who is asking")
def me(actor: Anyone) -> PersonOut:
    return PersonOut.model_validate(actor)


@router.get("/organisations", summary="List organisations")
def organisations(request: Request, actor: Manager) -> list[OrganisationOut]:
    with platform_of(request).db.read() as connection:
        found = accounts.organisations(connection, actor.scopes(Permission.IDENTITY_MANAGE))
    return [OrganisationOut.model_validate(one) for one in found]


@router.post("/organisations", summary="Add an organisation", status_code=201)
def organisation_added(request: Request, actor: Manager, body: OrganisationIn) -> OrganisationOut:
    platform = platform_of(request)
    identity.require(actor, Permission.IDENTITY_MANAGE, body.path)
    now = platform.clock.now()
    platform.db.write(lambda connection: identity.add_organisation(connection, body.path, body.title, actor=actor.id, at=now))
    return OrganisationOut(path=body.path, title=body.title)


@router.get("/people", summary="List people")
def people(request: Request, actor: Manager) -> list[PersonOut]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        found = accounts.people(connection, actor.scopes(Permission.IDENTITY_MANAGE), now=platform.clock.now())
    return [PersonOut.model_validate(one) for one in found]


@router.post("/people", summary="Add a person", status_code=201)
def person_added(request: Request, actor: Manager, body: PersonIn) -> PersonOut:
    platform = platform_of(request)
    identity.require(actor, Permission.IDENTITY_MANAGE, body.organisation)
    now = platform.clock.now()
    added = platform.db.write(lambda connection: identity.add_person(connection, body.name, body.organisation, actor=actor.id, at=now))
    return PersonOut(id=added, name=body.name, organisation=body.organisation, grants=[])


@router.post("/people/{person}/grants", summary="Give a person a role", status_code=201)
def role_granted(request: Request, actor: Manager, person: PersonId, body: GrantIn) -> PersonOut:
    platform = platform_of(request)
    now = platform.clock.now()
    identity.require(actor, Permission.IDENTITY_MANAGE, body.scope)
    if body.role in ROLES:  # a limited token cannot free itself by way of a role that it gives to someone
        narrowed(actor.limit, Limit(permissions=frozenset(map(str, ROLES[body.role]))))

    def work(connection: Connection) -> accounts.Person:
        found = accounts.person(connection, person, now=now)
        accounts.require_organisation(connection, body.scope)
        ends = now + timedelta(days=body.days) if body.days is not None else None
        identity.grant(connection, found.id, body.role, body.scope, reason=body.reason, actor=actor.id, at=now, expires_at=ends)
        return accounts.person(connection, found.id, now=now)

    return PersonOut.model_validate(platform.db.write(work))


@router.get("/tokens", summary="List one's own live tokens")
def tokens(request: Request, actor: Anyone) -> list[TokenOut]:
    return _tokens(request, actor.id)


@router.post("/tokens", summary="Make an API token for oneself", status_code=201)
def token_made(request: Request, actor: Anyone, body: TokenIn) -> TokenText:
    return _make(request, actor.id, body, by=actor)


@router.post("/tokens/{token}/revoke", summary="End one of one's own tokens", status_code=204, response_class=Response)
def token_ended(request: Request, actor: Anyone, token: TokenId) -> Response:
    return _end(request, actor.id, token, by=actor)


@router.get("/people/{person}/tokens", summary="List a person's live tokens")
def persons_tokens(request: Request, actor: Manager, person: PersonId) -> list[TokenOut]:
    return _tokens(request, managed(request, actor, person).id)


@router.post("/people/{person}/tokens", summary="Make an API token for a person", status_code=201)
def persons_token_made(request: Request, actor: Manager, person: PersonId, body: TokenIn) -> TokenText:
    return _make(request, managed(request, actor, person).id, body, by=actor)


@router.post("/people/{person}/tokens/{token}/revoke", summary="End a person's token", status_code=204, response_class=Response)
def persons_token_ended(request: Request, actor: Manager, person: PersonId, token: TokenId) -> Response:
    return _end(request, managed(request, actor, person).id, token, by=actor)


def managed(request: Request, actor: Actor, person: str) -> accounts.Person:
    """Return a person whose tokens, password and sessions the actor may handle. Raises NotFound, Refused.

    A token gives all that its person may do, so the actor must manage every scope in which the person holds a role.
    """
    platform = platform_of(request)
    with platform.db.read() as connection:
        found = accounts.person(connection, person, now=platform.clock.now())
    for scope in {found.organisation, *(grant.scope for grant in found.grants)}:
        identity.require(actor, Permission.IDENTITY_MANAGE, scope)
    return found


def _tokens(request: Request, person: str) -> list[TokenOut]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        return [TokenOut.model_validate(one) for one in accounts.tokens(connection, person, now=platform.clock.now())]


def _make(request: Request, person: str, body: TokenIn, *, by: Actor) -> TokenText:
    platform = platform_of(request)
    now, scopes = platform.clock.now(), None if body.scopes is None else tuple(body.scopes)
    wish = accounts.Wish(label=body.label, days=body.days, scopes=scopes, organisation=body.organisation)

    def work(connection: Connection) -> str:
        return accounts.make_token(connection, identity.load_actor(connection, person, now=now), wish, by=by, at=now)

    return TokenText(token=platform.db.write(work))


def _end(request: Request, person: str, token: str, *, by: Actor) -> Response:
    platform = platform_of(request)
    now = platform.clock.now()
    platform.db.write(lambda connection: accounts.revoke(connection, token, person_id=person, actor=by.id, at=now))
    return Response(status_code=204)
