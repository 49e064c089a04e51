"""What the routes of Delta Sharing take and give, with the protocol's own names."""

# ruff: noqa: N815

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field


class DeltaError(BaseModel):
    """An error as Delta Sharing tells it."""

    errorCode: str = Field(examples=["RESOURCE_DOES_NOT_EXIST"])
    message: str


class Share(BaseModel):
    """A share."""

    name: str
    id: str


class ShareOut(BaseModel):
    """One share."""

    share: Share


class Schema(BaseModel):
    """A schema of a share."""

    name: str
    share: str


class Table(BaseModel):
    """A table of a schema."""

    name: str
    schema_: str = Field(alias="schema")
    share: str
    shareId: str
    id: str


class SharesOut(BaseModel):
    """A page of shares."""

    items: list[Share]
    nextPageToken: str = ""


class SchemasOut(BaseModel):
    """A page of schemas."""

    items: list[Schema]
    nextPageToken: str = ""


class TablesOut(BaseModel):
    """A page of tables."""

    items: list[Table]
    nextPageToken: str = ""


class QueryIn(BaseModel):
    """What a reader wants of a table; every hint only leaves out files that hold nothing it asks for."""

    predicateHints: list[Annotated[str, Field(max_length=10_000)]] = Field([], max_length=100, description="SQL conditions.")
    jsonPredicateHints: str | None = Field(None, max_length=100_000, description="A condition as a JSON tree, as text.")
    limitHint: int | None = Field(None, ge=0, le=2**63 - 1, description="Rows that will be read at most.")
    version: int | None = Field(None, ge=0, le=2**31 - 1)
    timestamp: str | None = Field(None, max_length=60, examples=["2026-01-31T00:00:00Z"])
    startingVersion: int | None = Field(None, description="Refused here: changes are read with GET changes.")
