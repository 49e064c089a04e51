"""The OpenAPI document: what FastAPI derives, with errors, permissions and security filled in on every operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts

from headwater import __version__
from headwater.core import web
from headwater.core.identity import ROLES
from headwater.server.problems import MEDIA_TYPE, Problem, Wrong

DESCRIPTION = (
    "Headwater runs a city's AI plan: jobs, models with graded trust, statements, cases and the ledger behind them.\n\n"
    "Send an API token as `Authorization: Bearer …` (make one with `headwater token create`). "
    "Every error is problem details (RFC 9457). Times are RFC 3339 in UTC; artifacts are named by digest."
)
ERRORS = {
    "400": "The request cannot be read.",
    "401": "No valid token came with the request.",
    "403": "Understood, and not allowed.",
    "404": "No such thing, or none that you may see.",
    "405": "The path does not take this method.",
    "408": "The body came too slowly.",
    "409": "The thing is not in a state that allows this.",
    "413": "The body is larger than this server takes.",
    "422": "Something in the request is wrong; all of it is listed.",
    "429": "More requests than one token, or one address without a sign-in, may make in a minute.",
}
D = TypeVar("D", web.Permitted, web.Public)


def install(app: FastAPI) -> None:
    """Let the app give out the completed document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = complete(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI documents this as the way to extend the document


def complete(app: FastAPI) -> dict[str, Any]:
    """Return the whole document."""
    document = get_openapi(title="Headwater", version=__version__, description=DESCRIPTION, routes=app.routes, tags=app.openapi_tags)
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Wrong"] = Wrong.model_json_schema()
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["Problem"].pop("$defs", None)
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token."},
        "session": {"type": "apiKey", "in": "cookie", "name": web.SESSION_COOKIE, "description": "The console's session."},
    }
    for context in operations(app):
        for method in sorted(context.methods or ()):
            _fill(document["paths"][context.path_format][method.lower()], context)
    return document


def operations(app: FastAPI) -> Iterator[RouteContext]:
    """Yield every documented route."""
    for context in iter_route_contexts(app.routes):
        if getattr(context, "include_in_schema", False) and getattr(context, "dependant", None) is not None:
            yield context


def permission_of(context: RouteContext) -> web.Permitted | None:
    """Return what a route demands of its caller, or None for a route that demands nothing."""
    return _depends_on(context, web.Permitted)


def public_of(context: RouteContext) -> web.Public | None:
    """Return the declaration of a route that says that it is for all, or None."""
    return _depends_on(context, web.Public)


def _depends_on(context: RouteContext, kind: type[D]) -> D | None:
    pending = [getattr(context, "dependant", None)]
    while pending:
        dependant = pending.pop()
        if dependant is None:
            continue
        if isinstance(dependant.call, kind):
            return dependant.call
        pending += dependant.dependencies
    return None


def _fill(operation: dict[str, Any], context: RouteContext) -> None:
    responses = operation.setdefault("responses", {})
    for status, meaning in ERRORS.items():
        responses[status] = _problem(meaning, responses.get(status))
    demanded, open_to_all = permission_of(context), public_of(context)
    if open_to_all is not None:
        operation["security"] = [{}, {"token": []}]
        operation["x-public"] = open_to_all.because
        return
    if demanded is None:
        operation["security"] = []
        return
    operation["security"] = [{"token": []}, {"session": []}]
    operation["x-permission"] = str(demanded.permission)
    roles = ", ".join(sorted(role for role, allowed in ROLES.items() if demanded.permission in allowed))
    told = operation.get("description", "")
    operation["description"] = f"{told}\n\nNeeds `{demanded.permission}` (roles: {roles}).".strip()


def _problem(meaning: str, declared: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return an error's response: problem details, beside the form that a protocol's route declared for it."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    own = {kind: told for kind, told in ((declared or {}).get("content") or {}).items() if "HTTPValidationError" not in str(told)}
    return {"description": meaning, "content": own | content}
