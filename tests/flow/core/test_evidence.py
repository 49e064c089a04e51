"""Statements that the platform holds: issued, found by what they are about, revoked by another statement."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headwater.core import evidence, statement
from headwater.core.errors import BadStatement, Refused
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.core.statement import TRUST_GRADE, Statement, Subject

MODEL = "sha256:" + "12" * 32 + "/"


def grade(site: Platform, letter: str = "B", **more: object) -> Statement:
    subject = Subject(name="model", digest=MODEL)
    return Statement(subjects=(subject,), predicate_type=TRUST_GRADE, predicate={"overall": letter}, issued_at=site.clock.now(), **more)  # type: ignore[arg-type]


def valid(site: Platform) -> tuple[evidence.Held | None, tuple[str, ...]]:
    with site.db.read() as connection:
        return evidence.valid(connection, site.keyring, MODEL, TRUST_GRADE, now=site.clock.now())


def test_an_issued_statement_is_found_by_what_it_is_about(any_site: Platform) -> None:
    held = any_site.db.write(lambda connection: evidence.issue(connection, any_site.keyring, grade(any_site), actor="t"))
    found, passed_over = valid(any_site)
    assert found is not None
    assert (found.digest, passed_over) == (held.digest, ())


def test_a_revoked_statement_counts_no_more_and_says_why(any_site: Platform) -> None:
    held = any_site.db.write(lambda connection: evidence.issue(connection, any_site.keyring, grade(any_site), actor="t"))
    any_site.db.write(
        lambda connection: evidence.revoke(
            connection, any_site.keyring, held.digest, reason="the test data leaked", actor="t", now=any_site.clock.now()
        )
    )
    found, passed_over = valid(any_site)
    assert found is None
    assert "was revoked: the test data leaked" in passed_over[0]


def test_an_expired_statement_counts_no_more(site: Platform) -> None:
    soon = site.clock.now() + timedelta(milliseconds=200)
    site.db.write(lambda connection: evidence.issue(connection, site.keyring, grade(site, expires_at=soon), actor="t"))
    assert valid(site)[0] is not None
    import time

    time.sleep(0.25)
    found, passed_over = valid(site)
    assert found is None
    assert "expired" in passed_over[0]


def test_a_statement_of_a_stranger_is_not_kept(site: Platform) -> None:
    forged = statement.sign(grade(site, "A"), Ed25519PrivateKey.generate())
    with pytest.raises(BadStatement, match="No trusted key"):
        site.db.write(lambda connection: evidence.keep(connection, forged, site.keyring, actor="t", now=site.clock.now()))
    assert valid(site) == (None, ())


def test_the_key_that_signs_lineage_cannot_grade(site: Platform) -> None:
    lineage_key = site.keyring.signer(statement.LINEAGE)
    with pytest.raises(BadStatement, match="key 'platform' is not trusted to claim"):
        site.db.write(
            lambda connection: evidence.keep(
                connection, statement.sign(grade(site, "A"), lineage_key), site.keyring, actor="t", now=site.clock.now()
            )
        )


def test_private_keys_can_be_read_by_their_owner_alone(site: Platform) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (site.settings.data_folder / "keys").glob("*.pem")}
    assert set(modes.values()) == {0o600}


def test_a_claim_that_no_office_here_may_make_is_refused(site: Platform) -> None:
    with pytest.raises(Refused, match="No key here may claim urn:else"):
        Keyring(site.settings.data_folder / "keys").signer("urn:else")


def test_a_second_signature_joins_the_statement_that_is_held(site: Platform) -> None:
    """A reviewer signs what the evaluator signed: one statement, two signatures, nothing lost."""
    claim, reviewer = grade(site), Ed25519PrivateKey.generate()
    site.keyring.trust("reviewer", reviewer.public_key().public_bytes_raw(), (TRUST_GRADE,))
    first = site.db.write(lambda connection: evidence.issue(connection, site.keyring, claim, actor="t"))
    second = statement.sign(claim, reviewer)
    kept = [
        site.db.write(lambda connection: evidence.keep(connection, second, site.keyring, actor="t", now=site.clock.now())) for _ in range(2)
    ]
    with site.db.read() as connection:
        held = evidence.get(connection, first.digest)
    assert {key for key, _ in held.envelope.signatures} == {first.envelope.signatures[0][0], statement.key_id(reviewer.public_key())}
    assert [one.digest for one in kept] == [first.digest, first.digest]
