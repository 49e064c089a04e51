"""What a room's routes need from the web: who is asking, the open platform, a rendered page.

    @router.get("/api/models")
    def listed(actor: Annotated[Actor, Depends(permitted(Permission.MODELS_READ))], request: Request) -> list[ModelOut]:
        return [... for one in listed(platform_of(request), scopes=actor.scopes(Permission.MODELS_READ))]

`permitted(X)` lets a person through who holds X anywhere; the room then filters lists by
`actor.scopes(X)` and calls `identity.require(actor, X, thing.organisation)` for a single thing.
`permitted(X, ROOT)` asks for it in the whole city. A request comes with an API token
(`Authorization: Bearer …`) or with a session cookie; a form sent with a cookie must also carry the
page's `csrf` field and come from this site. How often one token may ask is bounded. A route that is
for all says so with `public(why)`, which gives back the actor where there is one and bounds how often
one address may ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from headwater.core import identity
from headwater.core.errors import BadInput, NotSignedIn, Refused, TooMany
from headwater.core.identity import Actor, Permission
from headwater.core.pace import Pace
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
USE_NOTED = timedelta(minutes=1)
"""How exactly the last use of a session is known: a write for each request would be too many."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


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
        actor = await _signed_in(request)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """A route that is for all, as a FastAPI dependency that gives back the actor of those who sign in all the same."""

    because: str
    """Why nobody need sign in: it stands in the API's document."""
    bare_token: bool = False
    """Whether the Authorization header may hold the token alone, and cookies do not count: as clients of CKAN send it."""
    cost: int = 1
    """How many requests one counts as, for what takes the server long."""

    async def __call__(self, request: Request) -> Actor | None:
        """Return who is asking, if they say so. Raises NotSignedIn for a wrong token, TooMany for a stranger in a hurry."""
        token = self._token(request)
        if token is not None:
            return await _signed_in(request, token)
        if not self.bare_token and request.method in SAFE_METHODS and session(request):
            with contextlib.suppress(NotSignedIn):  # a session that has ended is no reason to keep anyone from what is for all
                return await _signed_in(request)
        keep_pace(request, self.cost)
        return None

    def _token(self, request: Request) -> str | None:
        whole = request.headers.get("authorization", "").strip()
        return bearer(request) or (whole if self.bare_token and whole and " " not in whole else None)


def public(because: str, *, bare_token: bool = False, cost: int = 1) -> Public:
    """Return the dependency of a route that is for all, with the reason why."""
    return Public(because=because, bare_token=bare_token, cost=cost)


def keep_pace(request: Request, cost: int = 1) -> None:
    """Raise TooMany where a stranger's address asks too often."""
    pace = cast("Pace", request.app.state.pace)
    wait_s = pace.take(caller_of(request), time.monotonic(), cost)
    if wait_s > 0:
        what = f"More than {pace.per_minute} requests in a minute came from this address."
        raise TooMany(what, f"Try again in {wait_s:.0f} s, or sign in with a token.", wait_s=max(1, round(wait_s)))


async def _signed_in(request: Request, token: str | None = None) -> Actor:
    """Return who is asking, by API token or session cookie, and note that a session is in use. Raises NotSignedIn, TooMany.

    SQLite is read where we are: that takes less than the way to another thread and back, and waits for nobody.
    """
    here = platform_of(request).db.is_sqlite
    actor = _known(request, token) if here else await run_in_threadpool(_known, request, token)
    if _is_to_be_noted(request, actor):
        await run_in_threadpool(_note_use, request, actor)
    return actor


def _keep_token_pace(request: Request, actor: Actor) -> None:
    pace = cast("Pace", request.app.state.token_pace)
    wait_s = pace.take(actor.token, time.monotonic())
    if wait_s > 0:
        what = f"More than {pace.per_minute} requests in a minute came with this token."
        raise TooMany(what, f"Try again in {wait_s:.0f} s.", wait_s=max(1, round(wait_s)))


def caller_of(request: Request) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else ""


def address_of(request: Request) -> str:
    """Return the server's own address as outside clients use it, without a slash at the end. Raises BadInput for a Host that is none."""
    chosen = platform_of(request).settings.public_url
    if chosen:
        return chosen.rstrip("/")
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        raise BadInput("The request's Host header is no host.", "Send the name or address that the server is reached at.")
    return f"{request.url.scheme}://{host}"


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


def _known(request: Request, token: str | None = None) -> Actor:
    """Return who is asking, by API token or session cookie, and remember it for the page. Raises NotSignedIn, TooMany."""
    platform, token = platform_of(request), token or bearer(request)
    kinds: tuple[identity.TokenKind, ...] = ("api",) if token is not None else ("session",)
    token = session(request) if token is None else token
    if not token:
        raise NotSignedIn("This needs a sign-in.", "Send an API token as `Authorization: Bearer …`, or sign in at /sign-in.")
    now, idle = platform.clock.now(), timedelta(minutes=platform.settings.session_idle_minutes)
    try:
        with platform.db.read() as connection:
            actor = identity.actor_of(connection, token, now=now, kinds=kinds, idle=idle)
    except NotSignedIn:
        keep_pace(request)  # whoever guesses tokens is a stranger
        raise
    _keep_token_pace(request, actor)
    request.state.actor = actor
    return actor


def _is_to_be_noted(request: Request, actor: Actor) -> bool:
    streams = "text/event-stream" in request.headers.get("accept", "")  # a page left open is not someone using it
    return actor.used_at is not None and platform_of(request).clock.now() - actor.used_at >= USE_NOTED and not streams


def _note_use(request: Request, actor: Actor) -> None:
    platform = platform_of(request)
    platform.db.write(lambda connection: identity.note_use(connection, actor.token, now=platform.clock.now()))


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
