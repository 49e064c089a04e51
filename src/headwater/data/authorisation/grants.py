"""Grants: taken up from the statements that closed cases issue, and used under their terms, one decision at a time.

Nobody writes a grant here. A case of the procedure `data-authorisation` is decided elsewhere and issues
a signed statement about the data set's identity; this reads it. Revoking that statement ends the grant
at the next use. Each decision is one transaction that holds the grant's row: a count cannot be
overspent, however many ask at once, and the ledger says who was let in, or was not, and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, false, insert, or_, select, update
from sqlalchemy.engine import Row

from headwater.core import evidence, ledger
from headwater.core.calendar import CITY_TIME
from headwater.core.clock import to_text
from headwater.core.errors import BadStatement, NotFound, Refused
from headwater.core.identity import SYSTEM, Decision, covers
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.core.statement import AUTHORISATION
from headwater.data.authorisation.decision import Usage, Use, decide
from headwater.data.authorisation.policy import Action, BadPolicy, Policy, from_odrl, summary
from headwater.data.authorisation.tables import data_grants
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import DataSet, identity_of
from headwater.data.catalogue.vocabulary import Vocabulary, Zone

ACTIONS_OF: Mapping[str, tuple[Action, ...]] = {"read": ("read",), "aggregate": ("aggregate",), "both": ("read", "aggregate")}
SEPARATORS = ",，、;；"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A grant: whose, on what, under which terms, and how often it was used."""

    statement: str
    number: str
    dataset: str | None
    """The data set's id; None where the statement names none of ours."""
    grantee: str
    organisation: str
    """The implementing body: who owns the data set."""
    mode: str
    policy: Policy
    problem: str | None
    """Why it was not taken up as a grant that allows anything."""
    used: int
    refused: int
    taken_up_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Return the grant as JSON values, its terms both plain and as ODRL."""
        told = {name: getattr(self, name) for name in self.__slots__} | {"taken_up_at": to_text(self.taken_up_at)}
        return told | {"policy": self.policy.as_odrl(), "terms": dict(summary(self.policy))}


def take_up(platform: Platform) -> int:
    """Take up the authorisations that were issued since the last time, and return how many there were."""
    now, vocabulary = platform.clock.now(), Vocabulary(platform.settings.data_folder)
    with platform.db.read() as connection:
        if not _new_statements(connection):
            return 0

    def work(connection: Connection) -> int:
        found = _new_statements(connection)
        for digest in found:
            _take_up(connection, digest, vocabulary.zones, now)
        return len(found)

    return platform.db.write(work)


def find(connection: Connection, name: str) -> Grant:
    """Return a grant by its number or its statement's digest. Raises NotFound."""
    row = connection.execute(select(data_grants).where(or_(data_grants.c.number == name, data_grants.c.statement == name))).first()
    if row is None:
        raise NotFound(f"There is no grant '{name[:80]}'.", "List them with `headwater data grants`.")
    return _grant(row)


def listed(
    connection: Connection, *, scopes: Iterable[str] | None = None, dataset: str | None = None, limit: int = 1000
) -> tuple[Grant, ...]:
    """Return grants, the newest first: those that organisations within the scopes gave or hold, of a data set or of all."""
    query = select(data_grants).order_by(data_grants.c.taken_up_at.desc(), data_grants.c.number.desc()).limit(limit)
    if dataset is not None:
        query = query.where(data_grants.c.dataset == dataset)
    if scopes is not None:
        columns = (data_grants.c.organisation, data_grants.c.grantee)
        within = [column.startswith(one + "/", autoescape=True) | (column == one) for one in scopes for column in columns]
        query = query.where(or_(false(), *within))
    return tuple(_grant(row) for row in connection.execute(query))


def standing(connection: Connection, keyring: Keyring, grant: Grant, now: datetime) -> Decision:
    """Return whether a grant stands at all at `now`: taken up, signed, neither revoked nor past its term nor spent."""
    unbroken = unrevoked(connection, keyring, grant, now)
    count = grant.policy.count
    if unbroken.allowed and count is not None and grant.used >= count:
        return Decision(allowed=False, because=f"all {count} uses are spent")
    return unbroken


