"""Changing cases: open, fill in, decide, let the automatic rule decide, record what is overdue.

Each change is one transaction that appends the engine's events to the case, carries out their
effects, and enters the ledger. A writer names the version it saw; one that comes too late is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from headwater.core import canonical, identity, ledger
from headwater.core.errors import Conflict, LimitExceeded, NotFound
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.programmes import engine, register
from headwater.programmes.cases import Record, case_events, cases, facts_of, get, keep_definition
from headwater.programmes.definition import Definition
from headwater.programmes.engine import RULE, Case, Event, Move, Party

LARGEST_FORM = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCase:
    """A case to open: under which procedure, for which organisation, with what filled in, for which job (the idempotency key)."""

    definition: Definition
    organisation: str
    fields: Mapping[str, Any]
    who: Party
    job: str | None = None


def open_case(platform: Platform, new: NewCase) -> Record:
    """Open a case and return it. A second call for the same job returns the first one's case. Raises as `engine.opening`."""
    return platform.db.write(lambda connection: opened(connection, new, at=platform.clock.now()))


def fill(platform: Platform, case: str, fields: Mapping[str, Any], who: Party, *, version: int) -> Record:
    """Fill in or change fields. Raises Conflict where the case has moved on from `version`, else as `engine.filling`."""

    def work(connection: Connection) -> Record:
        record = _locked(connection, case, version=version)
        event = engine.filling(record.definition, record.case, fields, who, at=platform.clock.now())
        return _changed(connection, platform.keyring, record, event)

    return platform.db.write(work)


def decide(platform: Platform, case: str, wish: Move, *, version: int) -> Record:
    """Make a transition with its effects. Raises Conflict where the case has moved on from `version`, else as `engine.moving`."""
    return platform.db.write(lambda connection: moved(connection, platform.keyring, _locked(connection, case, version=version), wish))


def check(platform: Platform, case: str, *, version: int) -> Record:
    """Let the procedure's automatic rule decide. Raises Conflict where it has nothing to decide, GateClosed with all that is missing."""
    now = platform.clock.now()
    return platform.db.write(lambda connection: checked(connection, platform.keyring, _locked(connection, case, version=version), at=now))


def file_at_once(platform: Platform, new: NewCase, *, submit: str) -> Record:
    """Open a case, submit it, and let the automatic rule decide, all in one transaction: whole or not at all.

    A second call for the same job returns the first one's case. Raises GateClosed naming everything that is missing.
    """
    now = platform.clock.now()

    def work(connection: Connection) -> Record:
        record = opened(connection, new, at=now)
        if record.case.state != record.definition.initial:
            return record
        record = moved(connection, platform.keyring, record, Move(transition=submit, who=new.who, at=now))
        return checked(connection, platform.keyring, record, at=now)

    return platform.db.write(work)


def record_overdue(platform: Platform) -> int:
    """Enter every clock that has run out, take the action that the procedure names, and return how many there were."""

    def work(connection: Connection) -> int:
        now = platform.clock.now()
        open_cases = connection.execute(select(cases.c.id).order_by(cases.c.id)).scalars().all()
        return sum(_expire(connection, platform.keyring, _locked(connection, case), now=now) for case in open_cases)

    return platform.db.write(work)


def opened(connection: Connection, new: NewCase, *, at: datetime) -> Record:
    """Open a case in the caller's transaction; see `open_case`."""
    if new.job is not None:
        known = connection.execute(select(cases.c.id).where(cases.c.job == new.job)).scalar_one_or_none()
        if known is not None:
            return get(connection, known)
    if connection.execute(select(identity.organisations.c.path).where(identity.organisations.c.path == new.organisation)).first() is None:
        raise NotFound(f"There is no organisation {new.organisation[:200]}.", "Add it first.")
    event = engine.opening(new.definition, new.fields, new.who, at=at)
    case = engine.fold(new.definition, [event])
    keep_definition(connection, new.definition)
    name = uuid.uuid4().hex
    row = {"id": name, "procedure": new.definition.id, "definition": case.definition, "organisation": new.organisation, "job": new.job}
    connection.execute(insert(cases).values(opened_by=new.who.id, opened_at=at, **row, **_folded(case, at)))
    _append(connection, name, 1, event)
    return get(connection, name)


