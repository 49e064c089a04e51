"""The hub: published models and their versions, and which version answers. Tables and queries; `publishing.py` changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, ForeignKey, Index, Integer, String, Table, Text, false, or_, select
from sqlalchemy.engine import Row

from headwater.core import evidence, statement
from headwater.core.clock import to_text
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadStatement, NotFound
from headwater.core.evidence import Held
from headwater.core.keys import Keyring
from headwater.models.gate import Found, Looked, Request
from headwater.models.policy import Policy, RiskClass

models = Table(
    "model",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("organisation", String(200), nullable=False),
    Column("title", JSON, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_model_organisation", "organisation"),
)
versions = Table(
    "model_version",
    metadata,
    Column("model", String(64), ForeignKey("model.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(72), nullable=False),
    Column("risk_class", String(2), nullable=False),
    Column("declared", JSON, nullable=False),
    Column("grades", JSON, nullable=False),
    Column("statements", JSON, nullable=False),
    Column("policy", String(71), nullable=False),
    Column("publication", String(71), ForeignKey("statement.digest"), nullable=False),
    Column("job", String(120), unique=True),
    Column("published_by", String(64), nullable=False),
    Column("published_at", UtcTime, nullable=False),
    Column("retired_at", UtcTime),
    Column("retired_because", Text),
    Index("ix_model_version_digest", "digest"),
)
deployments = Table(
    "deployment",
    metadata,
    Column("job", String(120), primary_key=True),
    Column("model", String(64), ForeignKey("model.name"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("started_by", String(64), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("ended_because", Text),
    Index("ix_deployment_model_ended_at", "model", "ended_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One published version of a model."""

    model: str
    number: int
    digest: str
    risk_class: RiskClass
    declared: Mapping[str, Any]
    grades: Mapping[str, str]
    """Letters by dimension and `overall`, as they were when it was admitted."""
    statements: Mapping[str, str]
    """The statements that it was admitted on, by the policy's name for them."""
    policy: str
    publication: str
    job: str | None
    published_by: str
    published_at: datetime
    retired_at: datetime | None
    retired_because: str | None

    @property
    def request(self) -> Request:
        """What was asked of the gate: asked again whenever the version is loaded."""
        return Request(model=self.digest, risk_class=self.risk_class, declared=self.declared)

    def as_json(self) -> dict[str, Any]:
        """Return the version as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__}
        told |= {"published_at": to_text(self.published_at), "retired_at": to_text(self.retired_at) if self.retired_at else None}
        return told | {"declared": dict(self.declared), "grades": dict(self.grades), "statements": dict(self.statements)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A published model: its versions, newest first, and the number of the one that answers, if any."""

    name: str
    organisation: str
    title: Mapping[str, str]
    created_by: str
    created_at: datetime
    versions: tuple[Version, ...]
    served: int | None

    @property
    def address(self) -> str:
        """The path at which the served version answers."""
        return f"/models/{self.name}/predict"

    def version(self, number: int) -> Version:
        """Return one version. Raises NotFound."""
        for one in self.versions:
            if one.number == number:
                return one
        raise NotFound(
            f"The model '{self.name}' has no version {number}.", f"Versions: {', '.join(str(one.number) for one in self.versions)}."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the model as JSON values."""
        return {
            "name": self.name,
            "organisation": self.organisation,
            "title": dict(self.title),
            "created_by": self.created_by,
            "created_at": to_text(self.created_at),
            "address": self.address,
            "served": self.served,
            "versions": [one.as_json() for one in self.versions],
        }


def get(connection: Connection, name: str) -> Model:
    """Return a model. Raises NotFound."""
    row = connection.execute(select(models).where(models.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no model '{name[:64]}'.", "List them with `headwater model list`.")
    return _model(connection, row)


def listed(connection: Connection, *, scopes: Iterable[str], limit: int = 100) -> tuple[Model, ...]:
    """Return the models of some organisations' scopes, by name."""
    within = (models.c.organisation.startswith(scope + "/", autoescape=True) | (models.c.organisation == scope) for scope in scopes)
    query = select(models).where(or_(false(), *within)).order_by(models.c.name).limit(limit)
    return tuple(_model(connection, row) for row in connection.execute(query).all())


def evidence_for(connection: Connection, keyring: Keyring, digest: str, policy: Policy, *, now: datetime) -> dict[str, Looked]:
    """Return what the platform holds about a model for the gate: of each kind the newest valid statement, and why others fell out."""
    found = {}
    for name, kind in policy.statements.items():
        held, passed_over = evidence.valid(connection, keyring, digest, kind.predicate_type, now=now)
        found[name] = Looked(found=None if held is None else _found(held, keyring), passed_over=passed_over)
    return found


def _found(held: Held, keyring: Keyring) -> Found:
    """Return a valid statement as the gate sees it, with the number of trusted keys whose signature on it fits."""
    kind = held.statement.predicate_type
    trusted = {statement.key_id(key.public): key for key in keyring.trusted() if key.is_trusted_for(kind)}
    signers = {key for key, _ in held.envelope.signatures if key in trusted and _signed_by(held, trusted[key])}
    return Found(digest=held.digest, predicate=held.statement.predicate, signatures=len(signers))


def _signed_by(held: Held, key: statement.TrustedKey) -> bool:
    try:
        statement.verify(held.envelope, [key], now=held.statement.issued_at)
    except BadStatement:
        return False
    return True


def _model(connection: Connection, row: Row[Any]) -> Model:
    query = select(versions).where(versions.c.model == row.name).order_by(versions.c.number.desc())
    published = tuple(Version(**one._asdict()) for one in connection.execute(query))
    current = select(deployments.c.version).where(deployments.c.model == row.name, deployments.c.ended_at.is_(None))
    served = connection.execute(current.order_by(deployments.c.started_at.desc()).limit(1)).scalar_one_or_none()
    return Model(**row._asdict(), versions=published, served=served)
