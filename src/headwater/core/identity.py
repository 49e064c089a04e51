"""Who may do what: organisations, people, roles in a scope, and tokens kept only as hashes.

Permissions are a closed list of `room.verb`; a role is a named set of them; a grant gives a person a
role within one organisation's path (`city/org` covers `city/org/team`), with a reason and an end.
A token may be limited to less than its person may do. `decide` is the one place where a permission is
weighed, and says why.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import Column, Connection, ForeignKey, Index, Row, String, Table, Text, bindparam, delete, insert, select, update

from headwater.core import ledger, limit
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput, Conflict, NotFound, NotSignedIn, Refused
from headwater.core.limit import NO_LIMIT, Limit
from headwater.core.limit import covers as covers

ROOT = "city"
SYSTEM = "system"
"""The actor named in the ledger where the platform itself acts."""


class Permission(StrEnum):
    """Everything that can be permitted."""

    PLAN_READ = "plan.read"
    PROJECTS_READ = "projects.read"
    PROJECTS_RUN = "projects.run"
    COMPUTE_READ = "compute.read"
    COMPUTE_CANCEL = "compute.cancel"
    COMPUTE_QUOTA = "compute.quota"
    COMPUTE_SITES = "compute.sites"
    USAGE_READ = "usage.read"
    SETTLEMENT_MANAGE = "settlement.manage"
    ARTIFACTS_READ = "artifacts.read"
    MODELS_READ = "models.read"
    MODELS_PREDICT = "models.predict"
    MODELS_RETIRE = "models.retire"
    STATEMENTS_READ = "statements.read"
    STATEMENTS_REVOKE = "statements.revoke"
    DATA_READ = "data.read"
    DATA_PUBLISH = "data.publish"
    DATA_PLAN = "data.plan"
    DATA_DECIDE = "data.decide"
    DATA_QUERY = "data.query"
    CASES_READ = "programmes.read"
    CASES_DECIDE = "programmes.decide"
    LEDGER_READ = "ledger.read"
    IDENTITY_MANAGE = "identity.manage"
    METRICS_READ = "metrics.read"


_READ = frozenset(p for p in Permission if p.endswith(".read") and p not in (Permission.LEDGER_READ, Permission.METRICS_READ))

ROLES: dict[str, frozenset[Permission]] = {
    "viewer": _READ,
    "developer": _READ
    | {Permission.PROJECTS_RUN, Permission.COMPUTE_CANCEL, Permission.MODELS_PREDICT, Permission.DATA_PUBLISH, Permission.DATA_QUERY},
    "caller": frozenset({Permission.MODELS_PREDICT}),
    "evaluator": _READ | {Permission.STATEMENTS_REVOKE, Permission.LEDGER_READ},
    "officer": _READ | {Permission.CASES_DECIDE, Permission.DATA_PLAN, Permission.DATA_DECIDE, Permission.LEDGER_READ},
    "operator": _READ
    | {
        Permission.COMPUTE_CANCEL,
        Permission.COMPUTE_QUOTA,
        Permission.COMPUTE_SITES,
        Permission.SETTLEMENT_MANAGE,
        Permission.MODELS_RETIRE,
        Permission.LEDGER_READ,
        Permission.METRICS_READ,
    },
    "auditor": _READ | {Permission.LEDGER_READ, Permission.METRICS_READ},
    "admin": frozenset(Permission),
}

organisations = Table(
    "organisation",
    metadata,
    Column("path", String(200), primary_key=True),
    Column("title", String(200), nullable=False),
)
people = Table(
    "person",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("organisation", String(200), ForeignKey("organisation.path"), nullable=False),
)
grants = Table(
    "role_grant",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("person", String(64), ForeignKey("person.id"), nullable=False),
    Column("role", String(40), nullable=False),
    Column("scope", String(200), ForeignKey("organisation.path"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("expires_at", UtcTime),
    Column("source", String(20)),
    Index("ix_role_grant_person", "person"),
)
tokens = Table(
    "token",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("person", String(64), ForeignKey("person.id"), nullable=False),
    Column("label", String(200), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("made_from", String(64)),
    Column("permissions", Text),
    Column("organisation", String(200)),
    Column("used_at", UtcTime),
    Index("ix_token_person", "person"),
    Index("ix_token_made_from", "made_from"),
)
_SPEAKING = (
    select(
        *(tokens.c[name] for name in ("kind", "person", "created_at", "expires_at", "used_at", "permissions")),
        tokens.c.organisation.label("within"),
        people.c.name,
        people.c.organisation,
        grants.c.role,
        grants.c.scope,
        grants.c.expires_at.label("until"),
    )
    .join(people, people.c.id == tokens.c.person)
    .outerjoin(grants, grants.c.person == people.c.id)
    .where(tokens.c.hash == bindparam("hash"))
    .order_by(grants.c.id)
)
"""Whom a token speaks for, with a row for each grant: one question, as every request asks it."""

TokenKind = Literal["api", "session", "once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role that a person holds within a scope."""

    role: str
    scope: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who is asking: a person with the grants that hold now."""

    id: str
    name: str
    organisation: str
    grants: tuple[Grant, ...]
    limit: Limit = NO_LIMIT
    """What the token with which they ask may do at most."""
    token: str = ""
    """That token's hash, which tells nothing of the token."""
    used_at: datetime | None = None
    """When the token was last noted as used: sessions only."""

    def scopes(self, permission: Permission) -> tuple[str, ...]:
        """Return the organisation paths in which the actor has a permission: what lists are filtered by."""
        if not self.limit.names(permission):
            return ()
        within = {self.limit.within(grant.scope) for grant in self.grants if permission in ROLES[grant.role]}
        return tuple(sorted(scope for scope in within if scope is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether something is allowed, and because of what."""

    allowed: bool
    because: str


def decide(actor: Actor, permission: Permission, organisation: str) -> Decision:
    """Return whether the actor may do this in that organisation, and why. Pure."""
    if not actor.limit.allows(permission, organisation):
        return Decision(allowed=False, because=f"this token may not {permission} in {organisation}: it is limited to {actor.limit}")
    for grant in actor.grants:
        if permission in ROLES[grant.role] and covers(grant.scope, organisation):
            return Decision(allowed=True, because=f"{actor.name} is {grant.role} in {grant.scope}")
    enough = ", ".join(sorted(role for role, allowed in ROLES.items() if permission in allowed))
    return Decision(allowed=False, because=f"{actor.name} may not {permission} in {organisation}; roles that may: {enough}")


def require(actor: Actor, permission: Permission, organisation: str) -> None:
    """Raise Refused unless the actor may do this in that organisation."""
    decision = decide(actor, permission, organisation)
    if not decision.allowed:
        hint = "Use a token without that limit." if actor.limit.bounds else "Ask an administrator for the role."
        raise Refused(f"{decision.because}.", hint, permission=str(permission))


def add_organisation(connection: Connection, path: str, title: str, *, actor: str, at: datetime) -> None:
    """Add an organisation below an existing one. Raises BadInput, NotFound, Conflict."""
    parts = path.split("/")
    if not all(part and part.isascii() and part.replace("-", "").isalnum() for part in parts) or len(path) > 200:
        raise BadInput(f"'{path[:200]}' is not an organisation path.", "Use lower-case names joined by /, such as city/haidian/lab.")
    if connection.execute(select(organisations.c.path).where(organisations.c.path == path)).first():
        raise Conflict(f"The organisation {path} exists.", "Choose another path.")
    parent = "/".join(parts[:-1])
    if parent and not connection.execute(select(organisations.c.path).where(organisations.c.path == parent)).first():
        raise NotFound(f"There is no organisation {parent}.", "Add it first.")
    connection.execute(insert(organisations).values(path=path, title=title))
    ledger.append(connection, "organisation.added", subject=path, actor=actor, at=at, body={"title": title})


def add_person(connection: Connection, name: str, organisation: str, *, actor: str, at: datetime) -> str:
    """Add a person and return their id. Raises NotFound, Conflict."""
    if not connection.execute(select(organisations.c.path).where(organisations.c.path == organisation)).first():
        raise NotFound(f"There is no organisation {organisation}.", "Add it first.")
    if connection.execute(select(people.c.id).where(people.c.name == name)).first():
        raise Conflict(f"There is a person named {name}.", "Names are unique: add a department or a number.")
    person = uuid.uuid4().hex
    connection.execute(insert(people).values(id=person, name=name, organisation=organisation))
    ledger.append(connection, "person.added", subject=person, actor=actor, at=at, body={"organisation": organisation})
    return person


def grant(
    connection: Connection,
    person: str,
    role: str,
    scope: str,
    *,
    reason: str,
    actor: str,
    at: datetime,
    expires_at: datetime | None = None,
    source: str | None = None,
) -> None:
    """Give a person a role within a scope. Raises BadInput for an unknown role, NotFound for an unknown scope.

    `source` names what keeps the grant up to date, where something does: see `grants_from`.
    """
    if role not in ROLES:
        raise BadInput(f"There is no role '{role}'.", f"Roles: {', '.join(ROLES)}.")
    if not connection.execute(select(organisations.c.path).where(organisations.c.path == scope)).first():
        raise NotFound(f"There is no organisation {scope[:200]}.", "Add it first.")
    values = {"person": person, "role": role, "scope": scope, "reason": reason, "expires_at": expires_at, "source": source}
    connection.execute(insert(grants).values(id=uuid.uuid4().hex, **values))
    ledger.append(connection, "role.granted", subject=person, actor=actor, at=at, body={"role": role, "scope": scope, "reason": reason})


def grants_from(connection: Connection, person: str, source: str) -> list[Row[Any]]:
    """Return the rows (id, role, scope) of a person's grants that some source gave."""
    column = grants.c
    query = select(column.id, column.role, column.scope).where(column.person == person, column.source == source)
    return list(connection.execute(query))


def withdraw(connection: Connection, grant_id: str, *, reason: str, actor: str, at: datetime) -> None:
    """Take a role away by its grant's id. Raises NotFound."""
    row = connection.execute(select(grants).where(grants.c.id == grant_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such grant.")
    connection.execute(delete(grants).where(grants.c.id == grant_id))
    body = {"role": row.role, "scope": row.scope, "reason": reason}
    ledger.append(connection, "role.withdrawn", subject=row.person, actor=actor, at=at, body=body)


def issue_token(
    connection: Connection,
    person: str,
    *,
    kind: TokenKind,
    label: str,
    lasts: timedelta,
    at: datetime,
    actor: str = SYSTEM,
    made_from: str | None = None,
    bound: Limit = NO_LIMIT,
) -> str:
    """Make a token and return its text, which is shown this once: only its hash is kept. Expired tokens are cleared away.

    `made_from` is the hash of the token with which it ends; `bound` is what it may do at most.
    """
    connection.execute(delete(tokens).where(tokens.c.expires_at <= at))
    text = f"hw_{kind}_{secrets.token_urlsafe(32)}"
    values = {"kind": kind, "person": person, "label": label[:200], "created_at": at, "expires_at": at + lasts, "used_at": at}
    held = {"permissions": limit.to_text(bound.permissions), "organisation": bound.organisation}
    connection.execute(insert(tokens).values(hash=token_hash(text), made_from=made_from, **values, **held))
    body = {"kind": kind, "label": label[:200]} | ({"limit": str(bound)} if bound.bounds else {})
    ledger.append(connection, "token.issued", subject=person, actor=actor, at=at, body=body)
    return text


def actor_of(connection: Connection, token: str, *, now: datetime, kinds: tuple[TokenKind, ...], idle: timedelta | None = None) -> Actor:
    """Return who a token speaks for. Raises NotSignedIn for one that is unknown, expired, of another kind, or a session left idle."""
    name = token_hash(token)
    rows = connection.execute(_SPEAKING, {"hash": name}).all()
    if not rows or rows[0].kind not in kinds:
        raise NotSignedIn("This token is not known here.", "Sign in again, or have a new one issued.")
    row = rows[0]
    if row.expires_at <= now:
        raise NotSignedIn("This token has expired.", "Sign in again, or have a new one issued.")
    used_at = (row.used_at or row.created_at) if row.kind == "session" else None
    if used_at is not None and idle is not None and used_at + idle <= now:
        raise NotSignedIn(f"This session was not used for {idle.total_seconds() / 60:g} minutes.", "Sign in again.")
    bound = Limit(permissions=limit.from_text(row.permissions), organisation=row.within)
    return Actor(
        id=row.person,
        name=row.name,
        organisation=bound.within(row.organisation) or row.organisation,
        grants=_holding(((one.role, one.scope, one.until) for one in rows if one.role), now),
        limit=bound,
        token=name,
        used_at=used_at,
    )


def _holding(held: Iterable[Any], now: datetime) -> tuple[Grant, ...]:
    """Return the grants (role, scope, end) that hold at a time."""
    return tuple(Grant(role=role, scope=scope, expires_at=until) for role, scope, until in held if until is None or until > now)


def note_use(connection: Connection, name: str, *, now: datetime) -> None:
    """Note that the session of this hash is in use."""
    connection.execute(update(tokens).where(tokens.c.hash == name).values(used_at=now))


def name_of(connection: Connection, person: str) -> str:
    """Return a person's name, "" for one who is not known, such as the platform itself."""
    return connection.execute(select(people.c.name).where(people.c.id == person)).scalar() or ""


def load_actor(connection: Connection, person: str, *, now: datetime) -> Actor:
    """Return a person with the grants that hold at `now`. Raises NotFound."""
    row = connection.execute(select(people).where(people.c.id == person)).one_or_none()
    if row is None:
        raise NotFound("There is no such person.")
    held = connection.execute(
        select(grants.c.role, grants.c.scope, grants.c.expires_at).where(grants.c.person == person).order_by(grants.c.id)
    )
    return Actor(id=row.id, name=row.name, organisation=row.organisation, grants=_holding(held, now))


def open_session(connection: Connection, token: str, *, now: datetime, lasts: timedelta) -> str:
    """Return a session token for an API token; the session ends with it at the latest. Raises NotSignedIn."""
    actor, name = actor_of(connection, token, now=now, kinds=("api",)), token_hash(token)
    ends_at = connection.execute(select(tokens.c.expires_at).where(tokens.c.hash == name)).scalar_one()
    lasts, bound = min(lasts, ends_at - now), actor.limit
    return issue_token(
        connection, actor.id, kind="session", label="sign-in", lasts=lasts, at=now, actor=actor.id, made_from=name, bound=bound
    )


def spend_once_token(connection: Connection, token: str, *, now: datetime, session_lasts: timedelta) -> str:
    """Change a one-time token for a session token, in one transaction. Raises NotSignedIn where it was spent."""
    actor = actor_of(connection, token, now=now, kinds=("once",))
    spent = connection.execute(delete(tokens).where(tokens.c.hash == token_hash(token)))
    if spent.rowcount != 1:
        raise NotSignedIn("This link was used before.", "Have a new one printed: headwater admin-link.")
    return issue_token(connection, actor.id, kind="session", label="one-time link", lasts=session_lasts, at=now, actor=actor.id)


def revoke_token(connection: Connection, token: str, *, actor: str, at: datetime) -> None:
    """End a token now, and the sessions opened with it. Ending it twice changes nothing."""
    end_token(connection, token_hash(token), actor=actor, at=at)


def end_token(connection: Connection, name: str, *, actor: str, at: datetime) -> None:
    """End the token of this hash; see `revoke_token`."""
    row = connection.execute(select(tokens.c.person, tokens.c.kind).where(tokens.c.hash == name)).one_or_none()
    if row is not None:
        connection.execute(delete(tokens).where((tokens.c.hash == name) | (tokens.c.made_from == name)))
        ledger.append(connection, "token.revoked", subject=row.person, actor=actor, at=at, body={"kind": row.kind})


def end_sessions(connection: Connection, person: str, *, actor: str, at: datetime, keep: str = "", with_tokens: bool = False) -> int:
    """End a person's sessions and one-time links, but the one whose token has the hash `keep`, and return how many.

    With `with_tokens` their API tokens end too.
    """
    of_person = (tokens.c.person == person) & (tokens.c.hash != keep)
    ending = of_person if with_tokens else of_person & (tokens.c.kind != "api")
    count = connection.execute(delete(tokens).where(ending)).rowcount
    if count:
        ledger.append(connection, "sessions.ended", subject=person, actor=actor, at=at, body={"count": count})
    return count


def found(connection: Connection, *, at: datetime) -> str:
    """Make the root organisation and its first administrator if there are none, and return the administrator's id."""
    row = connection.execute(select(people.c.id).where(people.c.name == "administrator")).one_or_none()
    if row is not None:
        return str(row.id)
    add_organisation(connection, ROOT, "City", actor=SYSTEM, at=at)
    person = add_person(connection, "administrator", ROOT, actor=SYSTEM, at=at)
    grant(connection, person, "admin", ROOT, reason="first administrator of this platform", actor=SYSTEM, at=at)
    return person


def token_hash(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
