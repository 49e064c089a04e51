"""What the platform holds that a plan can be measured by: its valid statements, read and checked in one pass."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, select

from headwater.core import evidence, statement
from headwater.core.errors import BadStatement
from headwater.core.keys import Keyring
from headwater.core.statement import REVOCATION, Statement, TrustedKey, bare

_Keys = tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Valid:
    """A statement that is valid now: signed by a trusted key, not expired, not revoked."""

    digest: str
    statement: Statement

    def says(self, where: Mapping[str, str]) -> bool:
        """Tell whether the statement's keys have these texts; a text that ends in `*` is a beginning."""
        return all(_fits(self.statement.predicate.get(key), wanted) for key, wanted in where.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Valid statements by type, newest first, and how many of each type do not count any more."""

    valid: Mapping[str, tuple[Valid, ...]]
    set_aside: Mapping[str, int]

    def of(self, predicate_type: str, where: Mapping[str, str]) -> tuple[Valid, ...]:
        """Return the valid statements of a type that say what `where` asks."""
        return tuple(one for one in self.valid.get(predicate_type, ()) if one.says(where))


def read(connection: Connection, keyring: Keyring, types: Collection[str], *, now: datetime) -> Holdings:
    """Return what is held of some types of statement, each checked."""
    keys = _as_values(keyring.trusted())
    revoked = {bare(subject.digest) for one in _of_type(connection, REVOCATION, keys, now)[0] for subject in one.statement.subjects}
    valid: dict[str, tuple[Valid, ...]] = {}
    set_aside: dict[str, int] = {}
    for kind in types:
        sound, faulty = _of_type(connection, kind, keys, now)
        valid[kind] = tuple(one for one in sound if bare(one.digest) not in revoked)
        set_aside[kind] = faulty + len(sound) - len(valid[kind])
    return Holdings(valid=valid, set_aside=set_aside)


def _of_type(connection: Connection, kind: str, keys: _Keys, now: datetime) -> tuple[list[Valid], int]:
    table = evidence.statements
    query = select(table.c.digest, table.c.envelope).where(table.c.predicate_type == kind)
    sound, faulty = [], 0
    for row in connection.execute(query.order_by(table.c.issued_at.desc(), table.c.digest)):
        told = _verified(row.envelope, row.digest, keys)
        if told is None or told.predicate_type != kind or told.issued_at > now or (told.expires_at is not None and told.expires_at <= now):
            faulty += 1
        else:
            sound.append(Valid(digest=row.digest, statement=told))
    return sound, faulty


@lru_cache(maxsize=8192)
def _verified(envelope: str, digest: str, keys: _Keys) -> Statement | None:
    """Return the statement in an envelope if its signature and digest hold, whatever the time; remembered, since both never change."""
    trusted = [
        TrustedKey(name=name, public=Ed25519PublicKey.from_public_bytes(base64.b64decode(public)), may_claim=frozenset(may_claim))
        for name, public, may_claim in keys
    ]
    try:
        read_envelope = statement.read(envelope)
        told = statement.parse(read_envelope.payload)
        statement.verify(read_envelope, trusted, now=told.issued_at)
    except BadStatement:
        return None
    return told if read_envelope.digest == digest else None


def _as_values(keys: tuple[TrustedKey, ...]) -> _Keys:
    return tuple((key.name, base64.b64encode(key.public.public_bytes_raw()).decode(), tuple(sorted(key.may_claim))) for key in keys)


def _fits(value: Any, wanted: str) -> bool:
    if not isinstance(value, str):
        return False
    return value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted
