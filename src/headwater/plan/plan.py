"""A plan as data: clauses with their evidence, indicators with their queries. Read from YAML and checked whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field

from headwater.core.errors import BadFile, NotFound, Problem, Unavailable
from headwater.core.yaml_file import Part, Words, parse, place, validated
from headwater.core.yaml_lines import Path as Place

KIND = "plan file"
SHIPPED = "bj-ai-2023.yaml"


class BadPlan(BadFile):
    """A plan file is wrong; all its problems are listed at once."""

    code = "plan.bad_plan"


class Source(Part):
    """Where the plan was published."""

    published_by: str
    published_on: str
    url: str


class Period(Part):
    """The years a plan runs."""

    start: int
    end: int


class Head(Part):
    """What the plan is."""

    id: str = Field(pattern="^[a-z][a-z0-9-]{1,60}$")
    title: Words
    issuer: Words
    period: Period
    source: Source


class EvidenceSource(Part):
    """What bears on a clause: ledger entries of a kind (`case.*`), or statements of a type, narrowed by what they say.

    `where` compares a statement's own keys with a text; a text that ends in `*` is a beginning.
    """

    title: Words
    ledger: str = ""
    statements: str = ""
    where: Mapping[str, str] = {}


class Clause(Part):
    """A line of the plan."""

    id: str
    parent: str = ""
    ref: str = Field(description="The numbering as printed.")
    kind: Literal["principle", "goals", "goal", "tasks", "task_group", "task", "safeguards", "safeguard"]
    title: Words
    summary: Words
    bodies: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    evidence: tuple[EvidenceSource, ...] = ()


class Target(Part):
    """A bound on an indicator's figure; `upper` with `between` only."""

    op: Literal[">=", ">", "<=", "<", "between"]
    value: float
    upper: float | None = None

    def reached(self, figure: float) -> bool:
        """Tell whether a figure meets the target."""
        match self.op:
            case ">=":
                return figure >= self.value
            case ">":
                return figure > self.value
            case "<=":
                return figure <= self.value
            case "<":
                return figure < self.value
        return self.value <= figure <= (self.upper if self.upper is not None else self.value)


class Query(Part):
    """A named query over the valid statements, and what its figure means."""

    name: Literal["statements", "distinct_subjects", "distinct_values", "share"]
    statements: str
    where: Mapping[str, str] = {}
    key: str = Field("", description="What is read of a statement's predicate; a dot leads inside, as in `totals.core_s`.")
    of: str = Field("", description="For `share`: the figure of which `key` is a part.")
    means: Words


class Indicator(Part):
    """A measure of a clause. Without a query it is unlinked: shown grey, with the reason."""

    id: str
    kind: Literal["quantified", "directional", "milestone"]
    clause: str
    title: Words
    unit: str
    target: Target | None = None
    direction: Literal["up", "down", "hold_rank", "hold_at_least"] | None = None
    deadline: str | None = None
    owner: str = Field("", description="The body that answers for it; without one it cannot turn green.")
    query: Query | None = None
    unlinked: Words | None = None


class Plan(Part):
    """A whole plan."""

    schema_: Literal["headwater.plan/1"] = Field(alias="schema")
    plan: Head
    bodies: Mapping[str, Words]
    clauses: tuple[Clause, ...]
    indicators: tuple[Indicator, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Clause]:
        """Clauses by id."""
        return {clause.id: clause for clause in self.clauses}

    def clause(self, name: str) -> Clause:
        """Return a clause. Raises NotFound."""
        try:
            return self.by_id[name]
        except KeyError:
            raise NotFound(f"The plan has no clause '{name[:40]}'.", f"Clauses: {', '.join(self.by_id)}.") from None

    def measures_of(self, clause: str) -> tuple[Indicator, ...]:
        """Return a clause's indicators, in the order of the file."""
        return tuple(one for one in self.indicators if one.clause == clause)


def read(text: str | bytes, where: str = "plan") -> Plan:
    """Return the plan that a YAML text holds. Raises BadPlan with every problem and its line."""
    located = parse(text, where, KIND, BadPlan)
    plan = validated(Plan, located, where, KIND, BadPlan)
    if problems := [Problem(where=place(located, path, where), what=what) for path, what in _problems(plan)]:
        raise BadPlan(problems, KIND)
    return plan


def load(path: str = "") -> Plan:
    """Return the plan in a file, or the one that comes with Headwater where the path is empty. Raises BadPlan, Unavailable."""
    if not path:
        return _shipped()
    try:
        return read(Path(path).read_bytes(), Path(path).name)
    except OSError as error:
        raise Unavailable(f"The plan file cannot be read: {error.strerror}.", "Correct the setting plan_file.", where=path) from error


@cache
def _shipped() -> Plan:
    return read(files("headwater.plan").joinpath("plans", SHIPPED).read_bytes(), SHIPPED)


def _problems(plan: Plan) -> Iterator[tuple[Place, str]]:
    yield from _repeated("clauses", [clause.id for clause in plan.clauses])
    yield from _repeated("indicators", [one.id for one in plan.indicators])
    seen: set[str] = set()
    for number, clause in enumerate(plan.clauses):
        if clause.parent and clause.parent not in seen:
            yield ("clauses", number, "parent"), f"The parent '{clause.parent}' of '{clause.id}' does not stand before it."
        seen.add(clause.id)
        for body in clause.bodies:
            if body not in plan.bodies:
                yield ("clauses", number, "bodies"), f"There is no body '{body}'."
        for one in clause.evidence:
            if bool(one.ledger) == bool(one.statements) or (one.where and one.ledger):
                what = "Name either a kind of ledger entry, or a type of statement with an optional 'where'."
                yield ("clauses", number, "evidence"), what
    for number, measure in enumerate(plan.indicators):
        yield from ((("indicators", number), f"{measure.id}: {what}") for what in _measure_problems(plan, measure))


def _measure_problems(plan: Plan, one: Indicator) -> Iterator[str]:
    if one.clause not in plan.by_id:
        yield f"There is no clause '{one.clause}'."
    if one.owner and one.owner not in plan.bodies:
        yield f"Its owner '{one.owner}' is no body of the plan."
    if one.query is not None and one.unlinked is not None:
        yield "It has a query and a reason why it has none."
    if one.query is not None and (one.query.name in ("distinct_values", "share")) != bool(one.query.key):
        yield "The queries distinct_values and share, and only those, name a key."
    if one.query is not None and (one.query.name == "share") != bool(one.query.of):
        yield "The query share, and only that, says of what."
    if one.target is not None and (one.target.op == "between") != (one.target.upper is not None):
        yield "A target 'between', and only that, has an upper end."


def _repeated(part: str, names: list[str]) -> Iterator[tuple[Place, str]]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield (part, number), f"The id '{name}' is used more than once."
