"""People whom an OpenID provider vouches for: made at their first sign-in, with the roles that their groups give.

A person is known by (issuer, subject), which a provider never gives to another; a name is only shown.
An account made here by hand is never taken over by someone of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, String, Table, insert, select

from headwater.core import identity
from headwater.core.db import metadata
from headwater.core.errors import BadInput, Refused
from headwater.core.identity import ROLES, ROOT, SYSTEM
from headwater.core.settings import Settings
from headwater.server import accounts

SOURCE = "oidc"
NAME_CLAIMS = ("preferred_username", "email", "name", "sub")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

known = Table(
    "provider_person",
    metadata,
    Column("issuer", String(300), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("person", String(64), ForeignKey("person.id"), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Role:
    """A role within an organisation, as a group gives it."""

    role: str
    scope: str


def mapping(settings: Settings) -> Mapping[str, Role]:
    """Return the role of each group. Raises BadInput for a setting that is not `role@organisation` with a role that there is."""
    found = {}
    for group, told in settings.oidc_roles.items():
        role, _, scope = told.partition("@")
        if role not in ROLES or not scope:
            hint = f"Write role@organisation, such as developer@city; roles: {', '.join(ROLES)}."
            raise BadInput(f"'{told}' is no role in an organisation.", hint, where=f"oidc_roles.{group}")
        found[group] = Role(role=role, scope=scope)
    return found


def vouched(connection: Connection, settings: Settings, claims: Mapping[str, Any], *, now: datetime) -> str:
    """Return the id of the person whom checked claims are about, made if need be, with the roles that their groups give now.

    Raises Refused where the claims name no organisation that is here.
    """
    issuer, subject = settings.oidc_issuer, str(claims["sub"])
    query = select(known.c.person).where(known.c.issuer == issuer, known.c.subject == subject)
    person = connection.execute(query).scalar_one_or_none()
    if person is None:
        person = identity.add_person(
            connection, _free_name(connection, claims), _organisation(connection, settings, claims), actor=SYSTEM, at=now
        )
        connection.execute(insert(known).values(issuer=issuer, subject=subject, person=person))
    _hold(connection, str(person), _roles(settings, claims), issuer, now=now)
    return str(person)


def require_role(connection: Connection, person: str, *, now: datetime) -> None:
    """Raise Refused where a person holds no role at all: they could see nothing."""
    actor = identity.load_actor(connection, person, now=now)
    if not actor.grants:
        raise Refused(f"{actor.name} holds no role here.", "Ask an administrator for one: your account is known from now on.")


def _hold(connection: Connection, person: str, wanted: Sequence[Role], issuer: str, *, now: datetime) -> None:
    """Let a person hold these roles by way of the provider, and no other by that way."""
    held = {Role(role=one.role, scope=one.scope): one.id for one in identity.grants_from(connection, person, SOURCE)}
    for gone in sorted(held.keys() - set(wanted)):
        identity.withdraw(connection, held[gone], reason=f"no longer so at {issuer}", actor=SYSTEM, at=now)
    for new in sorted(set(wanted) - held.keys()):
        reason = f"a group at {issuer}"
        identity.grant(connection, person, new.role, new.scope, reason=reason, actor=SYSTEM, at=now, source=SOURCE)


def _roles(settings: Settings, claims: Mapping[str, Any]) -> tuple[Role, ...]:
    groups = claims.get(settings.oidc_groups_claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    given = mapping(settings)
    return tuple(given[one] for one in listed if isinstance(one, str) and one in given)


def _organisation(connection: Connection, settings: Settings, claims: Mapping[str, Any]) -> str:
    claim = settings.oidc_organisation_claim
    if not claim:
        return ROOT
    told = claims.get(claim)
    if not isinstance(told, str):
        raise Refused(f"The provider says nothing of your organisation ({claim}).", "Ask whoever runs the provider to add it.")
    accounts.require_organisation(connection, told)
    return told


def _free_name(connection: Connection, claims: Mapping[str, Any]) -> str:
    """Return a name that nobody has: the first that the claims hold, numbered where it is taken."""
    told = next(claims[one] for one in NAME_CLAIMS if isinstance(claims.get(one), str) and claims[one].strip())
    name = UNPRINTABLE.sub("", told).strip()[:180] or "person"
    column, number, free = identity.people.c.name, 1, name
    while connection.execute(select(column).where(column == free)).first() is not None:
        number += 1
        free = f"{name} ({number})"
    return free
