"""Routes over published models: list, look, ask, serve another version, retire."""

from __future__ import annotations

import threading
import uuid
from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from headwater.core import identity
from headwater.core.errors import HeadwaterError
from headwater.core.identity import Actor, Permission
from headwater.core.tabular import Signature
from headwater.core.web import permitted, platform_of
from headwater.models import hub, policy, publishing
from headwater.models.example import example_row
from headwater.models.hub import Model
from headwater.models.policy import RiskClass
from headwater.models.serving import MOST_ROWS, Serving

router = APIRouter(tags=["models"])

Reader = Annotated[Actor, Depends(permitted(Permission.MODELS_READ))]
Caller = Annotated[Actor, Depends(permitted(Permission.MODELS_PREDICT))]
Operator = Annotated[Actor, Depends(permitted(Permission.MODELS_RETIRE))]
Name = Annotated[str, Path(max_length=64, description="The model's name.", examples=["credit"])]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="The version's number.")]

_opening = threading.Lock()


class VersionOut(BaseModel):
    """A published version."""

    number: int
    digest: str = Field(description="The model's artifact.", examples=["sha256:" + "0" * 64 + "/"])
    risk_class: RiskClass = Field(examples=["U1"])
    declared: dict[str, str] = Field(description="Minimum grades that its owner declared.")
    grades: dict[str, str] = Field(description="Letters at its admission, by dimension and overall.", examples=[{"overall": "D"}])
    statements: dict[str, str] = Field(description="Statements that it was admitted on.")
    policy: str = Field(description="Digest of the admission policy.")
    publication: str = Field(description="Digest of its publication statement.")
    job: str | None
    published_by: str
    published_at: datetime
    retired_at: datetime | None
    retired_because: str | None


class ModelOut(BaseModel):
    """A published model."""

    name: str = Field(examples=["credit"])
    organisation: str = Field(examples=["city"])
    title: dict[str, str]
    created_by: str
    created_at: datetime
    address: str = Field(description="Where it answers.", examples=["/models/credit/predict"])
    served: int | None = Field(description="The version that answers, if any.")
    versions: list[VersionOut] = Field(description="Newest first.")


class ModelDetailOut(ModelOut):
    """A published model with what is needed to ask it."""

    signature: Signature | None = Field(description="What the served version takes and gives; null where none may answer.")
    example_rows: list[dict[str, Any]] = Field(description="Rows that it accepts, made from the signature.")
    closed_because: str = Field(description="Why it does not answer; empty where it does.")


class StandingOut(BaseModel):
    """The gate's view of a version as the evidence stands now."""

    allowed: bool
    reasons: list[str] = Field(description="Everything that keeps the gate shut.")
    grades: dict[str, str]
    minimum: dict[str, str]
    statements: dict[str, str]


class PredictIn(BaseModel):
    """Rows to answer."""

    rows: list[dict[str, Any]] = Field(
        min_length=1, max_length=MOST_ROWS, description="One object per row, a value for every column.", examples=[[{"age": 34}]]
    )


class PredictionOut(BaseModel):
    """What the model says of one row."""

    label: int | str
    probabilities: dict[str, float] = Field(description="By class.", examples=[{"0": 0.31, "1": 0.69}])


class PredictOut(BaseModel):
    """What the model says of each row, and which version said it."""

    model: str = Field(examples=["credit"])
    version: int
    digest: str
    grades: dict[str, str] = Field(description="Trust grades of this version now.", examples=[{"overall": "D"}])
    predictions: list[PredictionOut]


class ServeIn(BaseModel):
    """Which version is to answer."""

    version: int = Field(ge=1, le=2**31 - 1)


class RetireIn(BaseModel):
    """Why a version is retired."""

    reason: str = Field(min_length=1, max_length=1000, examples=["Superseded by version 2"])


def serving_of(request: Request) -> Serving:
    """Return the server's one `Serving`, made when a model is first asked."""
    with _opening:
        found = cast("Serving | None", getattr(request.app.state, "serving", None))
        if found is None:
            found = request.app.state.serving = Serving(platform_of(request))
        return found


def found_model(request: Request, name: str, actor: Actor, permission: Permission) -> Model:
    """Return a model that the actor may use in this way. Raises NotFound, Refused."""
    with platform_of(request).db.read() as connection:
        model = hub.get(connection, name)
    identity.require(actor, permission, model.organisation)
    return model


@router.get("/api/models", summary="List published models")
def listed(request: Request, actor: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[ModelOut]:
    with platform_of(request).db.read() as connection:
        found = hub.listed(connection, scopes=actor.scopes(Permission.MODELS_READ), limit=limit)
    return [ModelOut.model_validate(model.as_json()) for model in found]


@router.get("/api/models/{name}", summary="Look at one model, with its signature and rows to try")
def shown(request: Request, actor: Reader, name: Name) -> ModelDetailOut:
    model = found_model(request, name, actor, Permission.MODELS_READ)
    signature, why = None, ""
    try:
        signature = serving_of(request).signature(name)
    except HeadwaterError as error:  # the model is shown all the same, with the reason why it does not answer
        why = str(error)
    rows = [example_row(signature)] if signature else []
    return ModelDetailOut.model_validate(model.as_json() | {"signature": signature, "example_rows": rows, "closed_because": why})


@router.get("/api/models/{name}/versions/{number}/standing", summary="Ask the gate about a version as the evidence stands now")
def standing(request: Request, actor: Reader, name: Name, number: Number) -> StandingOut:
    platform = platform_of(request)
    version = found_model(request, name, actor, Permission.MODELS_READ).version(number)
    with platform.db.read() as connection:
        decision = publishing.weigh(connection, platform.keyring, version, policy.shipped(), now=platform.clock.now())
    return StandingOut(
        allowed=decision.allowed,
        reasons=list(decision.reasons),
        grades=dict(decision.grades),
        minimum=dict(decision.minimum),
        statements=dict(decision.statements),
    )


@router.post("/api/models/{name}/serve", summary="Have another version answer")
def serve(request: Request, actor: Operator, name: Name, wish: ServeIn) -> ModelOut:
    found_model(request, name, actor, Permission.MODELS_RETIRE)
    model = publishing.serve(platform_of(request), name, job=f"api-{uuid.uuid4().hex}", actor=actor.id, number=wish.version)
    serving_of(request).forget(name)
    return ModelOut.model_validate(model.as_json())


@router.post("/api/models/{name}/versions/{number}/retire", summary="Take a version out of use")
def retire(request: Request, actor: Operator, name: Name, number: Number, wish: RetireIn) -> ModelOut:
    found_model(request, name, actor, Permission.MODELS_RETIRE)
    model = publishing.retire(platform_of(request), name, number, reason=wish.reason, actor=actor.id)
    serving_of(request).forget(name)
    return ModelOut.model_validate(model.as_json())


@router.post("/models/{name}/predict", summary="Ask the served version of a model")
def predict(request: Request, actor: Caller, name: Name, asked: PredictIn) -> PredictOut:
    answers = serving_of(request).predict(name, asked.rows, actor)
    classes = [str(one) for one in answers.signature.classes]
    return PredictOut(
        model=answers.version.model,
        version=answers.version.number,
        digest=answers.version.digest,
        grades=dict(answers.grades),
        predictions=[
            PredictionOut(label=one.label, probabilities=dict(zip(classes, one.probabilities, strict=True))) for one in answers.answers
        ],
    )
