"""Which organisation holds which artifact. Names are digests: knowing one is no right to its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Column, Connection, String, Table, insert, select

from headwater.compute.jobs import within
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import NotFound
from headwater.core.statement import bare

holdings = Table(
    "artifact_holding",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("organisation", String(200), primary_key=True),
    Column("since", UtcTime, nullable=False),
)


def hold(connection: Connection, artifacts: Iterable[str], organisation: str, *, at: datetime) -> None:
    """Record that an organisation uploaded or made some artifacts. Recording it twice changes nothing."""
    for digest in sorted({bare(artifact) for artifact in artifacts}):
        same = (holdings.c.digest == digest, holdings.c.organisation == organisation)
        if connection.execute(select(holdings.c.digest).where(*same)).first() is None:
            connection.execute(insert(holdings).values(digest=digest, organisation=organisation, since=at))


def require_held(connection: Connection, artifact: str, scopes: Iterable[str]) -> None:
    """Raise NotFound unless an organisation within the scopes holds the artifact; whether it exists elsewhere stays unsaid."""
    query = select(holdings.c.digest).where(holdings.c.digest == bare(artifact), within(holdings.c.organisation, scopes)).limit(1)
    if connection.execute(query).first() is None:
        raise NotFound(f"There is no artifact {artifact[:80]} here.", "Upload it, or ask its owner for the role.")
