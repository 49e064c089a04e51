"""Passwords of people with an account here: kept as Argon2id hashes, compared in even time, bounded in how often they are tried.

A password signs in to the console only; programs use API tokens. Whoever is signed in by another
way (a token, a one-time link, an OpenID provider) needs none.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Column, Connection, ForeignKey, String, Table, Text, delete, insert, select

from headwater.core import identity, ledger
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput, NotFound, TooMany

SHORTEST, LONGEST = 15, 256
"""Characters. NIST SP 800-63B-4, section 3.1.1.2: at least 15 where the password is all that is asked for."""
FEWEST_DIFFERENT = 6
ITERATIONS, LANES, MEMORY_KIB = 2, 1, 19 * 1024
"""OWASP's Password Storage Cheat Sheet. One lane: with several, OpenSSL's threads can wait for one another for ever."""
_AT_ONCE, _PRESENT = threading.BoundedSemaphore(2), threading.BoundedSemaphore(8)
"""Each comparison takes 19 MiB and a core: more at once, or a long queue, would let strangers fill the memory and keep all workers busy."""

passwords = Table(
    "password",
    metadata,
    Column("person", String(64), ForeignKey("person.id"), primary_key=True),
    Column("hash", Text, nullable=False),
    Column("set_at", UtcTime, nullable=False),
)


def hashed(password: str, name: str) -> str:
    """Return a new password's Argon2id hash as a PHC string. Raises BadInput for one that is too easily guessed. Slow on purpose."""
    text = _plain(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise BadInput(
            f"The password has {len(text)} characters.", f"Take {SHORTEST} to {LONGEST}: several words do well.", where="password"
        )
    if len(set(text)) < FEWEST_DIFFERENT or (len(name) > 3 and name.casefold() in text.casefold()):
        raise BadInput("The password is easily guessed.", "Leave out the person's name, and vary the characters.", where="password")
    return _hash(text)


def fits(password: str, kept: str | None) -> bool:
    """Tell whether a password is the kept one. Raises TooMany where many are being compared just now.

    It takes as long where nothing is kept, so that nobody learns who has a password.
    """
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    with _turn():
        try:
            Argon2id.verify_phc_encoded(_plain(password[:LONGEST]).encode("utf-8", "surrogatepass"), kept or _nobodys())
        except InvalidKey:
            return False
    return kept is not None


def kept_of(connection: Connection, name: str) -> tuple[str, str] | None:
    """Return the id and password hash of the person of this name, or None where there is no such person or password."""
    query = select(passwords.c.person, passwords.c.hash).join(identity.people, identity.people.c.id == passwords.c.person)
    row = connection.execute(query.where(identity.people.c.name == name)).one_or_none()
    return None if row is None else (row.person, row.hash)


def has_one(connection: Connection, person: str | None = None) -> bool:
    """Tell whether a person, or anyone at all, has a password."""
    query = select(passwords.c.person).limit(1)
    return connection.execute(query if person is None else query.where(passwords.c.person == person)).first() is not None


def put(connection: Connection, person: str, new: str, *, actor: str, at: datetime, keep: str = "") -> None:
    """Keep a person's new password hash, and end their sessions but the one whose token has the hash `keep`."""
    connection.execute(delete(passwords).where(passwords.c.person == person))
    connection.execute(insert(passwords).values(person=person, hash=new, set_at=at))
    ledger.append(connection, "password.set", subject=person, actor=actor, at=at)
    identity.end_sessions(connection, person, actor=actor, at=at, keep=keep)


def remove(connection: Connection, person: str, *, actor: str, at: datetime) -> None:
    """Take a person's password away, and end their sessions. Raises NotFound where they have none."""
    if connection.execute(delete(passwords).where(passwords.c.person == person)).rowcount != 1:
        raise NotFound("This person has no password.")
    ledger.append(connection, "password.removed", subject=person, actor=actor, at=at)
    identity.end_sessions(connection, person, actor=actor, at=at)


@contextmanager
def _turn() -> Iterator[None]:
    if not _PRESENT.acquire(blocking=False):
        raise TooMany("Many people are signing in just now.", "Try again in 2 s.", wait_s=2)
    try:
        with _AT_ONCE:
            yield
    finally:
        _PRESENT.release()


def _plain(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _hash(text: str) -> str:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    made = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    with _turn():
        return made.derive_phc_encoded(text.encode("utf-8", "surrogatepass"))


def _nobodys() -> str:
    """Return a hash that no password has, as costly to compare with as a real one."""
    salt, digest = (b64encode(secrets.token_bytes(length)).decode().rstrip("=") for length in (16, 32))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}${salt}${digest}"
