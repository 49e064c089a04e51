"""Whether the server answers, and its figures."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import text

from headwater import __version__
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.web import permitted, platform_of

router = APIRouter(tags=["server"])


class Health(BaseModel):
    """That the server answers and its database with it."""

    status: str = Field(examples=["ok"])
    version: str = Field(examples=[__version__])
    role: Literal["leader", "standby", "none"] = Field(description="Whether it decides on jobs, waits to, or has nothing to do with it.")


@router.get("/health", summary="Tell whether the server and its database answer")
def health(request: Request) -> Health:
    with platform_of(request).db.read() as connection:
        connection.execute(text("SELECT 1"))
    dispatcher = request.app.state.dispatcher
    return Health(status="ok", version=__version__, role=dispatcher.role if dispatcher is not None else "none")


@router.get(
    "/metrics",
    summary="Give Prometheus the server's figures",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text format."}},
)
def metrics(request: Request, actor: Annotated[Actor, Depends(permitted(Permission.METRICS_READ, ROOT))]) -> Response:  # noqa: ARG001
    return Response(request.app.state.metrics.exposition(), media_type="text/plain; version=1.0.0; charset=utf-8")
