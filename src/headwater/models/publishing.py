"""Publishing, serving and retiring models: each one transaction with its statement and ledger entry.

Every change is keyed by the job that asks for it, so that a step which runs again after a crash
changes nothing more.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.core import evidence, identity, ledger
from headwater.core.errors import BadInput, Conflict, GateClosed, NotFound, Refused
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.core.statement import PUBLICATION, Statement, Subject
from headwater.models import gate, policy
from headwater.models.gate import Decision, Request
from headwater.models.hub import Model, Version, deployments, evidence_for, get, models, versions
from headwater.models.policy import Grade, Policy, RiskClass

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is to be published: a model under a name, for a class of risk, by whom and for which job."""

    name: str
    digest: str
    risk_class: RiskClass
    organisation: str
    actor: str
    job: str
    declared: Mapping[str, Grade] = field(default_factory=dict)
    title: Mapping[str, str] = field(default_factory=dict)

    @property
    def request(self) -> Request:
        """What the gate is asked."""
        return Request(model=self.digest, risk_class=self.risk_class, declared=self.declared)


def publish(platform: Platform, wish: Publication, rules: Policy | None = None) -> Version:
    """Admit a model through the gate and return its version.

    A second call for the same job, or with the same model and terms as a version that is not retired,
    returns that version once the gate has opened again. A refusal is entered in the ledger. Raises
    GateClosed with every reason, BadInput for a bad name, Refused for another organisation's name.
    """
    if not _NAME.fullmatch(wish.name):
        raise BadInput(f"'{wish.name[:80]}' is not a model's name.", "Use 2 to 64 lower-case letters, digits and hyphens, a letter first.")
    rules, now = rules or policy.shipped(), platform.clock.now()

    def work(connection: Connection) -> tuple[Decision, Version | None]:
        _check_owner(connection, wish)
        decision = gate.decide(evidence_for(connection, platform.keyring, wish.digest, rules, now=now), rules, wish.request)
        if not decision.allowed:
            body = {"digest": wish.digest, "risk_class": wish.risk_class, "reasons": list(decision.reasons), "job": wish.job}
            ledger.append(connection, "model.refused", subject=wish.name, actor=wish.actor, at=now, body=body)
            return decision, None
        model = _named(connection, wish, now)
        terms = Terms(decision=decision, policy=rules, at=now)
        return decision, _same(model, wish) or _admit(connection, platform.keyring, model, wish, terms)

    decision, version = platform.db.write(work)
    if version is None:
        raise closed(f"'{wish.name}' is not admitted as {wish.risk_class}", decision)
    return version


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what a version is admitted: the gate's decision, the policy, and when."""

    decision: Decision
    policy: Policy
    at: datetime


def serve(platform: Platform, name: str, *, job: str, actor: str, number: int | None = None) -> Model:
    """Make a version of a model (the newest that is not retired, unless named) the one that answers, and return the model.

    A second call for the same job changes nothing. Raises NotFound, Conflict for a retired version,
    GateClosed where the version would not be admitted today.
    """
    rules, now = policy.shipped(), platform.clock.now()

    def work(connection: Connection) -> Model:
        connection.execute(select(models.c.name).where(models.c.name == name).with_for_update()).one_or_none()
        model = get(connection, name)
        if connection.execute(select(deployments.c.job).where(deployments.c.job == job)).first() is not None:
            return model
        version = _to_serve(model, number)
        standing(connection, platform.keyring, version, rules, now=now)
        _end(connection, name, now, f"version {version.number} took over")
        row = {"job": job, "model": name, "version": version.number}
        connection.execute(insert(deployments).values(started_by=actor, started_at=now, **row))
        ledger.append(connection, "model.served", subject=name, actor=actor, at=now, body=row | {"digest": version.digest})
        return get(connection, name)

    return platform.db.write(work)


def retire(platform: Platform, name: str, number: int, *, reason: str, actor: str) -> Model:
    """Take a version out of use: it stops answering, and its publication is revoked. Retiring it twice changes nothing. Raises NotFound."""
    if not reason.strip():
        raise BadInput("Retiring a version needs a reason.", "Give one.")
    now = platform.clock.now()

    def work(connection: Connection) -> Model:
        model = get(connection, name)
        version = model.version(number)
        if version.retired_at is not None:
            return model
        row = update(versions).where(versions.c.model == name, versions.c.number == number)
        connection.execute(row.values(retired_at=now, retired_because=reason))
        if model.served == number:
            _end(connection, name, now, f"retired: {reason}")
        evidence.revoke(connection, platform.keyring, version.publication, reason=reason, actor=actor, now=now)
        body = {"version": number, "digest": version.digest, "reason": reason}
        ledger.append(connection, "model.retired", subject=name, actor=actor, at=now, body=body)
        return get(connection, name)

    return platform.db.write(work)


