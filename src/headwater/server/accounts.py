"""People, their roles and their tokens, as an administrator and each person sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, false, or_, select

from headwater.core import identity, limit
from headwater.core.errors import BadInput, NotFound
from headwater.core.identity import Actor, Grant, Permission
from headwater.core.limit import Limit, narrowed

ID_LENGTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token that was issued: what can be known of it without its text. `id` is the start of its hash."""

    id: str
    kind: str
    label: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    """When a session was last noted as used, to the minute."""
    scopes: tuple[str, ...] | None = None
    """The only permissions that it gives; None where it gives all that its person holds."""
    organisation: str | None = None
    """The organisation that it is limited to, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An API token to be made: `scopes` and `organisation` limit it to less than its person may do."""

    label: str
    days: float
    scopes: tuple[Permission, ...] | None = None
    organisation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person with the roles that hold now."""

    id: str
    name: str
    organisation: str
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """An organisation, by its path."""

    path: str
    title: str


def organisations(connection: Connection, scopes: Iterable[str]) -> tuple[Organisation, ...]:
    """Return the organisations within some scopes, by path."""
    column = identity.organisations.c.path
    within = or_(false(), *((column == scope) | column.startswith(scope + "/", autoescape=True) for scope in scopes))
    found = connection.execute(select(identity.organisations).where(within).order_by(column))
    return tuple(Organisation(path=row.path, title=row.title) for row in found)


def people(connection: Connection, scopes: Iterable[str], *, now: datetime) -> tuple[Person, ...]:
    """Return the people of the organisations within some scopes, by name."""
    paths = [one.path for one in organisations(connection, scopes)]
    ids = connection.execute(select(identity.people.c.id).where(identity.people.c.organisation.in_(paths)).order_by(identity.people.c.name))
    return tuple(_person(identity.load_actor(connection, one, now=now)) for one in ids.scalars())


def names(connection: Connection) -> dict[str, str]:
    """Return everyone's name by id, for showing who did what."""
    return {row.id: row.name for row in connection.execute(select(identity.people.c.id, identity.people.c.name))}


def person(connection: Connection, name_or_id: str, *, now: datetime) -> Person:
    """Return a person by name or id. Raises NotFound."""
    column = identity.people.c
    row = connection.execute(select(column.id).where((column.id == name_or_id) | (column.name == name_or_id))).first()
    if row is None:
        raise NotFound(f"There is no person '{name_or_id[:80]}'.", "Add them with `headwater person add`.")
    return _person(identity.load_actor(connection, row.id, now=now))


def tokens(connection: Connection, person_id: str, *, now: datetime) -> tuple[Issued, ...]:
    """Return a person's live tokens, newest first."""
    column = identity.tokens.c
    query = select(identity.tokens).where(column.person == person_id, column.expires_at > now).order_by(column.created_at.desc())
    return tuple(_issued(row) for row in connection.execute(query))


def make_token(connection: Connection, person: Actor, wish: Wish, *, by: Actor, at: datetime) -> str:
    """Make an API token of a person's and return its text.

    Raises Refused where it would do more than the token of whoever makes it, BadInput where it asks for
    what the person does not hold, NotFound for an unknown organisation.
    """
    asked = Limit(permissions=None if wish.scopes is None else frozenset(map(str, wish.scopes)), organisation=wish.organisation)
    bound = narrowed(by.limit, asked)
    if wish.organisation is not None:
        require_organisation(connection, wish.organisation)
    held = replace(person, limit=Limit(organisation=bound.organisation))
    lacking = sorted(one for one in wish.scopes or () if not held.scopes(one))
    if lacking:
        where = f" in {bound.organisation}" if bound.organisation else ""
        raise BadInput(f"{person.name} does not hold {', '.join(lacking)}{where}.", "Leave it out, or give the role first.", where="scopes")
    lasts = timedelta(days=wish.days)
    return identity.issue_token(connection, person.id, kind="api", label=wish.label, lasts=lasts, at=at, actor=by.id, bound=bound)


def revoke(connection: Connection, token_id: str, *, person_id: str, actor: str, at: datetime) -> None:
    """End a person's token with this id. Raises NotFound where there is none."""
    column = identity.tokens.c
    query = select(identity.tokens).where(column.hash.startswith(token_id, autoescape=True), column.person == person_id)
    found = connection.execute(query).all()
    if len(token_id) < ID_LENGTH or len(found) != 1:
        raise NotFound(f"There is no live token {token_id[:20]}.", "List your tokens on the account page.")
    identity.end_token(connection, found[0].hash, actor=actor, at=at)


def require_organisation(connection: Connection, path: str) -> None:
    """Raise NotFound unless there is such an organisation."""
    if connection.execute(select(identity.organisations.c.path).where(identity.organisations.c.path == path)).first() is None:
        raise NotFound(f"There is no organisation {path[:80]}.", "Add it first.")


def _person(actor: Actor) -> Person:
    return Person(id=actor.id, name=actor.name, organisation=actor.organisation, grants=actor.grants)


def _issued(row: Any) -> Issued:
    kept = limit.from_text(row.permissions)
    return Issued(
        id=row.hash[:ID_LENGTH],
        kind=row.kind,
        label=row.label,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at if row.kind == "session" else None,
        scopes=None if kept is None else tuple(sorted(kept)),
        organisation=row.organisation,
    )
