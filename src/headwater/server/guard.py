"""What stands around every request: the log and metrics, faults, headers, the size limit, methods.

Plain ASGI, so that streams pass through unbuffered. From the outside in: `Watched`, `Hardened`,
`Limited`, `Answered`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import structlog
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.server import branches, problems
from headwater.server.metrics import Metrics

LOG = structlog.get_logger()

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SLOWEST = 500
"""Bytes in a second: what servers commonly ask of a body at least."""
HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, slots=True)
class Watched:
    """Logs and counts every request, and turns a fault into a 500 that tells nothing but a reference."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 - the edge: whatever a route did not foresee is logged here, with a reference
            problem = problems.fault(error)
            if status == 0:
                await _told(scope, problem)(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        route = str(getattr(scope.get("route"), "path", "unmatched"))
        self.metrics.request(method=scope["method"], route=route, status=status, took_s=took_s)
        LOG.info("http.request", method=scope["method"], route=route, status=status, took_ms=round(took_s * 1000, 1))


def _told(scope: Scope, problem: problems.Problem) -> Response:
    try:
        response = problems.respond(Request(scope), problem)
    except Exception as error:  # noqa: BLE001 - the page about the fault failed too: then the fault is told without one
        LOG.error("http.fault_page", error=str(error))
        response = problems.as_json(problem)
    response.headers.update(HEADERS)
    return response


@dataclass(frozen=True, slots=True)
class Hardened:
    """Adds the security headers that a response does not set itself."""

    app: ASGIApp
    more: Mapping[str, str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | dict(self.more)).items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, hardened if scope["type"] == "http" else send)


@dataclass(frozen=True, slots=True)
class Limited:
    """Refuses a body above the limit by its announced length, or as it streams in, before anything parses it; and one that trickles."""

    app: ASGIApp
    max_bytes: int
    body_s: float = 20.0
    """How long a body may take, and more the more of it is there: it must keep coming at SLOWEST bytes a second."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self.max_bytes:
            await problems.as_json(self._too_large(), {"connection": "close"})(scope, receive, send)
            return
        seen, whole, started = 0, False, time.monotonic()

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:  # what comes now is only that the other side has gone
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, started + self.body_s + seen / SLOWEST - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                told = f"The body came too slowly: {seen} bytes in {time.monotonic() - started:.0f} s."
                raise HTTPException(408, told, headers={"connection": "close"}) from None
            seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            whole = not message.get("more_body", False)
            if seen > self.max_bytes:
                raise HTTPException(413, self._too_large().detail, headers={"connection": "close"})
            return message

        await self.app(scope, counted, send)

    def _too_large(self) -> problems.Problem:
        return problems.of_status(413, f"The request is larger than {self.max_bytes} bytes.")


class Answered:
    """Answers HEAD as GET without the body, OPTIONS and a wrong method with all that the path takes; refuses NUL."""

    def __init__(self, app: ASGIApp, routes: FastAPI) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await problems.as_json(problems.of_status(400, "The address holds a NUL character."))(scope, receive, send)
            return
        allowed = self._allowed(scope["path"])
        if allowed and scope["method"] not in allowed:
            await self._other(scope["method"], allowed)(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await self._head(scope, send)
            return
        await self.app(scope, receive, send)

    @staticmethod
    def _other(method: str, allowed: frozenset[str]) -> Response:
        headers = {"allow": ", ".join(sorted(allowed | {"OPTIONS"}))}
        if method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        return problems.as_json(problems.of_status(405, f"{method[:20]} is not one of {headers['allow']}."), headers)

    def _allowed(self, path: str) -> frozenset[str]:
        table = self._table
        near = (*table.get(branches.branch_of(path), ()), *table.get(branches.ANY, ()))
        return frozenset().union(*(methods for pattern, methods in near if pattern.match(path)))

    @cached_property
    def _table(self) -> dict[str, list[tuple[re.Pattern[str], frozenset[str]]]]:
        table: dict[str, list[tuple[re.Pattern[str], frozenset[str]]]] = defaultdict(list)
        for context in iter_route_contexts(self._routes.routes):
            table[branches.declared(str(context.path))].append((context.path_regex, _methods(context.methods)))
        return dict(table)

    async def _head(self, scope: Scope, send: Send) -> None:
        """Run the GET until its headers are out, then let it see that nobody listens any more."""

        async def gone() -> Message:
            return {"type": "http.disconnect"}

        async def only_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"}, gone, only_headers)


def _methods(declared: Iterable[str] | None) -> frozenset[str]:
    methods = frozenset(declared or ("GET",))
    return methods | {"HEAD"} if "GET" in methods else methods
