"""Indicators: each is a named query over valid statements, with the lineage of its figure. Pure.

No figure is typed in. An indicator without a query is *unlinked*; one whose figure nobody answers for
is *measured* and cannot turn green, however good the figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headwater.core import canonical
from headwater.core.statement import bare
from headwater.core.yaml_file import Words
from headwater.plan.holdings import Holdings, Valid
from headwater.plan.plan import Indicator, Query

State = Literal["unlinked", "measured", "met", "not_met"]

WANTED = Words(
    zh="尚未关联查询：需要责任主体、方法、基线和证据来源。",
    en="No query is linked: it needs an owner, a method, a baseline and a source of evidence.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An indicator as the evidence stands: its state, its figure, and what the figure was made from."""

    indicator: Indicator
    state: State
    value: float | None = None
    reached: bool | None = None
    reason: Words | None = None
    missing: tuple[str, ...] = ()
    """What it lacks before it may turn green: `owner`, `target`."""
    inputs: tuple[str, ...] = ()
    """Digests of the statements that were counted, sorted."""
    lineage: str | None = None
    """Digest over query, inputs and figure: equal evidence gives an equal digest."""

    def as_json(self) -> dict[str, Any]:
        """Return the reading as JSON values."""
        told = self.indicator.model_dump(mode="json") | {"state": self.state, "value": self.value, "reached": self.reached}
        reason = self.reason.model_dump() if self.reason else None
        return told | {"reason": reason, "missing": list(self.missing), "inputs": list(self.inputs), "lineage": self.lineage}


def types_of(indicators: tuple[Indicator, ...]) -> frozenset[str]:
    """Return the types of statement that some indicators count."""
    return frozenset(one.query.statements for one in indicators if one.query is not None)


def reading(indicator: Indicator, holdings: Holdings) -> Reading:
    """Return an indicator's state and figure, by its query."""
    query = indicator.query
    if query is None:
        return Reading(indicator=indicator, state="unlinked", reason=indicator.unlinked or WANTED)
    counted = holdings.of(query.statements, query.where)
    value = QUERIES[query.name](query, counted)
    reached = None if indicator.target is None or value is None else indicator.target.reached(value)
    missing = tuple(name for name, there in (("owner", indicator.owner), ("target", indicator.target)) if not there)
    state: State = "measured" if missing else "met" if reached else "not_met"
    inputs = tuple(sorted(one.digest for one in counted))
    lineage = canonical.digest({"query": query.model_dump(mode="json"), "inputs": list(inputs), "value": value})
    facts: Mapping[str, Any] = {"value": value, "reached": reached, "missing": missing, "inputs": inputs, "lineage": lineage}
    return Reading(indicator=indicator, state=state, reason=query.means, **facts)


def _statements(_query: Query, counted: tuple[Valid, ...]) -> int:
    return len(counted)


def _distinct_subjects(_query: Query, counted: tuple[Valid, ...]) -> int:
    return len({bare(subject.digest) for one in counted for subject in one.statement.subjects})


def _distinct_values(query: Query, counted: tuple[Valid, ...]) -> int:
    values = (one.statement.predicate.get(query.key) for one in counted)
    return len({canonical.to_bytes(value) for value in values if value is not None})


def _share(query: Query, counted: tuple[Valid, ...]) -> float | None:
    """Return a percentage over the newest statement about each subject, to a hundredth; None where there is nothing to be a part of."""
    newest = {bare(subject.digest): one for one in reversed(counted) for subject in one.statement.subjects}
    pairs = [(_figure(one, query.key), _figure(one, query.of)) for one in newest.values()]
    whole = math.fsum(of for _, of in pairs)
    return round(100 * math.fsum(part for part, _ in pairs) / whole, 2) if whole > 0 else None


def _figure(one: Valid, path: str) -> float:
    """Return the figure at a path of keys in a statement's predicate; 0 where it states none."""
    value: Any = one.statement.predicate
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else 0.0


QUERIES: Mapping[str, Callable[[Query, tuple[Valid, ...]], float | None]] = {
    "statements": _statements,
    "distinct_subjects": _distinct_subjects,
    "distinct_values": _distinct_values,
    "share": _share,
}
