"""The two routes of a browser that signs in with an OpenID provider: on to it, and back from it."""

from __future__ import annotations

import hmac
import re
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from headwater.core import web
from headwater.core.errors import NotFound, NotSignedIn, Refused, Unavailable
from headwater.core.identity import Actor
from headwater.core.platform import Platform
from headwater.server import sign_in
from headwater.server.oidc import attempts, people, provider
from headwater.server.oidc.attempts import Secret

router = APIRouter(include_in_schema=False)

COOKIE = "headwater_sign_in"
COOKIE_PATH = "/sign-in/oidc"
BACK = "/sign-in/oidc/done"
COST = 20
"""Requests that one counts as: each asks the provider too."""
Stranger = Annotated[Actor | None, Depends(web.public("Whoever signs in is not yet signed in.", cost=COST))]
Answer = Annotated[str, Query(max_length=4000)]


@router.get("/sign-in/oidc")
async def begin(
    request: Request,
    stranger: Stranger,  # noqa: ARG001
    to: Annotated[str, Query(alias="next", max_length=2000)] = "/",
) -> Response:
    """Send the browser to the provider, and let it keep the secret by which it will be known again."""
    platform = _configured(request)
    try:
        address, secret = await run_in_threadpool(_begin, request, platform, web.safe_path(to))
    except Unavailable as error:
        return await run_in_threadpool(sign_in.page, request, to=to, wrong=error)
    response = RedirectResponse(address, status_code=303)
    age_s = round(attempts.LASTS.total_seconds())
    response.set_cookie(  # lax: the provider, another site, sends the browser back
        COOKIE, secret.text, max_age=age_s, path=COOKIE_PATH, httponly=True, samesite="lax", secure=platform.settings.secure_cookies
    )
    return response


@router.get(BACK)
async def done(
    request: Request,
    stranger: Stranger,  # noqa: ARG001
    state: Answer = "",
    code: Answer = "",
    error: Answer = "",
    iss: Answer = "",
) -> Response:
    """Sign in whom the provider vouches for.

    The answer is a page that goes on by itself: a redirect would still count as coming from the
    provider's site, and the browser would not send the session's strict cookie along.
    """
    platform = _configured(request)
    try:
        session, to = await run_in_threadpool(_finish, request, platform, state, code, error, iss)
    except (NotSignedIn, Refused, Unavailable) as wrong:
        response = await run_in_threadpool(sign_in.page, request, wrong=wrong)
    else:
        response = await sign_in.signed_in(request, session, web.page(request, "server/signed_in.html", to=to.replace("'", "%27")))
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="lax", secure=platform.settings.secure_cookies)
    return response


def _configured(request: Request) -> Platform:
    platform = web.platform_of(request)
    if not platform.settings.oidc_issuer:
        raise NotFound("No OpenID provider is set here.", "Sign in at /sign-in.")
    return platform


def _begin(request: Request, platform: Platform, to: str) -> tuple[str, Secret]:
    found, now = provider.discover(platform.settings), platform.clock.now()
    secret = platform.db.write(lambda connection: attempts.begin(connection, to, now=now))
    return provider.address(platform.settings, found, secret, web.address_of(request) + BACK), secret


def _finish(request: Request, platform: Platform, state: str, code: str, error: str, issuer: str) -> tuple[str, str]:
    """Return a session token and where to go on to. Raises NotSignedIn, Refused, Unavailable."""
    settings, now = platform.settings, platform.clock.now()
    secret = Secret(request.cookies.get(COOKIE, ""))
    if not secret.text or not hmac.compare_digest(state.encode(), secret.state.encode()):
        raise NotSignedIn("This answer belongs to no sign-in of this browser.", "Begin again on the sign-in page.")
    to = platform.db.write(lambda connection: attempts.finish(connection, secret, now=now))
    if issuer and issuer != settings.oidc_issuer:  # RFC 9207: the answer of another provider
        raise NotSignedIn("This answer is another provider's.", "Begin again on the sign-in page.")
    if not code:
        why = error if re.fullmatch(r"[a-z_]{1,60}", error) else "no reason given"
        raise NotSignedIn(f"The provider did not sign you in: {why}.", "Try again, or sign in another way.")
    back = web.address_of(request) + BACK
    claims = provider.claims_for(settings, provider.discover(settings), secret, code, back, now=now)
    person = platform.db.write(lambda connection: people.vouched(connection, settings, claims, now=now))

    def session(connection: Connection) -> str:
        people.require_role(connection, person, now=now)
        return sign_in.session_for(connection, platform, person, "OpenID")

    return platform.db.write(session), to
