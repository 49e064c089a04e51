"""What a room's routes need from the web: who is asking, the open platform, a rendered page.

    @router.get("/api/models")
    def listed(actor: Annotated[Actor, Depends(permitted(Permission.MODELS_READ))], request: Request) -> list[ModelOut]:
        return [... for one in listed(platform_of(request), scopes=actor.scopes(Permission.MODELS_READ))]

`permitted(X)` lets a person through who holds X anywhere; the room then filters lists by
`actor.scopes(X)` and calls `identity.require(actor, X, thing.organisation)` for a single thing.
`permitted(X, ROOT)` asks for it in the whole city. A request comes with an API token
(`Authorization: Bearer …`) or with a session cookie; a form sent with a cookie must also carry the
page's `csrf` field and come from this site.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from headwater.core import identity
from headwater.core.errors import NotSignedIn, Refused
from headwater.core.identity import Actor, Permission
from headwater.core.platform import Platform

SESSION_COOKIE = "headwater_session"
VISITOR_COOKIE = "headwater_visitor"
"""A random value for people who are not signed in, so that the sign-in form has a token too."""
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
LOOK_S = 0.5
STREAM_S = 600.0
PING_TURNS = 30
RETRY_MS = 2000
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Console(Protocol):
    """What renders pages; the server puts one at `app.state.console`."""

    def render(self, request: Request, template: str, values: Mapping[str, Any], status: int) -> Response:
        """Return a whole page as a response."""
        ...

    def fragment(self, request: Request, template: str, values: Mapping[str, Any]) -> str:
        """Return part of a page as HTML text, for live updates."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """A route's permission, as a FastAPI dependency that gives back the actor."""

    permission: Permission
    organisation: str | None = None

    async def __call__(self, request: Request) -> Actor:
        """Return who is asking. Raises NotSignedIn, or Refused where a role or the form's token is missing."""
        actor = await run_in_threadpool(signed_in, request)
        self.check(actor)
        if request.method not in SAFE_METHODS and bearer(request) is None:
            await check_form(request)
        return actor

    def check(self, actor: Actor) -> None:
        """Raise Refused unless the actor holds the permission here, or anywhere where no place is named."""
        if self.organisation is None and actor.scopes(self.permission):
            return
        identity.require(actor, self.permission, self.organisation or actor.organisation)


def permitted(permission: Permission, organisation: str | None = None) -> Permitted:
    """Return the dependency that lets only those with a permission through, and gives back the actor."""
    return Permitted(permission=permission, organisation=organisation)


def platform_of(request: Request) -> Platform:
    """Return the open platform that the server runs on."""
    return cast("Platform", request.app.state.platform)


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page from a room's template, named `room/file.html`."""
    return _console(request).render(request, template, values, status)


def fragment(request: Request, template: str, **values: Any) -> str:
    """Return a part of a page as HTML, from a room's template."""
    return _console(request).fragment(request, template, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A change to a page that someone is looking at.

    `part`: the element with this id now reads `content` (HTML); `append`: text is added to the
    element; `end`: nothing more will come, and the page may be loaded again.
    """

    kind: Literal["part", "append", "end"]
    id: str = ""
    content: str = ""


def live(request: Request, look: Callable[[], Iterable[Update]]) -> StreamingResponse:
    """Return a stream of server-sent events of what `look` finds changed, until it says `end`.

    `look` is called every LOOK_S seconds in a worker thread. Parts that read as before are not sent
    again. The stream ends after STREAM_S seconds: the browser then asks anew, and is weighed anew.
    """
    return StreamingResponse(_events(request, look), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(request: Request, look: Callable[[], Iterable[Update]]) -> AsyncIterator[str]:
    closing: asyncio.Event = request.app.state.closing
    seen: dict[str, str] = {}
    yield f"retry: {RETRY_MS}\n\n"
    for turn in range(int(STREAM_S / LOOK_S)):
        found = await run_in_threadpool(lambda: list(look()))
        for update in found:
            if update.kind == "part" and seen.get(update.id) == update.content:
                continue
            seen[update.id] = update.content if update.kind == "part" else ""
            yield f"event: {update.kind}\ndata: {json.dumps({'id': update.id, 'content': update.content}, ensure_ascii=False)}\n\n"
        if any(update.kind == "end" for update in found) or closing.is_set() or await request.is_disconnected():
            return
        if turn % PING_TURNS == 0:
            yield ": still here\n\n"
        try:
            await asyncio.wait_for(closing.wait(), LOOK_S)
        except TimeoutError:
            continue


def bearer(request: Request) -> str | None:
    """Return the API token of the request's Authorization header, or None where there is no such header."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def session(request: Request) -> str | None:
    """Return the session token of the request's cookie, or None."""
    return request.cookies.get(SESSION_COOKIE) or None


def signed_in(request: Request) -> Actor:
    """Return who is asking, by API token or session cookie, and remember it for the page. Raises NotSignedIn."""
    platform, token = platform_of(request), bearer(request)
    kinds: tuple[identity.TokenKind, ...] = ("api",) if token is not None else ("session",)
    token = session(request) if token is None else token
    if not token:
        raise NotSignedIn("This needs a sign-in.", "Send an API token as `Authorization: Bearer …`, or sign in at /sign-in.")
    with platform.db.read() as connection:
        actor = identity.actor_of(connection, token, now=platform.clock.now(), kinds=kinds)
    request.state.actor = actor
    return actor


def form_token(secret: str) -> str:
    """Return the token that a form must carry when it is sent with a cookie of this value."""
    return hashlib.sha256(f"headwater form {secret}".encode()).hexdigest()


async def check_form(request: Request) -> None:
    """Raise Refused unless a form was sent from one of this site's own pages, with that page's token."""
    if not _from_this_site(request):
        raise Refused("This form was sent from another site.", "Open the page here and send it again.")
    secret = session(request) or request.cookies.get(VISITOR_COOKIE) or ""
    given = request.headers.get(CSRF_HEADER) or await _field(request)
    if not secret or not hmac.compare_digest(given.encode(), form_token(secret).encode()):
        raise Refused("This form is out of date.", "Load the page again and send it once more.")


def names_of(request: Request, people: Iterable[str]) -> dict[str, str]:
    """Return people's names by id; an id that is nobody's (the platform itself) stays as it is."""
    wanted = sorted(set(people))
    column = identity.people.c
    with platform_of(request).db.read() as connection:
        known = connection.execute(select(column.id, column.name).where(column.id.in_(wanted)))
        return {one: one for one in wanted} | {row.id: row.name for row in known}


def safe_path(path: str | None, otherwise: str = "/") -> str:
    """Return a path on this site to go on to, or `otherwise` where it would lead elsewhere."""
    given = path or ""
    plain = given.startswith("/") and not given.startswith("//") and "\\" not in given and given.isprintable()
    return given if plain and not urlsplit(given).netloc else otherwise


async def _field(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return ""
    value = (await request.form()).get(CSRF_FIELD)
    return value if isinstance(value, str) else ""


def _from_this_site(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("host", "")
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _console(request: Request) -> Console:
    return cast("Console", request.app.state.console)
