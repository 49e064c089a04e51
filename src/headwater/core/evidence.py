"""The statements that the platform holds: issued, imported, found again, checked, revoked.

A statement is valid when a trusted key signed it for its kind of claim, it is neither early nor
expired, and no valid revocation names it. A revocation is itself a statement, about the digest of the
statement that it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Index, String, Table, Text, insert, select, update

from headwater.core import ledger, statement
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadStatement, NotFound
from headwater.core.keys import Keyring
from headwater.core.statement import REVOCATION, Envelope, Statement, Subject

statements = Table(
    "statement",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("predicate_type", String(120), nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("envelope", Text, nullable=False),
)
subjects = Table(
    "statement_subject",
    metadata,
    Column("statement", String(71), ForeignKey("statement.digest"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Index("ix_statement_subject_digest", "digest"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A statement that the platform holds, with its envelope and its own digest."""

    digest: str
    envelope: Envelope
    statement: Statement


def issue(connection: Connection, keyring: Keyring, claim: Statement, *, actor: str) -> Held:
    """Sign a claim with this platform's key for its kind, keep it, and enter it in the ledger."""
    return keep(connection, statement.sign(claim, keyring.signer(claim.predicate_type)), keyring, actor=actor, now=claim.issued_at)


def keep(connection: Connection, envelope: Envelope, keyring: Keyring, *, actor: str, now: datetime) -> Held:
    """Keep a statement, made here or elsewhere, after verifying it. Keeping it again adds signatures of other keys."""
    told = statement.verify(envelope, keyring.trusted(), now=now)
    held = Held(digest=envelope.digest, envelope=envelope, statement=told)
    row = connection.execute(select(statements.c.envelope).where(statements.c.digest == held.digest).with_for_update()).one_or_none()
    if row is not None:
        return _countersigned(connection, held, statement.read(row.envelope), actor=actor, now=now)
    values = {"digest": held.digest, "predicate_type": told.predicate_type, "issued_at": told.issued_at}
    connection.execute(insert(statements).values(envelope=envelope.to_json(), **values))
    unique = {statement.bare(subject.digest): subject.name for subject in told.subjects}
    if unique:
        connection.execute(
            insert(subjects), [{"statement": held.digest, "digest": digest, "name": name} for digest, name in unique.items()]
        )
    body = {"predicate_type": told.predicate_type, "subjects": sorted(unique)}
    ledger.append(connection, "statement.kept", subject=held.digest, actor=actor, at=now, body=body)
    return held


def _countersigned(connection: Connection, held: Held, known: Envelope, *, actor: str, now: datetime) -> Held:
    """Return a statement held before, with those of the new signatures that are by other keys added to its own."""
    keys = {key for key, _ in known.signatures}
    added = tuple(one for one in held.envelope.signatures if one[0] not in keys)
    if not added:
        return Held(digest=held.digest, envelope=known, statement=held.statement)
    whole = Envelope(payload=known.payload, signatures=known.signatures + added)
    connection.execute(update(statements).where(statements.c.digest == held.digest).values(envelope=whole.to_json()))
    ledger.append(connection, "statement.countersigned", subject=held.digest, actor=actor, at=now, body={"keys": [key for key, _ in added]})
    return Held(digest=held.digest, envelope=whole, statement=held.statement)


def get(connection: Connection, digest: str) -> Held:
    """Return a held statement by its digest, whether or not it is still valid. Raises NotFound."""
    row = connection.execute(select(statements.c.envelope).where(statements.c.digest == digest)).one_or_none()
    if row is None:
        raise NotFound(f"No statement {digest[:80]} here.", "List those about an artifact with `headwater statement list ARTIFACT`.")
    envelope = statement.read(row.envelope)
    return Held(digest=digest, envelope=envelope, statement=statement.parse(envelope.payload))


def about(connection: Connection, artifact: str, predicate_type: str | None = None) -> tuple[Held, ...]:
    """Return the statements about an artifact (or about a statement's digest), newest first, valid or not."""
    query = select(statements.c.digest).join(subjects, subjects.c.statement == statements.c.digest)
    query = query.where(subjects.c.digest == statement.bare(artifact))
    if predicate_type is not None:
        query = query.where(statements.c.predicate_type == predicate_type)
    query = query.order_by(statements.c.issued_at.desc(), statements.c.digest)
    return tuple(get(connection, row.digest) for row in connection.execute(query))


def check(connection: Connection, keyring: Keyring, held: Held, *, now: datetime, artifact: str | None = None) -> Statement:
    """Return the statement if it is valid now (and about `artifact`, if given). Raises BadStatement with the reason."""
    told = statement.verify(held.envelope, keyring.trusted(), now=now, about=artifact)
    for revocation in about(connection, held.digest, REVOCATION):
        try:
            ended = statement.verify(revocation.envelope, keyring.trusted(), now=now, about=held.digest)
        except BadStatement:
            continue  # a revocation that does not verify ends nothing
        raise BadStatement(
            f"The statement {held.digest[:19]}… ({told.predicate_type}) was revoked: {ended.predicate.get('reason', 'no reason given')}.",
            "Have a new one issued.",
            reason="revoked",
        )
    return told


def objection(connection: Connection, keyring: Keyring, held: Held, *, now: datetime) -> str:
    """Return why a statement is not valid now; nothing where it is."""
    try:
        check(connection, keyring, held, now=now)
    except BadStatement as error:
        return error.what
    return ""


def signers(keyring: Keyring, held: Held) -> tuple[str, ...]:
    """Return the names of the trusted keys that signed, and the ids of keys that are not trusted here."""
    names = {statement.key_id(key.public): key.name for key in keyring.trusted()}
    return tuple(names.get(key, key) for key, _ in held.envelope.signatures)


def valid(
    connection: Connection, keyring: Keyring, artifact: str, predicate_type: str, *, now: datetime
) -> tuple[Held | None, tuple[str, ...]]:
    """Return the newest valid statement of a kind about an artifact, or None, and why each other one was passed over."""
    reasons: list[str] = []
    for held in about(connection, artifact, predicate_type):
        try:
            check(connection, keyring, held, now=now, artifact=artifact)
        except BadStatement as error:
            reasons.append(str(error))
        else:
            return held, tuple(reasons)
    return None, tuple(reasons)


def revoke(connection: Connection, keyring: Keyring, digest: str, *, reason: str, actor: str, now: datetime) -> Held:
    """End a held statement by a revocation, and return the revocation. Raises NotFound."""
    held = get(connection, digest)
    predicate: Mapping[str, Any] = {"reason": reason, "revokes": held.statement.predicate_type}
    ending = Statement(subjects=(Subject(name="statement", digest=digest),), predicate_type=REVOCATION, predicate=predicate, issued_at=now)
    return issue(connection, keyring, ending, actor=actor)
