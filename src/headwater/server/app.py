"""The one web application: every room's routes and pages, signing in, health, metrics, static files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.staticfiles import StaticFiles

from headwater import __version__
from headwater.compute.figures import JobFigures
from headwater.core.pace import Backoff, Pace
from headwater.core.platform import Platform
from headwater.server import branches, guard, openapi, problems
from headwater.server.console import Pages
from headwater.server.metrics import Metrics
from headwater.server.oidc import people

if TYPE_CHECKING:
    from headwater.compute.dispatcher import Dispatcher

ROOMS = ("plan", "projects", "compute", "framework", "data", "trust", "programmes", "models", "server")
"""Whose `api.py` and `pages.py` are mounted, in this order, where they have one."""

OPEN_PATHS = frozenset({"/", "/health", "/openapi.json", "/reference", "/sign-in", "/sign-out", "/static"})
"""The only routes that ask for no permission and say nothing: what every server has. Other open routes depend on `web.public`."""

TAGS = [
    {"name": "plan", "description": "Clauses and indicators, with the evidence that the ledger holds."},
    {"name": "projects", "description": "Project files and their runs."},
    {"name": "compute", "description": "Jobs: where they run and why there, logs, results."},
    {"name": "data", "description": "The catalogue of public data, its opening plan, grants and their use."},
    {"name": "privacy", "description": "Protected tables: aggregates without the rows, and privacy budgets."},
    {"name": "framework", "description": "Parallel plans: how to cut a model over a fleet, and what it will do."},
    {"name": "models", "description": "Published models, their grades, and predictions."},
    {"name": "protocols", "description": "Public data for other tools' clients: CKAN, DCAT-AP, Delta Sharing and more."},
    {"name": "programmes", "description": "Cases of declared procedures."},
    {"name": "statements", "description": "Signed claims about artifacts."},
    {"name": "ledger", "description": "The append-only record."},
    {"name": "identity", "description": "Organisations, people, roles and tokens."},
    {"name": "server", "description": "Health and metrics."},
]


def create_app(platform: Platform, *, dispatcher: Dispatcher | None = None) -> FastAPI:
    """Return the application of an open platform; routes that change jobs wake the dispatcher, where one runs here. Raises BadInput."""
    people.check(platform.settings)
    app = FastAPI(
        title="Headwater",
        version=__version__,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: f"{_tag(route)}_{route.name}",
    )
    app.state.platform = platform
    app.state.dispatcher = dispatcher
    app.state.metrics = Metrics()
    app.state.metrics.add(JobFigures(platform, dispatcher))
    app.state.console = Pages([room for room in ROOMS if _has(f"headwater.{room}")], secure_cookies=platform.settings.secure_cookies)
    app.state.closing = asyncio.Event()
    app.state.pace = Pace(platform.settings.public_requests_per_minute)
    app.state.token_pace = Pace(platform.settings.token_requests_per_minute)
    app.state.backoff = Backoff()
    for room in ROOMS:
        for part in ("api", "pages"):
            if _has(f"headwater.{room}.{part}"):
                _include(app, f"headwater.{room}.{part}")
    _include(app, "headwater.server.sign_in")
    _include(app, "headwater.server.oidc.routes")
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    problems.install(app)
    openapi.install(app)
    _surround(app, platform)
    return app


def undeclared(app: FastAPI) -> list[str]:
    """Return the routes that demand no permission, do not say that they are for all, and are not on the list of open ones."""
    contexts = [one for one in iter_route_contexts(app.routes) if one.path not in OPEN_PATHS]
    return sorted(str(one.path) for one in contexts if openapi.permission_of(one) is None and openapi.public_of(one) is None)


def _surround(app: FastAPI, platform: Platform) -> None:
    secure = {"strict-transport-security": "max-age=31536000"} if platform.settings.secure_cookies else {}
    app.add_middleware(guard.Answered, routes=app)
    app.add_middleware(guard.Limited, max_bytes=platform.settings.upload_max_bytes)
    app.add_middleware(guard.Hardened, more=secure)
    app.add_middleware(guard.Watched, metrics=app.state.metrics)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.closing = asyncio.Event()
    yield
    app.state.closing.set()
    if (serving := getattr(app.state, "serving", None)) is not None:  # made when a model was first asked
        serving.close()


def _has(module: str) -> bool:
    return find_spec(module) is not None


def _include(app: FastAPI, module: str) -> None:
    router = import_module(module).router
    assert isinstance(router, APIRouter)
    for branch in branches.split(router):
        app.include_router(branch)


def _tag(route: object) -> str:
    tags = getattr(route, "tags", None) or ["server"]
    return str(tags[0])
