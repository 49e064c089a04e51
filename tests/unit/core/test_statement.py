"""Statements: what is signed can be checked by anyone with the public key, and nothing else passes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from headwater.core import statement
from headwater.core.errors import BadStatement
from headwater.core.statement import FILING, LINEAGE, Envelope, Statement, Subject, TrustedKey

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = TrustedKey(name="platform", public=KEY.public_key(), may_claim=frozenset({LINEAGE}))
MODEL = "sha256:" + "ab" * 32
CLAIM = Statement(subjects=(Subject(name="model", digest=MODEL),), predicate_type=LINEAGE, predicate={"step": "t"}, issued_at=NOW)


def test_a_signed_statement_comes_back_as_it_was_claimed() -> None:
    envelope = statement.read(statement.sign(CLAIM, KEY).to_json())
    assert statement.verify(envelope, [TRUSTED], now=NOW, about=MODEL) == CLAIM


def test_the_encoding_that_is_signed_is_the_one_of_the_dsse_protocol() -> None:
    # DSSE v1.0.2: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    assert statement.encode(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


@given(st.data())
def test_no_changed_byte_of_the_payload_or_signature_passes(data: st.DataObject) -> None:
    envelope = statement.sign(CLAIM, KEY)
    key, signature = envelope.signatures[0]
    in_payload = data.draw(st.booleans())
    changed = bytearray(envelope.payload if in_payload else signature)
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    forged = (
        Envelope(payload=bytes(changed), signatures=envelope.signatures)
        if in_payload
        else Envelope(payload=envelope.payload, signatures=((key, bytes(changed)),))
    )
    with pytest.raises(BadStatement):
        statement.verify(forged, [TRUSTED], now=NOW)


def test_a_key_nobody_trusts_is_refused() -> None:
    envelope = statement.sign(CLAIM, Ed25519PrivateKey.generate())
    with pytest.raises(BadStatement, match="No trusted key signed"):
        statement.verify(envelope, [TRUSTED], now=NOW)


def test_a_trusted_key_may_not_claim_what_it_is_not_trusted_for() -> None:
    filing = Statement(subjects=CLAIM.subjects, predicate_type=FILING, predicate={}, issued_at=NOW)
    with pytest.raises(BadStatement, match="not trusted to claim urn:headwater:filing:v1"):
        statement.verify(statement.sign(filing, KEY), [TRUSTED], now=NOW)


def test_a_statement_ends_when_it_says() -> None:
    claim = Statement(subjects=CLAIM.subjects, predicate_type=LINEAGE, predicate={}, issued_at=NOW, expires_at=NOW + timedelta(days=1))
    envelope = statement.sign(claim, KEY)
    assert statement.verify(envelope, [TRUSTED], now=NOW + timedelta(hours=23)) == claim
    with pytest.raises(BadStatement, match="expired on 2026-11-24"):
        statement.verify(envelope, [TRUSTED], now=NOW + timedelta(days=1))


def test_a_statement_from_the_future_is_refused() -> None:
    with pytest.raises(BadStatement, match="in the future"):
        statement.verify(statement.sign(CLAIM, KEY), [TRUSTED], now=NOW - timedelta(seconds=1))


def test_a_statement_about_something_else_is_refused() -> None:
    with pytest.raises(BadStatement, match="is not about"):
        statement.verify(statement.sign(CLAIM, KEY), [TRUSTED], now=NOW, about="sha256:" + "cd" * 32)


@given(st.text(max_size=300) | st.sampled_from(['{"payloadType": "x"}', "[]", "null", '{"payloadType":"application/vnd.in-toto+json"}']))
def test_anything_that_is_no_envelope_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadStatement):
        statement.read(text)
