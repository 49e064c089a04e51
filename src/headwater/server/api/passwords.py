"""Passwords and sessions of people, for those who manage them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from headwater.core import identity, passwords
from headwater.core.errors import Refused
from headwater.core.identity import Actor
from headwater.core.web import platform_of
from headwater.server import accounts
from headwater.server.api.people import Manager, PersonId, managed

router = APIRouter(prefix="/api", tags=["identity"])


class PasswordIn(BaseModel):
    """A new password."""

    model_config = ConfigDict(extra="forbid")

    password: str = Field(min_length=1, max_length=1024, json_schema_extra={"writeOnly": True}, examples=["correct horse battery staple"])


class EndedOut(BaseModel):
    """How many sessions were ended."""

    ended: int = Field(examples=[2])


@router.post("/people/{person}/password", summary="Set a person's password", status_code=204, response_class=Response)
def password_set(request: Request, actor: Manager, person: PersonId, body: PasswordIn) -> Response:
    """The person's sessions end. Only the password's Argon2id hash is kept."""
    found, platform = _managed(request, actor, person), platform_of(request)
    new, now = passwords.hashed(body.password, found.name), platform.clock.now()
    platform.db.write(lambda connection: passwords.put(connection, found.id, new, actor=actor.id, at=now))
    return Response(status_code=204)


@router.post("/people/{person}/password/remove", summary="Take a person's password away", status_code=204, response_class=Response)
def password_removed(request: Request, actor: Manager, person: PersonId) -> Response:
    """The person's sessions end; their API tokens and an OpenID provider still let them in."""
    found, platform = _managed(request, actor, person), platform_of(request)
    now = platform.clock.now()
    platform.db.write(lambda connection: passwords.remove(connection, found.id, actor=actor.id, at=now))
    return Response(status_code=204)


@router.post("/people/{person}/sessions/end", summary="End a person's sessions")
def sessions_ended(request: Request, actor: Manager, person: PersonId) -> EndedOut:
    """Browsers are signed out and one-time links stop working; API tokens stay."""
    found, platform = managed(request, actor, person), platform_of(request)
    now = platform.clock.now()

    def work(connection: Connection) -> int:
        return identity.end_sessions(connection, found.id, actor=actor.id, at=now)

    return EndedOut(ended=platform.db.write(work))


def _managed(request: Request, actor: Actor, person: str) -> accounts.Person:
    """Return a person whose password the actor may set: it gives all that the person may do, so no limited token will do."""
    if actor.limit.bounds:
        raise Refused("A limited token sets no passwords.", "Use a token without a limit, or sign in.")
    return managed(request, actor, person)
