"""Signing in to the console with a password, a token or a one-time link, and signing out."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated, cast

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from headwater.core import identity, passwords, web
from headwater.core.errors import HeadwaterError, NotSignedIn, TooMany
from headwater.core.pace import Backoff
from headwater.core.platform import Platform

router = APIRouter(include_in_schema=False)

ONCE = "hw_once_"
FREE_BY_ACCOUNT, FREE_BY_ADDRESS = 5, 30
"""Failed passwords before the next must wait: of one account, and from one address, behind which an office may sit."""


@router.get("/sign-in")
def form(request: Request, to: Annotated[str, Query(alias="next")] = "/", link: str = "") -> Response:
    """The form; a one-time link needs a press of its button, so that a link preview cannot spend it."""
    return page(request, to=to, link=link)


@router.post("/sign-in")
async def enter(
    request: Request,
    token: Annotated[str, Form()] = "",
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
    to: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Change a password or a token for a session and go on to the page that was asked for."""
    await web.check_form(request)
    platform = web.platform_of(request)
    try:
        if name:
            session = await run_in_threadpool(by_password, request, name.strip(), password)
        else:
            session = await run_in_threadpool(platform.db.write, lambda connection: exchange(connection, platform, token.strip()))
    except (NotSignedIn, TooMany) as error:
        web.keep_pace(request)  # whoever guesses is a stranger
        return await run_in_threadpool(page, request, to=to, wrong=error)
    return await signed_in(request, session, RedirectResponse(web.safe_path(to), status_code=303))


@router.post("/sign-out")
async def leave(request: Request) -> Response:
    """End the session here and in the database."""
    await web.check_form(request)
    await _end_session(request)
    response = RedirectResponse("/sign-in", status_code=303)
    _forget(request, response, web.SESSION_COOKIE)
    return response


def page(request: Request, *, to: str = "/", link: str = "", wrong: HeadwaterError | None = None) -> Response:
    """Return the page to sign in on, with what was wrong the last time."""
    platform = web.platform_of(request)
    with platform.db.read() as connection:
        with_password = passwords.has_one(connection)
    told, status = (f"{wrong.what} {wrong.hint}", wrong.http_status) if wrong is not None else ("", 200)
    ways = {"with_password": with_password, "with_provider": bool(platform.settings.oidc_issuer)}
    response = web.page(request, "server/sign_in.html", status, to=web.safe_path(to), link=link, wrong=told, **ways)
    if isinstance(wrong, TooMany):
        response.headers["retry-after"] = str(wrong.facts["wait_s"])
    return response


def by_password(request: Request, name: str, password: str) -> str:
    """Return a session token for a person's name and password.

    Raises NotSignedIn, in the same words and after the same time whether the name, the password or both
    are wrong, and TooMany where the account or the address has failed too often of late.
    """
    platform = web.platform_of(request)
    kept = proved(request, name, password)

    def work(connection: Connection) -> str:
        if passwords.kept_of(connection, name) != kept:  # changed since it was compared
            raise _wrong_password()
        return session_for(connection, platform, kept[0], "password")

    return platform.db.write(work)


def proved(request: Request, name: str, password: str) -> tuple[str, str]:
    """Return the id and password hash of a person whose password was given. Raises NotSignedIn, TooMany as `by_password` says."""
    platform, backoff = web.platform_of(request), cast("Backoff", request.app.state.backoff)
    account, address = f"account {name}", f"address {web.caller_of(request)}"
    wait_s = backoff.attempt({account: FREE_BY_ACCOUNT, address: FREE_BY_ADDRESS}, time.monotonic())
    if wait_s > 0:
        wait = max(1, round(wait_s))
        raise TooMany("Too many wrong passwords, for this name or from this address.", f"Try again in {wait} s.", wait_s=wait)
    with platform.db.read() as connection:
        kept = passwords.kept_of(connection, name)
    if not passwords.fits(password, None if kept is None else kept[1]) or kept is None:
        raise _wrong_password()
    backoff.succeeded(account, address)
    return kept


def _wrong_password() -> NotSignedIn:
    return NotSignedIn("Name or password are wrong.", "Try again, or sign in with a token.")


def session_for(connection: Connection, platform: Platform, person: str, how: str) -> str:
    """Return a new session token of a person who has proved who they are."""
    now, lasts = platform.clock.now(), timedelta(hours=platform.settings.session_hours)
    return identity.issue_token(connection, person, kind="session", label=how, lasts=lasts, at=now, actor=person)


def exchange(connection: Connection, platform: Platform, token: str) -> str:
    """Return a session token for an API token or a one-time token, which is spent. Raises NotSignedIn."""
    now, lasts = platform.clock.now(), timedelta(hours=platform.settings.session_hours)
    if token.startswith(ONCE):
        return identity.spend_once_token(connection, token, now=now, session_lasts=lasts)
    return identity.open_session(connection, token, now=now, lasts=lasts)


async def signed_in(request: Request, session: str, response: Response) -> Response:
    """Return the response with the new session's cookie; the session and the form token from before end."""
    await _end_session(request)
    settings = web.platform_of(request).settings
    age_s, secure = round(settings.session_hours * 3600), settings.secure_cookies
    response.set_cookie(web.SESSION_COOKIE, session, max_age=age_s, httponly=True, samesite="strict", secure=secure)
    _forget(request, response, web.VISITOR_COOKIE)
    return response


async def _end_session(request: Request) -> None:
    platform, token = web.platform_of(request), web.session(request)
    if token:
        await run_in_threadpool(platform.db.write, lambda connection: end(connection, platform, token))


def end(connection: Connection, platform: Platform, token: str) -> None:
    """End a session; one that has ended is left alone."""
    now = platform.clock.now()
    try:
        actor = identity.actor_of(connection, token, now=now, kinds=("session",))
    except NotSignedIn:
        return
    identity.revoke_token(connection, token, actor=actor.id, at=now)


def _forget(request: Request, response: Response, cookie: str) -> None:
    secure = web.platform_of(request).settings.secure_cookies
    response.delete_cookie(cookie, httponly=True, samesite="strict", secure=secure)