def unrevoked(connection: Connection, keyring: Keyring, grant: Grant, now: datetime) -> Decision:
    """Return whether a grant is taken up, signed, neither revoked nor past its term: its uses may be spent."""
    if grant.problem is not None:
        return Decision(allowed=False, because=f"the grant was not taken up: {grant.problem}")
    try:
        evidence.check(connection, keyring, evidence.get(connection, grant.statement), now=now)
    except BadStatement as error:
        return Decision(allowed=False, because=str(error))
    if grant.policy.ends_at is not None and now >= grant.policy.ends_at:
        return Decision(allowed=False, because=f"the term ended on {to_text(grant.policy.ends_at)}")
    return Decision(allowed=True, because=f"{grant.number} stands")


def use(platform: Platform, grant: str, dataset: DataSet, wanted: Use, *, actor: str, about: Mapping[str, Any] | None = None) -> Decision:
    """Decide on one use of a data set under a grant, count it if it is allowed, and record the decision.

    `about` says in the ledger what was asked (version, file, query), never its rows. Raises NotFound.
    """
    now = platform.clock.now()
    return platform.db.write(
        lambda connection: used(connection, platform.keyring, grant, dataset, wanted, actor=actor, at=now, about=about)
    )


def used(
    connection: Connection,
    keyring: Keyring,
    grant: str,
    dataset: DataSet,
    wanted: Use,
    *,
    actor: str,
    at: datetime,
    about: Mapping[str, Any] | None = None,
) -> Decision:
    """Decide on a use in the caller's transaction; see `use`."""
    key = find(connection, grant).statement
    connection.execute(select(data_grants.c.statement).where(data_grants.c.statement == key).with_for_update()).one()
    held = find(connection, key)
    decision = _weighed(connection, keyring, held, dataset, wanted, at)
    counted = {"used": held.used + 1} if decision.allowed else {"refused": held.refused + 1}
    connection.execute(update(data_grants).where(data_grants.c.statement == key).values(**counted))
    body = {"grant": held.number, "dataset": dataset.name, "because": decision.because, "count": held.used + decision.allowed}
    body |= {name: getattr(wanted, name) for name in wanted.__slots__} | dict(about or {})
    kind = "data.use.allowed" if decision.allowed else "data.use.refused"
    ledger.append(connection, kind, subject=key, actor=actor, at=at, body=body)
    return decision


def require(platform: Platform, grant: str, dataset: DataSet, wanted: Use, *, actor: str, about: Mapping[str, Any] | None = None) -> None:
    """Raise Refused with every reason unless the use is allowed; either way it is recorded."""
    decision = use(platform, grant, dataset, wanted, actor=actor, about=about)
    if not decision.allowed:
        raise Refused(f"The grant does not allow this: {decision.because}.", "Apply for other terms.")


def _weighed(connection: Connection, keyring: Keyring, grant: Grant, dataset: DataSet, wanted: Use, at: datetime) -> Decision:
    if grant.dataset != dataset.id:
        return Decision(allowed=False, because=f"the grant {grant.number} is about another data set")
    if dataset.withdrawn_at is not None:
        return Decision(allowed=False, because=f"the data set was withdrawn: {dataset.withdrawn_because}")
    stands = standing(connection, keyring, grant, at)
    return decide(grant.policy, wanted, Usage(count=grant.used), at) if stands.allowed else stands


def _new_statements(connection: Connection) -> list[str]:
    held, column = data_grants.c.statement, evidence.statements.c
    query = select(column.digest).where(column.predicate_type == AUTHORISATION, column.digest.not_in(select(held)))
    return list(connection.execute(query.order_by(column.issued_at, column.digest)).scalars())


def _take_up(connection: Connection, digest: str, zones: Mapping[str, Zone], at: datetime) -> None:
    """Enter one authorisation, with the reason where it cannot be a grant."""
    told = evidence.get(connection, digest).statement
    fields = told.predicate.get("fields")
    fields = fields if isinstance(fields, dict) else {}
    try:
        dataset = sets.find(connection, str(fields.get("dataset")))
    except NotFound:
        dataset = None
    policy, problems = terms_of(told.predicate, fields, dataset)
    if dataset is not None:
        if not told.is_about(identity_of(dataset.id)):
            problems.append(f"the statement is not about the identity of '{dataset.name}'")
        problems += beyond(policy, dataset, zones.get(dataset.zone or ""), str(fields.get("mode")))
    row = {
        "statement": digest,
        "number": str(told.predicate.get("number") or digest)[:80],
        "dataset": dataset.id if dataset else None,
        "grantee": policy.assignee,
        "organisation": policy.assigner,
        "mode": str(fields.get("mode"))[:12],
        "policy": policy.as_odrl(),
        "problem": "; ".join(problems) or None,
    }
    connection.execute(insert(data_grants).values(used=0, refused=0, taken_up_at=at, **row))
    kind = "data.grant.rejected" if problems else "data.grant.taken_up"
    ledger.append(connection, kind, subject=digest, actor=SYSTEM, at=at, body={name: row[name] for name in row if name != "statement"})


