"""What projects can call: `trust.evaluate`."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from pydantic import Field

from headwater.core.errors import Refused
from headwater.core.statement import TRUST_GRADE
from headwater.core.steps import Params, Port, Resources, Task, params_of, step
from headwater.trust.policy import Policy, UseClass

if TYPE_CHECKING:
    from headwater.trust.report import Report

LIBRARIES = ("numpy", "onnxruntime")


class EvaluateParams(Params):
    """What to grade the model for, and by which policy."""

    use_class: UseClass = Field("U1", description="What the model is for: U1 minimal risk to U4 safety; U0 is prohibited and not graded.")
    policy: str = Field("headwater-1", description="The grading policy: a file under `trust/policy/`.")


@step(
    "trust.evaluate",
    summary="Measure a classifier's stability, fairness, calibration, explainability and privacy, and grade it.",
    params=EvaluateParams,
    inputs={
        "model": Port("model.onnx", summary="The model to grade."),
        "dataset": Port("dataset", summary="Its data set: the test part is graded on, the training part shows what leaks."),
    },
    outputs={"report": Port("trust-report", summary="report.json and report.html.")},
    claims=(TRUST_GRADE,),
    resources=Resources(cpus=1, memory_gib=1, wall_s=600),
    libraries=LIBRARIES,
)
def evaluate(task: Task) -> None:
    """Write the report, and claim the grades about the model. Raises Refused for a prohibited use."""
    from headwater.trust.policy import load
    from headwater.trust.report import content, html

    params = params_of(task, EvaluateParams)
    policy = load(params.policy)
    check_use(policy, params.use_class)
    report = _report(task, policy, params.use_class)
    told = content(report)
    folder = task.output("report")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(html(report), encoding="utf-8")
    predicate = {name: value for name, value in told.items() if name != "schema"} | {"report": "output:report"}
    task.claim(TRUST_GRADE, about=task.digests["model"], predicate=predicate)
    task.measure(accuracy=told["accuracy"]["value"], **_headlines(report))
    grades = {name: one["grade"] for name, one in told["dimensions"].items()}
    task.note(overall=told["overall"], grades=grades, use_class=params.use_class)


def check_use(policy: Policy, use_class: UseClass) -> None:
    """Raise Refused where the policy grades no model for this class of use."""
    if use_class not in policy.use_classes or not policy.use_classes[use_class].graded:
        known = ", ".join(name for name, one in policy.use_classes.items() if one.graded)
        raise Refused(f"The policy {policy.id} grades no model for {use_class}.", f"Graded classes: {known}.", where="use_class")


def _report(task: Task, policy: Policy, use_class: UseClass) -> Report:
    from headwater.core.tabular import read_signature
    from headwater.trust.dataset import Dataset
    from headwater.trust.dimensions import measures
    from headwater.trust.examination import examine
    from headwater.trust.grade import grade
    from headwater.trust.report import About, Report
    from headwater.trust.subject import OnnxSubject

    model = task.input("model")
    signature = read_signature(model)
    subject, data = OnnxSubject(model, signature), Dataset(task.input("dataset"), signature)
    exam = examine(ask=subject, signature=signature, test=data.test, train=data.train, attributes=data.attributes, seed=task.seed)
    exam = replace(exam, smallest_cell=policy.smallest_cell.value)
    taken = {}
    for number, (name, measure) in enumerate(measures().items()):
        task.progress(number, len(measures()), name)
        taken[name] = measure.take(exam)
    about = About(
        model=task.digests["model"],
        data=task.digests["dataset"],
        data_title=data.title,
        environment={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        rows_asked=subject.rows_asked,
    )
    task.progress(1, 1, "graded")
    return Report(about=about, policy=policy, use_class=use_class, grades=grade(taken, policy), exam=exam, measures=measures())


def _headlines(report: Report) -> dict[str, float]:
    """Return the worst value of each graded measure, for a project's gates: `fairness_equalized_odds`."""
    worst: dict[str, float] = {}
    for one in (figure for dimension in report.grades.dimensions.values() for figure in dimension.figures):
        value, name = one.measurement.value, one.measure.replace(".", "_")
        if one.line is not None and value is not None:
            choose = max if one.line.better == "lower" else min
            worst[name] = choose(value, worst.get(name, value))
    return worst
