"""Routes of CKAN's Action API: `/ckan/api/3/action/<name>`, and the same without `/3`, as some clients ask."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from headwater.core.errors import BadInput, HeadwaterError, NotFound
from headwater.core.identity import Actor
from headwater.core.web import platform_of, public
from headwater.data.protocols.access import language_of, links_of, vocabulary_of
from headwater.data.protocols.ckan import envelope
from headwater.data.protocols.ckan.params import Invalid, Params
from headwater.data.protocols.ckan.reading import READING, Call
from headwater.data.protocols.ckan.writing import WRITING, Change, Upload
from headwater.data.protocols.speech import speaking

LARGEST_BODY = 4 << 20


class Answer(BaseModel):
    """What every action answers with."""

    help: str
    success: bool = Field(examples=[True])
    result: Any = None


class Failure(BaseModel):
    """What an action that did not go well answers with."""

    help: str
    success: bool = Field(examples=[False])
    error: dict[str, Any] = Field(description="`__type`, `message`, and a list of texts for each field that is wrong.")


def tell(error: HeadwaterError) -> Response:
    """Return an error in CKAN's words."""
    status, body = envelope.failure("", error)
    headers = {"retry-after": str(error.facts["wait_s"])} if status == 429 else {}
    return JSONResponse(body, status_code=status, headers=headers)


ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": Failure} for status in (400, 403, 404, 409, 413, 429)}
router = APIRouter(tags=["protocols"], route_class=speaking(tell), responses=ERRORS)

Caller = Annotated[Actor | None, Depends(public("CKAN's clients read the catalogue without an account", bare_token=True))]
Name = Annotated[str, Path(max_length=100, description="The action.", examples=["package_search"])]
BODY = {
    "requestBody": {
        "content": {"application/json": {"schema": {"type": "object", "examples": [{"q": "air quality", "rows": 10}]}}},
        "description": "The action's parameters.",
    }
}


@router.get("/ckan/api/3/action/{name}", summary="CKAN: call an action that reads", response_model=Answer)
def called(request: Request, caller: Caller, name: Name) -> Any:
    return _answered(request, caller, name, dict(request.query_params))


@router.post("/ckan/api/3/action/{name}", summary="CKAN: call an action", openapi_extra=BODY, response_model=Answer)
async def called_with_body(request: Request, caller: Caller, name: Name) -> Any:
    values, upload = await _body(request)
    return await run_in_threadpool(_answered, request, caller, name, dict(request.query_params) | values, upload)


router.add_api_route("/ckan/api/action/{name}", called, methods=["GET"], include_in_schema=False, name="called_plainly")
router.add_api_route(
    "/ckan/api/action/{name}", called_with_body, methods=["POST"], include_in_schema=False, name="called_plainly_with_body"
)


async def _body(request: Request) -> tuple[dict[str, Any], Upload | None]:
    """Return what a request's body holds: JSON whatever its type says, as CKAN reads it, or a form with a file."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        form = await request.form(max_files=1, max_fields=1000)
        files = [one for one in form.values() if isinstance(one, UploadFile)]
        upload = Upload(name=files[0].filename or "", file=files[0].file) if files else None
        return {name: value for name, value in form.items() if isinstance(value, str)}, upload
    text = await request.body()
    if len(text) > LARGEST_BODY:
        raise Invalid("message", f"The body is larger than {LARGEST_BODY} bytes")
    if not text.strip():
        return {}, None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput("The body is not JSON.", "Send the action's parameters as one JSON object.") from error
    if not isinstance(told, dict):
        raise BadInput("The body is not a JSON object.", "Send the action's parameters as one JSON object.")
    return told, None


def _answered(request: Request, caller: Actor | None, name: str, values: dict[str, Any], upload: Upload | None = None) -> Any:
    links = links_of(request)
    help_url = f"{links.base}/ckan/api/3/action/help_show?name={name}"
    try:
        return envelope.success(help_url, _result(request, caller, name, Params(values=values), upload))
    except HeadwaterError as error:
        if error.http_status >= 500:
            raise
        status, body = envelope.failure(help_url, error)
        return JSONResponse(body, status_code=status)


def _result(request: Request, caller: Actor | None, name: str, params: Params, upload: Upload | None) -> Any:
    platform, links, language = platform_of(request), links_of(request), language_of(request)
    vocabulary = vocabulary_of(platform)
    if name == "help_show":
        return documented(params.text("name"))
    if (change := WRITING.get(name)) is not None:
        if request.method != "POST":
            raise BadInput(f"{name} changes something.", "Send it with POST.")
        return change(
            Change(platform=platform, vocabulary=vocabulary, links=links, language=language, params=params, actor=caller, upload=upload)
        )
    if name not in READING:
        raise _unknown(name)
    with platform.db.read() as connection:
        return READING[name](
            Call(
                connection=connection,
                vocabulary=vocabulary,
                links=links,
                language=language,
                params=params,
                actor=caller,
                now=platform.clock.now(),
            )
        )


def documented(name: str) -> str:
    """Return what an action does. Raises NotFound."""
    action = READING.get(name) or WRITING.get(name)
    if action is None and name != "help_show":
        raise _unknown(name)
    return (action.__doc__ if action else None) or "Return what an action does. Parameters: name."


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no action '{name[:100]}'.", f"Actions: {', '.join(sorted([*READING, *WRITING, 'help_show']))}.")