def terms_of(predicate: Mapping[str, Any], fields: Mapping[str, Any], dataset: DataSet | None) -> tuple[Policy, list[str]]:
    """Return the terms that an authorisation states, and what is wrong with them; terms that cannot be read allow nothing. Pure."""
    problems = [] if dataset is not None else [f"there is no data set '{str(fields.get('dataset'))[:100]}'"]
    actions = ACTIONS_OF.get(str(fields.get("actions")), ())
    if not actions:
        problems.append("it states no action")
    nothing = Policy(
        uid=f"urn:headwater:grant:{predicate.get('number')}"[:300],
        dataset=dataset.id if dataset else str(UUID(int=0)),
        assigner=dataset.organisation if dataset else "unknown",
        assignee="unknown",
        actions=actions or ("aggregate",),
        count=0,
    )
    try:
        policy = replace(
            nothing,
            assignee=str(predicate.get("organisation")),
            purposes=_split(fields.get("purposes")),
            recipients=_split(fields.get("recipients")),
            starts_at=_day(fields.get("term_from")),
            ends_at=_day(fields.get("term_until"), after=True),
            count=fields.get("uses"),
            regions=_split(fields.get("regions")),
            fee_ceiling_fen=fields.get("fee_ceiling_fen"),
        )
        return from_odrl(policy.as_odrl()), problems
    except BadPolicy as error:
        return nothing, [*problems, *(problem.what for problem in error.problems)]
    except (TypeError, ValueError, OverflowError) as error:
        return nothing, [*problems, f"its terms cannot be read: {error}"]


def beyond(policy: Policy, dataset: DataSet, zone: Zone | None, mode: str) -> list[str]:
    """Return how terms go further than the data set and its zone allow. Pure."""
    return list(_beyond(policy, dataset, zone, mode))


def _beyond(policy: Policy, dataset: DataSet, zone: Zone | None, mode: str) -> Iterator[str]:
    if mode != dataset.openness:
        yield f"it is for {mode} use, and the data set is {dataset.openness}"
    if policy.starts_at is None or policy.ends_at is None:
        yield "it states no term"
    elif policy.ends_at <= policy.starts_at:
        yield "its term ends before it begins"
    elif zone is not None and policy.ends_at - policy.starts_at > timedelta(days=zone.longest_days):
        yield f"its term is longer than the {zone.longest_days} days of the zone {zone.id}"
    if zone is None:
        return
    if not policy.purposes or (strange := [one for one in policy.purposes if one not in zone.purposes]):
        yield f"the zone {zone.id} takes the purposes {', '.join(zone.purposes)}, not {', '.join(strange) if policy.purposes else 'none'}"
    if not policy.regions or not set(policy.regions) <= set(zone.regions):
        yield f"the zone {zone.id} takes the regions {', '.join(zone.regions)}, not {', '.join(policy.regions) or 'none'}"
    if policy.count is None or policy.count > zone.largest_count:
        yield f"the zone {zone.id} allows {zone.largest_count} uses, not {policy.count if policy.count is not None else 'any number'}"


def holders_scope(grant: Grant, organisation: str) -> bool:
    """Tell whether an organisation is among those who may use a grant."""
    return any(covers(one, organisation) for one in grant.policy.recipients or (grant.policy.assignee,))


def _split(value: Any) -> tuple[str, ...]:
    text = str(value or "")
    for one in SEPARATORS:
        text = text.replace(one, " ")
    return tuple(dict.fromkeys(text.split()))


def _day(value: Any, *, after: bool = False) -> datetime | None:
    """Return the city's midnight at the start of a day, or at its end."""
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        return None
    return datetime.combine(day + timedelta(days=1 if after else 0), time(), CITY_TIME)


def _grant(row: Row[Any]) -> Grant:
    return Grant(**(row._asdict() | {"policy": from_odrl(row.policy)}))
