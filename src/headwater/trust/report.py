"""The trust report: one content, as JSON for machines and as one self-contained HTML page for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater.trust.examination import Examination, Measure
from headwater.trust.grade import DimensionGrade, Graded, Grades
from headwater.trust.measurement import DIGITS, Measurement, Text
from headwater.trust.plot import plot_of
from headwater.trust.policy import Letter, Policy, UseClass
from headwater.trust.stats import Rate, wilson

SCHEMA = "headwater.trust-report/1"
LETTERS: Mapping[Letter, Text] = {
    Letter.A: Text(en="strictest line met", zh="达到最严标准"),
    Letter.B: Text(en="good", zh="良好"),
    Letter.C: Text(en="fair", zh="一般"),
    Letter.D: Text(en="weak", zh="较弱"),
    Letter.E: Text(en="weakest line not shown to be met", zh="未能证明达到最低标准"),
    Letter.N: Text(en="not measurable", zh="无法测量"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What was examined, and with what: digests of model and data, titles, versions of the libraries that counted."""

    model: str
    data: str
    data_title: Text
    environment: Mapping[str, str]
    rows_asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report says."""

    about: About
    policy: Policy
    use_class: UseClass
    grades: Grades
    exam: Examination
    measures: Mapping[str, Measure]


def content(report: Report) -> dict[str, Any]:
    """Return the report as JSON values: also what the signed statement says."""
    exam, grades = report.exam, report.grades
    right = Rate(int(exam.correct.sum()), exam.test.n)
    accuracy = Measurement(value=right.value, interval=wilson(right, exam.level), n=right.n, smallest=right.n, counts={"ŷ = y": right.hits})
    return {
        "schema": SCHEMA,
        "policy": {"id": report.policy.id, "digest": report.policy.digest},
        "useClass": report.use_class,
        "overall": grades.overall.value,
        "notMeasurable": [name for name, one in grades.dimensions.items() if one.letter is Letter.N],
        "dimensions": {name: _dimension(one) for name, one in grades.dimensions.items()},
        "accuracy": accuracy.as_json(),
        "model": report.about.model,
        "data": report.about.data,
        "rows": {"test": exam.test.n, "train": exam.train.n if exam.train else None, "asked": report.about.rows_asked},
        "seed": exam.seed,
        "environment": dict(report.about.environment),
    }


def _dimension(one: DimensionGrade) -> dict[str, Any]:
    return {"grade": one.letter.value, "unmet": list(one.unmet), "measurements": [_graded(figure) for figure in one.figures]}


def _graded(one: Graded) -> dict[str, Any]:
    told: dict[str, Any] = {"measure": one.measure, "grade": one.letter.value if one.letter else None} | one.measurement.as_json()
    if one.bound is not None:
        told["bound"] = round(one.bound, DIGITS)
    if one.possible is not None:
        told["possible"] = one.possible.value
    if one.cap is not None:
        told["cap"] = {"best": one.cap.best.value, "smallestCellBelow": one.cap.below}
    if one.next is not None:
        ahead = one.next
        told["next"] = {"grade": ahead.letter.value, "moreSamples": ahead.more_samples, "ofSmallestCell": ahead.of_smallest_cell}
    return told


def html(report: Report) -> str:
    """Return the report as one HTML page without scripts or outside parts, in both languages; `#en` and `#zh` choose."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("headwater.trust", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure
    values = {"plot_of": plot_of, "letters": LETTERS, "told": content(report), "titles": {a.name: a.title for a in report.exam.attributes}}
    return environment.get_template("report.html").render(report=report, **values)


def figure(value: float) -> str:
    """Return a figure for people: three decimals, no minus before zero."""
    return f"{value:.3f}".replace("-0.000", "0.000")
