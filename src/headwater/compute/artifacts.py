"""Which organisation holds which artifact. Names are digests: knowing one is no right to its bytes.

A file and the tree whose manifest it would be are two things here: whoever uploads a file that looks
like a manifest holds that file, and none of the files that it names.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Column, Connection, String, Table, insert, select

from headwater.compute.jobs import within
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import NotFound

holdings = Table(
    "artifact_holding",
    metadata,
    Column("artifact", String(72), primary_key=True),
    Column("organisation", String(200), primary_key=True),
    Column("since", UtcTime, nullable=False),
)


def hold(connection: Connection, artifacts: Iterable[str], organisation: str, *, at: datetime) -> None:
    """Record that an organisation uploaded or made some artifacts. Recording it twice changes nothing."""
    for artifact in sorted(set(artifacts)):
        same = (holdings.c.artifact == artifact, holdings.c.organisation == organisation)
        if connection.execute(select(holdings.c.artifact).where(*same)).first() is None:
            connection.execute(insert(holdings).values(artifact=artifact, organisation=organisation, since=at))


def require_held(connection: Connection, artifact: str, scopes: Iterable[str]) -> None:
    """Raise NotFound unless an organisation within the scopes holds the artifact; whether it exists elsewhere stays unsaid."""
    query = select(holdings.c.artifact).where(holdings.c.artifact == artifact, within(holdings.c.organisation, scopes)).limit(1)
    if connection.execute(query).first() is None:
        raise NotFound(f"There is no artifact {artifact[:80]} here.", "Upload it, or ask its owner for the role.")
