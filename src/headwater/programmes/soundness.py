"""Static checks of a procedure: what would strand a case, skip a duty or break a guard, found before any case opens.

Exhaustive, since definitions are small: every state is reachable and has a way to an end, every name
that is used is declared, every clock has an action, and who decides may not be who applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headwater.core.errors import BadInput
from headwater.programmes.definition import BUILT_IN_FACTS, Definition, Transition
from headwater.programmes.expression import parse

Found = Iterator[tuple[str, str]]


def problems_of(definition: Definition) -> Found:
    """Yield every problem of a definition: the place, as keys joined by dots, and what is wrong there."""
    for check in (_roles, _fields, _states, _transitions, _clocks, _evidence, _register):
        yield from check(definition)


def _roles(it: Definition) -> Found:
    for name, role in it.roles.items():
        if role.automatic == (role.permission is not None):
            yield f"roles.{name}", "A role is either automatic or held by people with a permission."
    if it.filled_by not in it.roles:
        yield "filled_by", f"There is no role '{it.filled_by}'."
    for pair in it.separate:
        for name in pair:
            if name not in it.roles:
                yield "separate", f"There is no role '{name}'."
        if pair[0] == pair[1]:
            yield "separate", f"The role '{pair[0]}' cannot be kept apart from itself."


def _fields(it: Definition) -> Found:
    for name, field in it.fields.items():
        if not name.isidentifier() or name in BUILT_IN_FACTS or name in it.evidence:
            yield f"fields.{name}", "A field's name must be a plain word that no fact or evidence bears."
        if (field.type == "choice") != bool(field.values):
            yield f"fields.{name}", "A choice, and only a choice, lists its values."
        if strange := sorted(set(field.words) - set(field.values)):
            yield f"fields.{name}", f"It has words for {', '.join(strange)}, which are no values of it."


def _states(it: Definition) -> Found:
    initial = [name for name, state in it.states.items() if state.initial]
    if len(initial) != 1:
        yield "states", f"Exactly one state is initial, not {len(initial)}."
        return
    onward = _edges(it)
    unreached = set(it.states) - _closure(initial, onward)
    backward: dict[str, set[str]] = {}
    for start, ends in onward.items():
        for end in ends:
            backward.setdefault(end, set()).add(start)
    ending = _closure([name for name, state in it.states.items() if state.final], backward)
    for name, state in it.states.items():
        if name in unreached:
            yield f"states.{name}", "No transition leads here from the initial state."
        if name not in ending:
            yield f"states.{name}", "No way leads from here to a final state."
        if state.final and onward.get(name):
            yield f"states.{name}", "A final state has no way out."


def _transitions(it: Definition) -> Found:
    known = set(it.fields) | BUILT_IN_FACTS | set(it.evidence)
    for name, move in it.transitions.items():
        place = f"transitions.{name}"
        for state in (*move.source, move.to):
            if state not in it.states:
                yield place, f"There is no state '{state}'."
        if move.by not in it.roles:
            yield place, f"There is no role '{move.by}'."
        elif move.decides and not it.apart(move.by, it.filled_by):
            yield place, f"'{move.by}' decides about what '{it.filled_by}' filled in: keep the two roles apart under 'separate'."
        yield from ((place, what) for what in _guard_problems(move, known))
        if move.effects and it.register_ is None:
            yield place, "Its effects need a register."


def _guard_problems(move: Transition, known: set[str]) -> Iterator[str]:
    if not move.guard:
        return
    try:
        unknown = parse(move.guard).names - known
    except BadInput as error:
        yield str(error)
    else:
        if unknown:
            yield f"The guard reads {', '.join(sorted(unknown))}, which is no field, evidence or built-in fact."


def _clocks(it: Definition) -> Found:
    for name, clock in it.clocks.items():
        place = f"clocks.{name}"
        if clock.state not in it.states:
            yield place, f"There is no state '{clock.state}'."
        elif it.states[clock.state].final:
            yield place, f"The state '{clock.state}' is final: nothing is awaited in it."
        if clock.starts != "entered" and (clock.starts not in it.fields or it.fields[clock.starts].type != "date"):
            yield place, f"It starts on '{clock.starts}', which is no date field."
        if clock.action != "flag":
            move = it.transitions.get(clock.action)
            if move is None:
                yield place, f"There is no transition '{clock.action}'."
            elif clock.state not in move.source or move.by not in it.roles or not it.roles[move.by].automatic:
                yield place, f"'{clock.action}' must start in '{clock.state}' and be made by an automatic role."


def _evidence(it: Definition) -> Found:
    for name, one in it.evidence.items():
        if one.about not in it.fields or it.fields[one.about].type != "artifact":
            yield f"evidence.{name}", f"It is about '{one.about}', which is no artifact field."


def _register(it: Definition) -> Found:
    if it.register_ is not None and ((field := it.fields.get(it.register_.about)) is None or field.type != "artifact"):
        yield "register", f"A register's statement is about the field '{it.register_.about}', which is not there as an artifact."


def _edges(it: Definition) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for move in it.transitions.values():
        for state in move.source:
            edges.setdefault(state, set()).add(move.to)
    return edges


def _closure(start: Iterable[str], edges: dict[str, set[str]]) -> set[str]:
    seen, todo = set(start), list(start)
    while todo:
        for state in edges.get(todo.pop(), ()):
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return seen
