"""Console pages over published models: the list, one model with its evidence, and a form to ask it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from headwater.core import evidence, identity
from headwater.core.errors import HeadwaterError, NotFound
from headwater.core.evidence import Held
from headwater.core.identity import Actor, Permission
from headwater.core.tabular import SIGNATURE_FILE, Column, Signature
from headwater.core.web import names_of, page, permitted, platform_of
from headwater.models import hub, policy, publishing
from headwater.models.api import found_model, serving_of
from headwater.models.example import example_row
from headwater.models.gate import Decision
from headwater.models.hub import Model, Version

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.MODELS_READ))]
Operator = Annotated[Actor, Depends(permitted(Permission.MODELS_RETIRE))]
FIELD = "value-"


@router.get("/models")
def listed(request: Request, actor: Reader) -> Response:
    with platform_of(request).db.read() as connection:
        found = hub.listed(connection, scopes=actor.scopes(Permission.MODELS_READ), limit=1000)
    return page(request, "models/models.html", models=[(model, shown_version(model)) for model in found])


@router.get("/models/{name}")
def shown(request: Request, actor: Reader, name: str, ask: bool = False) -> Response:
    """One model; with `ask`, and the row in the query, also what it says of that row."""
    given = {key.removeprefix(FIELD): value for key, value in request.query_params.items() if key.startswith(FIELD)}
    return _asked(request, actor, name, given) if ask else _model_page(request, actor, name)


@router.post("/models/{name}/serve")
def serve(request: Request, actor: Operator, name: str, version: Annotated[int, Form(ge=1, le=2**31 - 1)]) -> Response:
    found_model(request, name, actor, Permission.MODELS_RETIRE)
    publishing.serve(platform_of(request), name, job=f"console-{uuid.uuid4().hex}", actor=actor.id, number=version)
    serving_of(request).forget(name)
    return RedirectResponse(f"/models/{name}", status_code=303)


@router.post("/models/{name}/versions/{number}/retire")
def retire(
    request: Request, actor: Operator, name: str, number: int, reason: Annotated[str, Form(min_length=1, max_length=1000)]
) -> Response:
    found_model(request, name, actor, Permission.MODELS_RETIRE)
    publishing.retire(platform_of(request), name, number, reason=reason, actor=actor.id)
    serving_of(request).forget(name)
    return RedirectResponse(f"/models/{name}", status_code=303)


def shown_version(model: Model) -> Version | None:
    """Return the version that stands for a model: the one that answers, else the newest."""
    served = (one for one in model.versions if one.number == model.served)
    return next(served, model.versions[0] if model.versions else None)


def row_of(signature: Signature, given: Mapping[str, str]) -> dict[str, Any]:
    """Return a form's texts as a row of a model: numbers as numbers, categories as the values that they name.

    What is no number stays text, so that the model's own check says which column is wrong.
    """
    return {column.name: _value(column, given[column.name]) for column in signature.columns if given.get(column.name, "") != ""}


def _value(column: Column, text: str) -> Any:
    if column.type == "category":
        return next((value for value in column.values if str(value) == text), text)
    try:
        return int(text) if column.type == "integer" else float(text)
    except ValueError:
        return text


def _asked(request: Request, actor: Actor, name: str, given: Mapping[str, str]) -> Response:
    found_model(request, name, actor, Permission.MODELS_READ)
    answer: dict[str, Any] = {"given": given, "wrong": ""}
    try:
        found_model(request, name, actor, Permission.MODELS_PREDICT)
        row = row_of(serving_of(request).signature(name), given)
        found = serving_of(request).predict(name, [row], actor)
    except HeadwaterError as error:  # shown above the form, which keeps what was typed
        if error.http_status >= 500:
            raise
        return _model_page(request, actor, name, answer | {"wrong": str(error)}, status=error.http_status)
    one, classes = found.answers[0], found.signature.classes
    answer |= {"label": one.label, "version": found.version.number, "classes": list(zip(classes, one.probabilities, strict=True))}
    return _model_page(request, actor, name, answer)


def _model_page(request: Request, actor: Actor, name: str, answer: Mapping[str, Any] | None = None, *, status: int = 200) -> Response:
    platform, model = platform_of(request), found_model(request, name, actor, Permission.MODELS_READ)
    now, rules = platform.clock.now(), policy.shipped()
    with platform.db.read() as connection:
        weighed = [(one, publishing.weigh(connection, platform.keyring, one, rules, now=now)) for one in model.versions]
        version = shown_version(model)
        trust = (
            _trust(evidence.get(connection, version.statements["trust_grade"])) if version and "trust_grade" in version.statements else None
        )
    signature = _signature(request, version) if version else None
    given = dict((answer or {}).get("given") or (example_row(signature) if signature else {}))
    return page(
        request,
        "models/model.html",
        status,
        model=model,
        version=version,
        weighed=weighed,
        decision=_decision_on(weighed, version),
        trust=trust,
        rules=rules,
        signature=signature,
        given={key: str(value) for key, value in given.items()},
        answer=answer,
        field=FIELD,
        names=names_of(request, [one.published_by for one in model.versions]),
        may_ask=identity.decide(actor, Permission.MODELS_PREDICT, model.organisation).allowed,
        may_retire=identity.decide(actor, Permission.MODELS_RETIRE, model.organisation).allowed,
    )


def _decision_on(weighed: list[tuple[Version, Decision]], version: Version | None) -> Decision | None:
    return next((decision for one, decision in weighed if version is not None and one.number == version.number), None)


def _signature(request: Request, version: Version) -> Signature | None:
    """Return what a version takes, read from its artifact; None where the artifact is not on this site."""
    try:
        return Signature.model_validate_json(platform_of(request).store.read(version.digest, SIGNATURE_FILE))
    except (NotFound, ValidationError):
        return None


def _trust(held: Held) -> dict[str, Any]:
    """Return what the trust statement says of each dimension, and which job said it."""
    told = held.statement.predicate
    return {"digest": held.digest, "job": told.get("job"), "overall": told.get("overall"), "dimensions": told.get("dimensions", {})}
