"""What a case does next: commands are checked against the procedure and become events; events are folded into the case.

Pure: facts in, events out; no clock, no database. A case is the fold of its events and nothing else.
Each event carries the digest of the definition that it was made under. The shape (typed events in,
typed effects out) is that of a statechart with an event log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Literal

from headwater.core.calendar import Due, due, local_day
from headwater.core.errors import BadInput, Conflict, GateClosed, Refused
from headwater.programmes.definition import Definition, Transition
from headwater.programmes.expression import Unknown, Value, holds

RULE = "rule:"
"""How an automatic rule is named as an actor: `rule:<role>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who acts on a case: a person's id (or `rule:<role>`) and the roles that they may take in it."""

    id: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A wish to make a transition: which, by whom, why, when."""

    transition: str
    who: Party
    at: datetime
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a case. `data` depends on the kind; see `evolve`."""

    kind: Literal["opened", "filled", "moved", "numbered", "overdue"]
    at: datetime
    actor: str
    role: str
    definition: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Where a case stands: the fold of its events."""

    definition: str
    state: str
    entered_at: datetime
    fields: Mapping[str, Any]
    acted: Mapping[str, frozenset[str]]
    """Who has acted in each role."""
    made: Mapping[str, int]
    """How often each transition was made."""
    number: str | None = None
    overdue: frozenset[str] = frozenset()
    """Clocks of the present state that have run out."""
    version: int = 1
    """How many events were folded: what a writer must name to change the case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A clock that runs on a case now."""

    clock: str
    due: Due
    source: str


def opening(definition: Definition, fields: Mapping[str, Any], who: Party, *, at: datetime) -> Event:
    """Return the event that opens a case with some fields filled in. Raises BadInput naming every wrong field, Refused."""
    if definition.filled_by not in who.roles:
        raise Refused(f"Only '{definition.filled_by}' may open a case of '{definition.id}'.", "Ask for the role.")
    _check_fields(definition, fields)
    return Event(kind="opened", at=at, actor=who.id, role=definition.filled_by, definition=definition.digest, data={"fields": dict(fields)})


def filling(definition: Definition, case: Case, fields: Mapping[str, Any], who: Party, *, at: datetime) -> Event:
    """Return the event that fills in or changes fields. Raises Conflict in a state where the form is closed, BadInput, Refused."""
    state = definition.states[case.state]
    if not (state.initial or state.open):
        raise Conflict(f"The case is '{case.state}': its form is closed.", "Report a change, if the procedure has one.")
    if definition.filled_by not in who.roles:
        raise Refused(f"Only '{definition.filled_by}' may fill in the form of '{definition.id}'.", "Ask for the role.")
    _check_separation(definition, case, definition.filled_by, who)
    _check_fields(definition, fields)
    return Event(kind="filled", at=at, actor=who.id, role=definition.filled_by, definition=case.definition, data={"fields": dict(fields)})


def moving(definition: Definition, case: Case, wish: Move, facts: Mapping[str, Value]) -> Event:
    """Return the event that makes a transition.

    Raises BadInput for an unknown one, Conflict where it does not start in the present state, Refused
    where the party lacks the role or has acted in one that excludes it, and GateClosed with all that is
    missing where its guard is not met.
    """
    name, who = wish.transition, wish.who
    move = definition.transitions.get(name)
    if move is None:
        raise BadInput(f"'{definition.id}' has no transition '{name[:60]}'.", f"There are: {', '.join(definition.transitions)}.")
    if case.state not in move.source:
        raise Conflict(f"'{name}' starts in {', '.join(move.source)}; the case is '{case.state}'.", _what_can(definition, case))
    if move.by not in who.roles:
        raise Refused(f"'{name}' is for the role '{move.by}'.", "Ask for the role.")
    _check_separation(definition, case, move.by, who)
    reasons = [text.strip() for text in wish.reasons if text.strip()]
    if move.reasons == "required" and not reasons:
        raise BadInput(f"'{name}' needs reasons.", "Give at least one.")
    if unmet := unmet_guard(definition, case, wish, facts):
        raise GateClosed(f"'{name}' is not possible yet: {'; '.join(unmet)}.", "Complete the form and try again.", missing=list(unmet))
    data = {"transition": name, "from": case.state, "to": move.to, "reasons": reasons}
    return Event(kind="moved", at=wish.at, actor=who.id, role=move.by, definition=case.definition, data=data)


def numbering(case: Case, number: str, *, actor: str, role: str, at: datetime) -> Event:
    """Return the event that gives a case its number in the register. Raises Conflict where it has another."""
    if case.number not in (None, number):
        raise Conflict(f"The case has the number {case.number}.", "A number is given once.")
    return Event(kind="numbered", at=at, actor=actor, role=role, definition=case.definition, data={"number": number})


def expiring(definition: Definition, case: Case, *, at: datetime) -> tuple[Event, ...]:
    """Return an event for each clock that has run out and was not yet recorded as such; a day that may still move runs out never."""
    return tuple(
        Event(
            kind="overdue",
            at=at,
            actor=RULE + "clock",
            role="clock",
            definition=case.definition,
            data={"clock": one.clock, "due": one.due.day.isoformat()},
        )
        for one in running(definition, case)
        if one.clock not in case.overdue and not one.due.provisional and at >= one.due.ends_at
    )


def evolve(definition: Definition, case: Case | None, event: Event) -> Case:
    """Return the case after an event. Raises Conflict where the event belongs to another definition or cannot come here."""
    if event.definition != definition.digest:
        raise Conflict("The event was made under another version of the procedure.", "Replay it with that version.")
    if case is None:
        if event.kind != "opened":
            raise Conflict(f"A case begins by being opened, not {event.kind}.")
        acted = {event.role: frozenset({event.actor})}
        return Case(
            definition=event.definition,
            state=definition.initial,
            entered_at=event.at,
            fields=dict(event.data["fields"]),
            acted=acted,
            made={},
        )
    acted = dict(case.acted) | {event.role: case.acted.get(event.role, frozenset()) | {event.actor}}
    after = replace(case, acted=acted, version=case.version + 1)
    match event.kind:
        case "filled":
            return replace(after, fields=dict(case.fields) | dict(event.data["fields"]))
        case "moved":
            name = event.data["transition"]
            made = dict(case.made) | {name: case.made.get(name, 0) + 1}
            return replace(after, state=event.data["to"], entered_at=event.at, made=made, overdue=frozenset())
        case "numbered":
            return replace(after, number=event.data["number"])
        case "overdue":
            return replace(after, overdue=case.overdue | {event.data["clock"]})
    raise Conflict("A case is opened once.")


def fold(definition: Definition, events: Iterable[Event]) -> Case:
    """Return the case that some events make. Raises Conflict where there is none."""
    case: Case | None = None
    for event in events:
        case = evolve(definition, case, event)
    if case is None:
        raise Conflict("A case has at least one event.")
    return case


def effects_of(definition: Definition, event: Event) -> tuple[str, ...]:
    """Return what the platform must do because of an event: `number`, `issue_statement`, `revoke_statement`."""
    return definition.transitions[event.data["transition"]].effects if event.kind == "moved" else ()


def missing(definition: Definition, case: Case, facts: Mapping[str, Value]) -> tuple[str, ...]:
    """Return everything that keeps the form from being complete, in the order of the form."""
    empty = [
        f"the field '{name}' ({spec.title.en}) is empty"
        for name, spec in definition.fields.items()
        if spec.required and case.fields.get(name) is None
    ]
    absent = [
        f"there is no valid statement of {one.title.en} about '{one.about}'"
        for name, one in definition.evidence.items()
        if facts.get(name) is None
    ]
    return tuple(empty + absent)


def unmet_guard(definition: Definition, case: Case, wish: Move, facts: Mapping[str, Value]) -> tuple[str, ...]:
    """Return why a transition's guard is not met; nothing where it is. What is unknown does not meet it."""
    guard = definition.guard(wish.transition)
    if guard is None:
        return ()
    lacking = missing(definition, case, facts)
    days = (local_day(wish.at) - local_day(case.entered_at)).days
    built_in: dict[str, Value] = {"missing": len(lacking), "attempts": case.made.get(wish.transition, 0), "days_in_state": days}
    try:
        if holds(guard, dict(case.fields) | dict(facts) | built_in):
            return ()
    except Unknown as error:
        return tuple(f"'{name}' is not known" for name in sorted(error.names))
    return lacking if "missing" in guard.names and lacking else (f"it needs {guard.text}",)


def possible(definition: Definition, case: Case, who: Party) -> tuple[str, ...]:
    """Return the transitions that start in the present state and that the party may make, guards aside."""
    return tuple(name for name, move in definition.transitions.items() if case.state in move.source and _may(definition, case, move, who))


def running(definition: Definition, case: Case) -> tuple[Running, ...]:
    """Return the clocks that run now. One that starts on a date that is not filled in does not run yet."""
    found = []
    for name, clock in definition.clocks.items():
        if clock.state != case.state:
            continue
        start = local_day(case.entered_at) if clock.starts == "entered" else _date_field(case, clock.starts)
        if start is not None:
            found.append(Running(clock=name, due=due(start, clock.limit, clock.unit), source=clock.source))
    return tuple(found)


def _date_field(case: Case, name: str) -> date | None:
    value = case.fields.get(name)
    return None if value is None else date.fromisoformat(value)


def _check_fields(definition: Definition, fields: Mapping[str, Any]) -> None:
    problems = []
    for name, value in fields.items():
        spec = definition.fields.get(name)
        if spec is None:
            problems.append(f"'{name[:60]}' is not a field")
        elif value is not None and (problem := spec.problem(value)):
            problems.append(f"'{name}' {problem}")
    if problems:
        raise BadInput(f"{'; '.join(problems)}.", f"Fields: {', '.join(definition.fields)}.", where=definition.id)


def _check_separation(definition: Definition, case: Case, role: str, who: Party) -> None:
    for other, actors in case.acted.items():
        if who.id in actors and definition.apart(role, other):
            raise Refused(f"You acted as '{other}' in this case and may not act as '{role}' too.", "Another person must do this.")


def _may(definition: Definition, case: Case, move: Transition, who: Party) -> bool:
    excluded = any(who.id in actors and definition.apart(move.by, other) for other, actors in case.acted.items())
    return move.by in who.roles and not excluded


def _what_can(definition: Definition, case: Case) -> str:
    names = [name for name, move in definition.transitions.items() if case.state in move.source]
    return f"From here: {', '.join(names)}." if names else "The case is closed."