def moved(connection: Connection, keyring: Keyring, record: Record, wish: Move) -> Record:
    """Make a transition in the caller's transaction; see `decide`."""
    event = engine.moving(record.definition, record.case, wish, facts_of(connection, keyring, record, now=wish.at))
    return _changed(connection, keyring, record, event)


def checked(connection: Connection, keyring: Keyring, record: Record, *, at: datetime) -> Record:
    """Make the first automatic transition from the present state in the caller's transaction; see `check`."""
    definition = record.definition
    for name, move in definition.transitions.items():
        if record.case.state in move.source and definition.roles[move.by].automatic:
            return moved(connection, keyring, record, Move(transition=name, who=_rule(move.by), at=at))
    raise Conflict(f"The case is '{record.case.state}': no automatic rule decides here.", "It may be decided already.")


def _locked(connection: Connection, case: str, *, version: int | None = None) -> Record:
    """Return a case that no other writer can change until this transaction ends. Raises as `cases.get`."""
    connection.execute(select(cases.c.id).where(cases.c.id == case).with_for_update()).one_or_none()
    return get(connection, case, version=version)


def _expire(connection: Connection, keyring: Keyring, record: Record, *, now: datetime) -> int:
    """Record a case's clocks that have run out, act on them, and return how many there were."""
    happened = engine.expiring(record.definition, record.case, at=now)
    for event in happened:
        record = _changed(connection, keyring, record, event)
        action = record.definition.clocks[event.data["clock"]].action
        if action != "flag":
            by = record.definition.transitions[action].by
            record = moved(connection, keyring, record, Move(transition=action, who=_rule(by), at=now))
            break  # the clocks of the state that was left run no more
    return len(happened)


def _changed(connection: Connection, keyring: Keyring, record: Record, event: Event) -> Record:
    """Append an event with what its effects add, carry these out, and return the case as it stands then."""
    case = engine.evolve(record.definition, record.case, event)
    _append(connection, record.id, case.version, event)
    effects = engine.effects_of(record.definition, event)
    if "number" in effects and case.number is None:
        number = register.next_number(connection, record.definition, event.at)
        numbered = engine.numbering(case, number, actor=event.actor, role=event.role, at=event.at)
        case = engine.evolve(record.definition, case, numbered)
        _append(connection, record.id, case.version, numbered)
    statement = record.statement
    if statement and {"revoke_statement", "issue_statement"} & set(effects):
        register.revoke(connection, keyring, statement, event)
        statement = None
    if "issue_statement" in effects:
        statement = register.issue(connection, keyring, record, case, event)
    row = update(cases).where(cases.c.id == record.id, cases.c.version == record.case.version)
    if connection.execute(row.values(statement=statement, **_folded(case, event.at))).rowcount != 1:
        raise Conflict("Another writer changed the case first.", "Look at it again.")
    return replace(record, case=case, statement=statement, changed_at=event.at, clocks=engine.running(record.definition, case))


def _folded(case: Case, at: datetime) -> dict[str, Any]:
    size = len(canonical.to_bytes(dict(case.fields)))
    if size > LARGEST_FORM:
        raise LimitExceeded(f"The form holds {size} bytes; {LARGEST_FORM} are allowed.", "Refer to large material by digest.")
    return {"state": case.state, "number": case.number, "fields": dict(case.fields), "version": case.version, "changed_at": at}


def _append(connection: Connection, case: str, seq: int, event: Event) -> None:
    row = {"case": case, "seq": seq, "at": event.at, "kind": event.kind, "actor": event.actor, "role": event.role}
    connection.execute(insert(case_events).values(definition=event.definition, data=dict(event.data), **row))
    told = {key: value for key, value in event.data.items() if key != "fields"}
    if "fields" in event.data:
        told["fields"] = sorted(event.data["fields"])
    body = told | {"seq": seq, "role": event.role, "definition": event.definition}
    ledger.append(connection, f"case.{event.kind}", subject=case, actor=event.actor, at=event.at, body=body)


def _rule(role: str) -> Party:
    """Return the automatic role as a party: what it decides is recorded as its own decision, nobody's."""
    return Party(id=RULE + role, roles=frozenset({role}))
