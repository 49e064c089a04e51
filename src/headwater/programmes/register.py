"""The public register: numbers, the statement that a filing issues, and the record that people may see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from headwater.core import evidence
from headwater.core.calendar import local_day
from headwater.core.errors import Broken
from headwater.core.keys import Keyring
from headwater.core.statement import Statement, Subject
from headwater.programmes.cases import Record, cases
from headwater.programmes.definition import Definition, Register
from headwater.programmes.engine import Case, Event


def next_number(connection: Connection, definition: Definition, at: datetime) -> str:
    """Return the next free number of the register in the year of `at`.

    Call it after a ledger entry of the same transaction: that entry makes writers queue up, so no two get the same number.
    """
    stem = f"{_register(definition).prefix}-{local_day(at).year}-"
    last = connection.execute(select(func.max(cases.c.number)).where(cases.c.number.startswith(stem, autoescape=True))).scalar_one()
    return f"{stem}{int(last.removeprefix(stem)) + 1 if last else 1:06d}"


def issue(connection: Connection, keyring: Keyring, record: Record, case: Case, event: Event) -> str:
    """Issue the register's statement about what the case is about and return its digest."""
    predicate = _public(record, case) | {"decision": event.data["to"], "decidedBy": event.actor}
    held = _register(record.definition)
    name = str(case.fields.get(held.named) or held.about)
    claim = Statement(
        subjects=(Subject(name=name[:200], digest=str(case.fields[held.about])),),
        predicate_type=held.statement,
        predicate=predicate,
        issued_at=event.at,
    )
    return evidence.issue(connection, keyring, claim, actor=event.actor).digest


def revoke(connection: Connection, keyring: Keyring, statement: str, event: Event) -> None:
    """End the statement that the case issued before, with the event's reasons."""
    reason = "; ".join(event.data["reasons"]) or f"the case was moved to '{event.data['to']}'"
    evidence.revoke(connection, keyring, statement, reason=reason, actor=event.actor, now=event.at)


def public_record(record: Record) -> Mapping[str, Any]:
    """Return what the register shows of a case: its number, fields, state, and the notice that it must carry."""
    return _public(record, record.case) | {"state": record.case.state, "statement": record.statement}


def _public(record: Record, case: Case) -> dict[str, Any]:
    definition, held = record.definition, _register(record.definition)
    return {
        "case": record.id,
        "number": case.number,
        "register": held.prefix,
        "demonstration": held.demonstration,
        "notice": held.notice.model_dump(),
        "procedure": {"id": definition.id, "version": definition.version, "digest": definition.digest},
        "organisation": record.organisation,
        "fields": {name: value for name, value in case.fields.items() if value is not None},
    }


def _register(definition: Definition) -> Register:
    if definition.register_ is None:
        raise Broken(f"The procedure '{definition.id}' has no register.", "Give it one, or drop the effects that need it.")
    return definition.register_
