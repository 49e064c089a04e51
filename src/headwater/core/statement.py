"""Signed claims about digests: in-toto Statement v1 in a DSSE envelope, signed with Ed25519.

Pure: bytes and keys in, bytes or a verdict out. What the platform keeps of them is in `evidence.py`.

Sources: in-toto attestation framework, Statement layer v1; DSSE v1.0.2 protocol (pre-authentication
encoding); RFC 8032 (Ed25519). The key id is the SHA-256 of the raw public key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from headwater.core import canonical
from headwater.core.clock import from_text, to_text
from headwater.core.errors import BadStatement

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
LARGEST_ENVELOPE = 4 << 20

LINEAGE = "urn:headwater:lineage:v1"
TRUST_GRADE = "urn:headwater:trust-grade:v1"
FILING = "urn:headwater:filing:v1"
PUBLICATION = "urn:headwater:publication:v1"
DATA_VERSION = "urn:headwater:data-version:v1"
AUTHORISATION = "urn:headwater:authorisation:v1"
CALIBRATION = "urn:headwater:calibration:v1"
USAGE = "urn:headwater:usage:v1"
REVOCATION = "urn:headwater:revocation:v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a statement is about: a name for people and a SHA-256 for machines."""

    name: str
    digest: str
    """An artifact's name, `sha256:…`, with a trailing `/` for a tree."""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "digest": {"sha256": bare(self.digest)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A claim: its subjects, what kind of claim it is, what it says, and from when until when."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]
    issued_at: datetime
    expires_at: datetime | None = None

    def payload(self) -> bytes:
        """Return the canonical bytes that are signed."""
        times = {"issuedAt": to_text(self.issued_at)} | ({"expiresAt": to_text(self.expires_at)} if self.expires_at else {})
        return canonical.to_bytes(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject.as_json() for subject in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate) | times,
            }
        )

    def is_about(self, digest: str) -> bool:
        """Tell whether the artifact is one of the subjects."""
        return bare(digest) in {bare(subject.digest) for subject in self.subjects}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope: the payload and the signatures over it."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def digest(self) -> str:
        """The statement's own name: `sha256:…` over its payload."""
        return "sha256:" + hashlib.sha256(self.payload).hexdigest()

    def to_json(self) -> str:
        """Return the envelope as the JSON text that other DSSE tools read."""
        signatures = [{"keyid": key_id, "sig": base64.b64encode(sig).decode()} for key_id, sig in self.signatures]
        return json.dumps({"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(self.payload).decode(), "signatures": signatures})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key and the kinds of claim it is trusted for (`*` for every kind)."""

    name: str
    public: Ed25519PublicKey
    may_claim: frozenset[str]

    def is_trusted_for(self, predicate_type: str) -> bool:
        return bool(self.may_claim & {"*", predicate_type})


def bare(digest: str) -> str:
    """Return the hex digits of an artifact's name."""
    return digest.removeprefix("sha256:").removesuffix("/")


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id by which a key is found: SHA-256 over its 32 raw bytes, in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def encode(payload: bytes) -> bytes:
    """Return the DSSE pre-authentication encoding, which is what is signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(statement: Statement, *keys: Ed25519PrivateKey) -> Envelope:
    """Return the statement in an envelope signed by each key."""
    payload = statement.payload()
    return Envelope(payload=payload, signatures=tuple((key_id(key.public_key()), key.sign(encode(payload))) for key in keys))


def read(text: str | bytes) -> Envelope:
    """Return the envelope that a JSON text holds, its signatures unchecked. Raises BadStatement."""
    if len(text) > LARGEST_ENVELOPE:
        raise BadStatement(f"The envelope is larger than {LARGEST_ENVELOPE} bytes.", "Refer to large evidence by digest instead.")
    try:
        told = json.loads(text)
        if told["payloadType"] != PAYLOAD_TYPE:
            raise BadStatement(f"The envelope holds '{told['payloadType']}', not an in-toto statement.", f"Expected {PAYLOAD_TYPE}.")
        payload = base64.b64decode(told["payload"], validate=True)
        signatures = tuple((str(one.get("keyid", "")), base64.b64decode(one["sig"], validate=True)) for one in told["signatures"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise BadStatement(f"This is not a DSSE envelope: {error!r}.", "Ask its issuer for the original file.") from error
    return Envelope(payload=payload, signatures=signatures)


def parse(payload: bytes) -> Statement:
    """Return the statement that a payload holds. Raises BadStatement where it is not one."""
    try:
        told = json.loads(payload)
        if told["_type"] != STATEMENT_TYPE:
            raise BadStatement(f"The payload is '{told['_type']}', not an in-toto Statement v1.")
        predicate = dict(told["predicate"])
        issued, expires = predicate.pop("issuedAt"), predicate.pop("expiresAt", None)
        return Statement(
            subjects=tuple(Subject(name=one["name"], digest="sha256:" + one["digest"]["sha256"]) for one in told["subject"]),
            predicate_type=str(told["predicateType"]),
            predicate=predicate,
            issued_at=from_text(issued),
            expires_at=from_text(expires) if expires else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadStatement(f"The payload is not an in-toto statement that Headwater can read: {error!r}.") from error


def verify(envelope: Envelope, keys: Sequence[TrustedKey], *, now: datetime, about: str | None = None) -> Statement:
    """Return the statement if a trusted key signed it for this kind of claim and it is valid at `now`.

    `about`, an artifact's name, must then be one of its subjects. Raises BadStatement with the reason:
    forged, signed by an unknown key or by one not trusted for this kind, not yet valid, expired, or
    about something else. Revocation needs the platform's records and is checked in `evidence.py`.
    """
    statement = parse(envelope.payload)
    _check_signatures(envelope, {key_id(key.public): key for key in keys}, statement.predicate_type)
    name = f"The statement {envelope.digest[:19]}… ({statement.predicate_type})"
    if statement.issued_at > now:
        raise BadStatement(f"{name} is dated {to_text(statement.issued_at)}, which is in the future.", "Check the clocks.", reason="future")
    if statement.expires_at is not None and statement.expires_at <= now:
        raise BadStatement(f"{name} expired on {to_text(statement.expires_at)}.", "Have it issued anew.", reason="expired")
    if about is not None and not statement.is_about(about):
        raise BadStatement(f"{name} is not about {about[:19]}….", "Use the statement issued for this artifact.", reason="subject")
    return statement


def _check_signatures(envelope: Envelope, keys: Mapping[str, TrustedKey], predicate_type: str) -> None:
    known = [(keys[key], signature) for key, signature in envelope.signatures if key in keys]
    if not known:
        raise BadStatement("No trusted key signed this statement.", "Add the issuer's public key if you trust it.", reason="unknown_key")
    for key, signature in known:
        try:
            key.public.verify(signature, encode(envelope.payload))
        except InvalidSignature as error:
            raise BadStatement(
                f"The signature of key '{key.name}' does not fit the statement: it was forged or altered.",
                "Do not use it.",
                reason="forged",
            ) from error
    if not any(key.is_trusted_for(predicate_type) for key, _ in known):
        names = ", ".join(key.name for key, _ in known)
        raise BadStatement(
            f"The key '{names}' is not trusted to claim {predicate_type}.", "Have it signed by the body in charge.", reason="not_trusted"
        )
