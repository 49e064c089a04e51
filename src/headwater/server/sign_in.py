"""Signing in to the console with a token or a one-time link, and signing out."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from headwater.core import identity, web
from headwater.core.errors import NotSignedIn
from headwater.core.platform import Platform

router = APIRouter(include_in_schema=False)

ONCE = "hw_once_"


@router.get("/sign-in")
def form(request: Request, to: Annotated[str, Query(alias="next")] = "/", link: str = "") -> Response:
    """The form; a one-time link needs a press of its button, so that a link preview cannot spend it."""
    return web.page(request, "server/sign_in.html", to=web.safe_path(to), link=link, wrong="")


@router.post("/sign-in")
async def enter(request: Request, token: Annotated[str, Form()] = "", to: Annotated[str, Form(alias="next")] = "/") -> Response:
    """Change a token for a session and go on to the page that was asked for."""
    await web.check_form(request)
    platform = web.platform_of(request)
    try:
        session = await run_in_threadpool(platform.db.write, lambda connection: exchange(connection, platform, token.strip()))
    except NotSignedIn as error:
        return web.page(request, "server/sign_in.html", 401, to=web.safe_path(to), link="", wrong=f"{error.what} {error.hint}")
    response = RedirectResponse(web.safe_path(to), status_code=303)
    age_s = round(platform.settings.session_hours * 3600)
    secure = platform.settings.secure_cookies
    response.set_cookie(web.SESSION_COOKIE, session, max_age=age_s, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/sign-out")
async def leave(request: Request) -> Response:
    """End the session here and in the database."""
    await web.check_form(request)
    platform, token = web.platform_of(request), web.session(request)
    if token:
        await run_in_threadpool(platform.db.write, lambda connection: end(connection, platform, token))
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(web.SESSION_COOKIE, httponly=True, samesite="strict", secure=platform.settings.secure_cookies)
    return response


def exchange(connection: Connection, platform: Platform, token: str) -> str:
    """Return a session token for an API token or a one-time token, which is spent. Raises NotSignedIn."""
    now, lasts = platform.clock.now(), timedelta(hours=platform.settings.session_hours)
    if token.startswith(ONCE):
        return identity.spend_once_token(connection, token, now=now, session_lasts=lasts)
    return identity.open_session(connection, token, now=now, lasts=lasts)


def end(connection: Connection, platform: Platform, token: str) -> None:
    """End a session; one that has ended is left alone."""
    now = platform.clock.now()
    try:
        actor = identity.actor_of(connection, token, now=now, kinds=("session",))
    except NotSignedIn:
        return
    identity.revoke_token(connection, token, actor=actor.id, at=now)