def weigh(connection: Connection, keyring: Keyring, version: Version, rules: Policy, *, now: datetime) -> Decision:
    """Return the gate's decision on a published version as the evidence stands now, its own publication included."""
    found = evidence_for(connection, keyring, version.digest, rules, now=now)
    decision = gate.decide(found, rules, version.request)
    reasons = list(decision.reasons)
    if version.retired_at is not None:
        reasons.append(f"it was retired: {version.retired_because}")
    try:
        evidence.check(connection, keyring, evidence.get(connection, version.publication), now=now, artifact=version.digest)
    except Refused as error:
        reasons.append(str(error))
    return replace(decision, allowed=not reasons, reasons=tuple(reasons))


def standing(connection: Connection, keyring: Keyring, version: Version, rules: Policy, *, now: datetime) -> Decision:
    """Return the decision on a version that may answer. Raises GateClosed with every reason where it may not."""
    decision = weigh(connection, keyring, version, rules, now=now)
    if not decision.allowed:
        raise closed(f"'{version.model}' version {version.number} may not answer", decision)
    return decision


def closed(what: str, decision: Decision) -> GateClosed:
    """Return the error that says why the gate is shut."""
    listed = "\n".join(f"  - {reason}" for reason in decision.reasons)
    return GateClosed(f"{what}:\n{listed}\n", "Bring what is missing, then try again.", reasons=list(decision.reasons))


def _check_owner(connection: Connection, wish: Publication) -> None:
    owner = connection.execute(select(models.c.organisation).where(models.c.name == wish.name)).scalar_one_or_none()
    if owner is not None and not identity.covers(wish.organisation, owner):  # the owner, or a body above it
        raise Refused(f"The name '{wish.name}' belongs to {owner}.", "Choose another name.")


def _named(connection: Connection, wish: Publication, at: datetime) -> Model:
    """Return the model of that name, made if it is new, and kept from other writers until this transaction ends."""
    row = {"name": wish.name, "organisation": wish.organisation, "title": dict(wish.title) or {"zh": wish.name, "en": wish.name}}
    if connection.execute(select(models.c.name).where(models.c.name == wish.name)).first() is None:
        with contextlib.suppress(IntegrityError), connection.begin_nested():  # another writer made it between the look and the insert
            connection.execute(insert(models).values(created_by=wish.actor, created_at=at, **row))
    connection.execute(select(models.c.name).where(models.c.name == wish.name).with_for_update()).one()
    _check_owner(connection, wish)
    return get(connection, wish.name)


def _same(model: Model, wish: Publication) -> Version | None:
    """Return the version that this wish made before, or one with the same model and terms."""
    terms = (wish.digest, wish.risk_class, dict(wish.declared))
    for one in model.versions:
        if one.job == wish.job or (one.retired_at is None and (one.digest, one.risk_class, dict(one.declared)) == terms):
            return one
    return None


def _admit(connection: Connection, keyring: Keyring, model: Model, wish: Publication, terms: Terms) -> Version:
    number = max((one.number for one in model.versions), default=0) + 1
    decision = terms.decision
    told = {"declared": dict(wish.declared), "grades": dict(decision.grades), "statements": dict(decision.statements)}
    predicate = told | {
        "name": wish.name,
        "version": number,
        "riskClass": wish.risk_class,
        "minimum": dict(decision.minimum),
        "policy": {"id": terms.policy.id, "version": terms.policy.version, "digest": terms.policy.digest},
        "organisation": model.organisation,
    }
    subject = Subject(name=f"{wish.name}/{number}", digest=wish.digest)
    claim = Statement(subjects=(subject,), predicate_type=PUBLICATION, predicate=predicate, issued_at=terms.at)
    publication = evidence.issue(connection, keyring, claim, actor=wish.actor).digest
    row = {"model": wish.name, "number": number, "digest": wish.digest, "risk_class": wish.risk_class, "policy": terms.policy.digest}
    row |= {"publication": publication, "job": wish.job, "published_by": wish.actor}
    connection.execute(insert(versions).values(published_at=terms.at, **row, **told))
    body = {"version": number, "digest": wish.digest, "risk_class": wish.risk_class, "publication": publication, "grades": told["grades"]}
    ledger.append(connection, "model.published", subject=wish.name, actor=wish.actor, at=terms.at, body=body)
    return get(connection, wish.name).version(number)


def _to_serve(model: Model, number: int | None) -> Version:
    if number is not None:
        version = model.version(number)
        if version.retired_at is not None:
            raise Conflict(f"Version {number} of '{model.name}' was retired: {version.retired_because}.", "Serve another.")
        return version
    live = [one for one in model.versions if one.retired_at is None]
    if not live:
        raise NotFound(f"'{model.name}' has no version that is not retired.", "Publish one.")
    return live[0]


def _end(connection: Connection, name: str, at: datetime, because: str) -> None:
    row = update(deployments).where(deployments.c.model == name, deployments.c.ended_at.is_(None))
    connection.execute(row.values(ended_at=at, ended_because=because))
