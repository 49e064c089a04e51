"""Errors as the web sees them: problem details (RFC 9457), or a page for a person at a browser.

Whatever is wrong inside (status 500 and above) is told only as a reference; the log has the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, IntegrityError
from starlette.exceptions import HTTPException

from headwater.core import web
from headwater.core.errors import BadInput, Conflict, HeadwaterError, NotSignedIn, TooMany
from headwater.core.errors import Problem as Finding

MEDIA_TYPE = "application/problem+json"
LOG = structlog.get_logger()

CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "limit_exceeded"}


class Wrong(BaseModel):
    """One thing wrong in what was sent."""

    where: str = Field(examples=["body.name"])
    what: str = Field(examples=["Field required"])
    hint: str = ""


class Problem(BaseModel):
    """Why a request was not answered: RFC 9457 problem details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:headwater:error:not_found",
                    "title": "No such thing, or none that this person may see",
                    "status": 404,
                    "detail": "There is no model 'loan'.",
                    "code": "not_found",
                    "hint": "List them at /api/models.",
                }
            ]
        }
    )

    type: str = Field(description="`urn:headwater:error:<code>`.")
    title: str = Field(description="The kind of problem.")
    status: int
    detail: str = Field(description="What was wrong this time, with the figures.")
    code: str = Field(description="Stable code, listed in docs/reference/errors.md.")
    hint: str = Field("", description="What to do next.")
    where: str = Field("", description="File, line, key or row, where there is one.")
    reference: str = Field("", description="Name it when you report a fault inside the platform.")
    errors: list[Wrong] = Field(default_factory=list, description="Everything wrong in what was sent.")


def of_error(error: HeadwaterError) -> Problem:
    """Return the problem that an error is; one inside the platform is logged and told as a reference."""
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return fault(error, status=error.http_status, code=error.code)
    wrong = [Wrong(where=one.where, what=one.what, hint=one.hint) for one in getattr(error, "problems", ()) if isinstance(one, Finding)]
    told = {"detail": error.what, "hint": error.hint, "where": error.where or "", "errors": wrong}
    return Problem(type=_type(error.code), title=_title(type(error)), status=error.http_status, code=error.code, **told)


def fault(error: BaseException, *, status: int = 500, code: str = "fault") -> Problem:
    """Return a problem that tells nothing but a reference, under which the error is logged."""
    reference = uuid.uuid4().hex[:12]
    LOG.error("http.fault", reference=reference, code=code, error=str(error), exc_info=error)
    title = "Something that Headwater needs is not there" if status == HTTPStatus.SERVICE_UNAVAILABLE else "A fault inside Headwater"
    hint = "Try again; if it stays, give this reference to the operator, who finds it in the log."
    return Problem(type=_type(code), title=title, status=status, detail=f"{title}.", code=code, hint=hint, reference=reference)


def of_status(status: int, detail: str = "") -> Problem:
    """Return the problem of a plain HTTP status."""
    code, phrase = CODES.get(status, "http"), HTTPStatus(status).phrase
    return Problem(type=_type(code), title=phrase, status=status, detail=detail if detail != phrase else f"{phrase}.", code=code)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the problem of a request that does not fit its schema, with everything that is wrong in it."""
    wrong = [Wrong(where=".".join(str(part) for part in one["loc"]), what=str(one["msg"])) for one in errors]
    count = f"{len(wrong)} thing{'s' if len(wrong) != 1 else ''} in the request {'do' if len(wrong) != 1 else 'does'} not fit."
    return Problem(type=_type("bad_input"), title=_title(BadInput), status=422, detail=count, code="bad_input", errors=wrong)


def respond(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem as JSON, or as a page where a browser asks for one."""
    if wants_page(request):
        response = web.page(request, "server/problem.html", problem.status, problem=problem)
        response.headers.update(headers or {})
        return response
    return as_json(problem, headers)


def as_json(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the problem as an `application/problem+json` response."""
    content = problem.model_dump(exclude_defaults=True)
    return JSONResponse(content, status_code=problem.status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def wants_page(request: Request) -> bool:
    """Tell whether a person's browser is asking, and not a program."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def install(app: FastAPI) -> None:
    """Let every error of the app's routes become a problem."""
    app.add_exception_handler(HeadwaterError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_status)
    app.add_exception_handler(DataError, _on_data)
    app.add_exception_handler(IntegrityError, _on_clash)


def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeadwaterError)
    if isinstance(error, NotSignedIn):
        return _on_stranger(request, error)
    waiting = {"retry-after": str(error.facts["wait_s"])} if isinstance(error, TooMany) else None
    return respond(request, of_error(error), waiting)


def _on_stranger(request: Request, error: NotSignedIn) -> Response:
    if wants_page(request) and request.method == "GET":
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(path, safe='')}", status_code=303)
    return respond(request, of_error(error), {"www-authenticate": 'Bearer realm="headwater"'})


def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return respond(request, of_validation(error.errors()))


def _on_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return respond(request, of_status(error.status_code, str(error.detail)), error.headers)


def _on_data(request: Request, error: Exception) -> Response:
    LOG.info("http.data_refused", error=str(error))
    return respond(request, of_error(BadInput("A value in the request cannot be stored.", "Leave out control characters.")))


def _on_clash(request: Request, error: Exception) -> Response:
    LOG.info("http.clash_refused", error=str(error))
    return respond(request, of_error(Conflict("This does not fit what is stored.", "Look at the things it names, and send it again.")))


def _type(code: str) -> str:
    return f"urn:headwater:error:{code}"


def _title(kind: type[HeadwaterError]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0].rstrip(".")
