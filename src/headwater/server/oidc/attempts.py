"""Sign-ins under way at a provider: each begins in one browser, ends in the same one, and ends once.

The browser holds a random secret in a cookie. State, nonce and code verifier are derived from it, so
that nothing is kept here that would let anyone else finish the sign-in: only its hash, where to go on
to, and an end.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, String, Table, Text, delete, insert, select

from headwater.core.db import UtcTime, metadata
from headwater.core.errors import NotSignedIn
from headwater.core.identity import token_hash

LASTS = timedelta(minutes=10)

attempts = Table(
    "sign_in_attempt",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("goes_to", Text, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Secret:
    """A browser's secret for one sign-in, and what is told to the provider of it."""

    text: str

    @property
    def state(self) -> str:
        """What the provider gives back to the browser unchanged."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What the provider writes into the ID token."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """The code verifier of RFC 7636, of which the provider first sees the hash."""
        return self._derived("verifier")

    def _derived(self, purpose: str) -> str:
        digest = hmac.new(self.text.encode(), purpose.encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")


def begin(connection: Connection, goes_to: str, *, now: datetime) -> Secret:
    """Note a new attempt and return its secret. Attempts that ran out are cleared away."""
    connection.execute(delete(attempts).where(attempts.c.expires_at <= now))
    secret = Secret(secrets.token_urlsafe(32))
    connection.execute(insert(attempts).values(hash=token_hash(secret.text), goes_to=goes_to[:2000], expires_at=now + LASTS))
    return secret


def finish(connection: Connection, secret: Secret, *, now: datetime) -> str:
    """Return where an attempt was to go on to, once. Raises NotSignedIn where it is not known, has ended or ran out."""
    column = attempts.c
    row = connection.execute(select(attempts).where(column.hash == token_hash(secret.text))).one_or_none()
    ended = connection.execute(delete(attempts).where(column.hash == token_hash(secret.text))).rowcount == 1
    if row is None or not ended or row.expires_at <= now:
        raise NotSignedIn("This sign-in was finished before, or took too long.", "Begin again on the sign-in page.")
    return str(row.goes_to)
