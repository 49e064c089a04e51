"""The plan as the evidence stands now: each clause with what the ledger and the statements hold for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from headwater.core import ledger
from headwater.core.clock import to_text
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.plan import holdings, indicators
from headwater.plan.holdings import Holdings
from headwater.plan.indicators import Reading
from headwater.plan.plan import Clause, EvidenceSource, Plan, load

LATEST = 5

State = Literal["unlinked", "awaited", "evidenced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One piece of evidence: a ledger entry by number, or a statement by digest."""

    at: datetime
    name: str
    """`#<seq>` of a ledger entry, or a statement's digest."""
    about: tuple[str, ...]
    says: str
    """The entry's kind, or the type of the statement."""

    def as_json(self) -> dict[str, Any]:
        """Return the item as JSON values."""
        return {"at": to_text(self.at), "name": self.name, "about": list(self.about), "says": self.says}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What one source of evidence holds: how many, how many no longer count, and the newest few."""

    source: EvidenceSource
    count: int
    set_aside: int
    latest: tuple[Item, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the source's state as JSON values."""
        return self.source.model_dump(mode="json") | {
            "count": self.count,
            "set_aside": self.set_aside,
            "latest": [one.as_json() for one in self.latest],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseState:
    """A clause with its evidence and its indicators.

    `unlinked`: no source of evidence is named for it. `awaited`: sources are named, and hold nothing yet.
    """

    clause: Clause
    state: State
    sources: tuple[SourceState, ...]
    indicators: tuple[Reading, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the clause as JSON values."""
        told = self.clause.model_dump(mode="json", exclude={"evidence"}) | {"state": self.state}
        return told | {"evidence": [one.as_json() for one in self.sources], "indicators": [one.as_json() for one in self.indicators]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The whole plan as the evidence stood at one moment; the ledger's number and hash name that moment."""

    plan: Plan
    at: datetime
    entries: int
    head: str
    clauses: tuple[ClauseState, ...]

    def clause(self, name: str) -> ClauseState:
        """Return one clause. Raises NotFound."""
        self.plan.clause(name)
        return next(one for one in self.clauses if one.clause.id == name)

    def as_json(self) -> dict[str, Any]:
        """Return the overview as JSON values."""
        head = self.plan.plan.model_dump(mode="json")
        moment = {"at": to_text(self.at), "ledger_entries": self.entries, "ledger_head": self.head}
        bodies = {name: text.model_dump() for name, text in self.plan.bodies.items()}
        return head | moment | {"bodies": bodies, "counts": self.counts(), "clauses": [one.as_json() for one in self.clauses]}

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many clauses and indicators are in each state."""
        clauses = [one.state for one in self.clauses]
        readings = [one.state for clause in self.clauses for one in clause.indicators]
        return {
            "clauses": {state: clauses.count(state) for state in ("evidenced", "awaited", "unlinked")},
            "indicators": {state: readings.count(state) for state in ("met", "not_met", "measured", "unlinked")},
        }


def overview(platform: Platform) -> Overview:
    """Return the platform's plan with the evidence it holds now, all read in one consistent view."""
    plan = load(platform.settings.plan_file)
    with platform.db.read() as connection:
        return overview_of(connection, platform.keyring, plan, now=platform.clock.now())


def overview_of(connection: Connection, keyring: Keyring, plan: Plan, *, now: datetime) -> Overview:
    """Return a plan with the evidence that a database holds."""
    types = {one.statements for clause in plan.clauses for one in clause.evidence if one.statements} | indicators.types_of(plan.indicators)
    held = holdings.read(connection, keyring, sorted(types), now=now)
    head = connection.execute(select(ledger.ledger_head.c.seq, ledger.ledger_head.c.hash)).one_or_none()
    clauses = tuple(_clause(connection, plan, clause, held) for clause in plan.clauses)
    return Overview(plan=plan, at=now, entries=head.seq if head else 0, head=head.hash if head else ledger.GENESIS, clauses=clauses)


def _clause(connection: Connection, plan: Plan, clause: Clause, held: Holdings) -> ClauseState:
    sources = tuple(_ledger(connection, one) if one.ledger else _statements(one, held) for one in clause.evidence)
    state: State = "unlinked" if not sources else "evidenced" if any(one.count for one in sources) else "awaited"
    readings = tuple(indicators.reading(one, held) for one in plan.measures_of(clause.id))
    return ClauseState(clause=clause, state=state, sources=sources, indicators=readings)


def _ledger(connection: Connection, source: EvidenceSource) -> SourceState:
    kind = ledger.ledger_entry.c.kind
    wanted = kind.startswith(source.ledger[:-1], autoescape=True) if source.ledger.endswith("*") else kind == source.ledger
    count = connection.execute(select(func.count()).select_from(ledger.ledger_entry).where(wanted)).scalar_one()
    newest = ledger.entries(connection, kind=source.ledger, limit=LATEST, newest_first=True)
    items = tuple(Item(at=one.at, name=f"#{one.seq}", about=(one.subject,), says=one.kind) for one in newest)
    return SourceState(source=source, count=count, set_aside=0, latest=items)


def _statements(source: EvidenceSource, held: Holdings) -> SourceState:
    found = held.of(source.statements, source.where)
    items = tuple(
        Item(
            at=one.statement.issued_at,
            name=one.digest,
            about=tuple(subject.name for subject in one.statement.subjects),
            says=one.statement.predicate_type,
        )
        for one in found[:LATEST]
    )
    aside = 0 if source.where else held.set_aside.get(source.statements, 0)
    return SourceState(source=source, count=len(found), set_aside=aside, latest=items)
