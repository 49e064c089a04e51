"""The hub's gate: evidence, policy and request in, a decision with every reason out.

Pure, and closed unless everything is there: a statement that is missing, forged, expired, revoked,
about another model, graded for a milder use, signed by too few, or a grade that is short or not
measurable each keeps it shut, and all of them are named at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headwater.models.policy import RISK_ORDER, ClassPolicy, Grade, Policy, RiskClass

ACCEPTED_DECISIONS = frozenset({"filed"})
"""What a filing's statement must say was decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The newest valid statement of one kind about the model, and how many trusted keys signed it."""

    digest: str
    predicate: Mapping[str, Any]
    signatures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found of one kind of statement: a valid one or none, and why others were passed over."""

    found: Found | None = None
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be admitted: a model, for a class of risk, with the minimum grades that its owner declares."""

    model: str
    risk_class: RiskClass
    declared: Mapping[str, Grade] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether the gate opens; every reason why not; and on what it relied."""

    allowed: bool
    reasons: tuple[str, ...]
    grades: Mapping[str, str]
    minimum: Mapping[str, str]
    statements: Mapping[str, str]


def decide(evidence: Mapping[str, Looked], policy: Policy, request: Request) -> Decision:
    """Return whether the model is admitted. `evidence` is keyed by the policy's names of statements."""
    wanted = policy.classes[request.risk_class]
    if wanted.refused:
        return Decision(allowed=False, reasons=(f"{request.risk_class}: {wanted.refused}",), grades={}, minimum={}, statements={})
    reasons = list(_declaration(policy, wanted, request))
    for name, signatures in wanted.requires.items():
        reasons += _statement(policy, name, signatures, evidence.get(name, Looked()))
    statements = {name: looked.found.digest for name in wanted.requires if (looked := evidence.get(name)) and looked.found}
    minimum = minimum_of(policy, request)
    grades: Mapping[str, str] = {}
    graded = evidence.get("trust_grade", Looked()).found
    if graded is not None and "trust_grade" in wanted.requires:
        grades = letters(graded.predicate)
        reasons += _use(graded, request)
        reasons += _grades(policy, grades, minimum)
    filing = evidence.get("filing", Looked()).found
    if filing is not None and filing.predicate.get("decision") not in ACCEPTED_DECISIONS:
        reasons.append(f"the filing's decision is {filing.predicate.get('decision')!r}, not that it was filed")
    return Decision(allowed=not reasons, reasons=tuple(reasons), grades=grades, minimum=minimum, statements=statements)


def minimum_of(policy: Policy, request: Request) -> dict[str, Grade]:
    """Return the grade that each dimension must reach.

    The rule: the class's minimum and the declared one are compared and the stricter holds. Only in a
    class with `declared_may_lower` (U1, minimal risk) does a declared minimum replace the class's.
    `overall` may be declared in addition.
    """
    wanted = policy.classes[request.risk_class]
    result: dict[str, Grade] = dict(wanted.minimum)
    for dimension, declared in request.declared.items():
        held = result.get(dimension)
        result[dimension] = declared if held is None or wanted.declared_may_lower else policy.stricter(held, declared)
    return result


def letters(predicate: Mapping[str, Any]) -> dict[str, str]:
    """Return the grades that a trust statement gives: by dimension, and overall. What is not a letter counts as N."""
    dimensions = predicate.get("dimensions")
    told = dict(dimensions) if isinstance(dimensions, Mapping) else {}
    found = {str(name): one.get("grade") if isinstance(one, Mapping) else None for name, one in told.items()}
    found["overall"] = predicate.get("overall")
    return {name: grade if isinstance(grade, str) and grade in "ABCDEN" and len(grade) == 1 else "N" for name, grade in found.items()}


def _declaration(policy: Policy, wanted: ClassPolicy, request: Request) -> Sequence[str]:
    unknown = sorted(set(request.declared) - {*policy.dimensions, "overall"})
    reasons = [f"a minimum is declared for '{name}', which is not graded (graded: {', '.join(policy.dimensions)})" for name in unknown]
    if not wanted.declared_may_lower:
        reasons += [
            f"a declared minimum of N for '{name}' is not accepted in class {request.risk_class}"
            for name, grade in sorted(request.declared.items())
            if grade == "N"
        ]
    return reasons


def _statement(policy: Policy, name: str, signatures: int, looked: Looked) -> Sequence[str]:
    kind = policy.statements[name]
    if looked.found is None:
        why = f" ({'; '.join(looked.passed_over)})" if looked.passed_over else ""
        return [f"no valid {kind.title.en} statement about this model{why}. {kind.remedy}"]
    if looked.found.signatures < signatures:
        return [f"the {kind.title.en} statement has {looked.found.signatures} trusted signature(s); this class needs {signatures}"]
    return []


def _use(graded: Found, request: Request) -> Sequence[str]:
    use = graded.predicate.get("useClass")
    if use not in RISK_ORDER or RISK_ORDER.index(use) < RISK_ORDER.index(request.risk_class):
        return [f"the model was graded for use class {use!r}, which is milder than {request.risk_class}: have it graded for that"]
    return []


def _grades(policy: Policy, grades: Mapping[str, str], minimum: Mapping[str, Grade]) -> Sequence[str]:
    short = []
    for dimension, least in minimum.items():
        grade = grades.get(dimension)
        if grade is None:
            short.append(f"{dimension} was not graded; at least {least} is needed")
        elif policy.worse(grade, least):
            told = "not measurable (N)" if grade == "N" else grade
            short.append(f"{dimension} is {told}; at least {least} is needed")
    return short
