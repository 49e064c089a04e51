"""Routes looked for by the first words of a path are those that a search through all of them would find."""

from __future__ import annotations

import re

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope

from headwater.server import branches


def found(app: FastAPI, path: str, method: str) -> list[str]:
    """Return the branches of the application that take a request, in the order in which they are tried."""
    scope: Scope = {"type": "http", "path": path, "method": method, "headers": [], "root_path": "", "query_string": b""}
    return [repr(route) for route in app.routes if route.matches(dict(scope))[0] is Match.FULL]


def test_each_route_is_reached_by_its_own_path(app: FastAPI) -> None:
    contexts = list(iter_route_contexts(app.routes))
    assert len(contexts) > 150
    for context in contexts:
        path = re.sub(r"\{[^}]*\}", "x", str(context.path)) + ("" if context.methods else "/x")
        for method in context.methods or {"GET"}:
            assert found(app, path, method), f"{method} {path}"


def test_a_path_is_held_against_a_small_part_of_all_routes(app: FastAPI) -> None:
    tried = [route for route in app.routes if isinstance(getattr(route, "original_router", None), branches.Branch)]
    fitting = [route for route in tried if route.original_router.may_take("/api/jobs/x")]  # type: ignore[attr-defined]
    assert len(tried) > 30
    assert len(fitting) < 4


def test_the_branch_of_a_path_is_its_first_word_and_below_api_its_second() -> None:
    assert branches.branch_of("/") == "/"
    assert branches.branch_of("/jobs/a.b/log") == "/jobs"
    assert branches.branch_of("/api/jobs/a.b/log") == branches.branch_of("/api/jobs") == "/api/jobs"
    assert branches.declared("/catalog.{form}") == branches.ANY
