"""What projects can call of this room: file an algorithm in the demonstration register."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import Field

from headwater.core.clock import to_text
from headwater.core.errors import BadInput, GateClosed
from headwater.core.platform import Platform
from headwater.core.steps import Params, Port, Task, params_of, step


class FileParams(Params):
    """Parameters of `programmes.file`."""

    definition: str = Field("algorithm-filing", description="The procedure to follow.")
    fields: Mapping[str, str | int | float | bool | None] = Field(
        default_factory=dict,
        description="The form's fields. `model` and `self_assessment_report` are filled in from the inputs and may not be given.",
    )
    submit: str = Field("submit", description="The transition that hands the form in.")


@step(
    "programmes.file",
    summary="File a model in the demonstration register: draft, submitted, checked for completeness, filed.",
    params=FileParams,
    inputs={
        "model": Port("model.onnx", summary="The model to file."),
        "report": Port("trust-report", summary="Its trust report, which is the self-assessment."),
    },
    outputs={"record": Port("filing", summary="The public record: number, fields, notice.")},
    place="platform",
)
def file(task: Task) -> None:
    """Open, submit and decide the case in one transaction, and write its public record."""
    from headwater.programmes.casework import NewCase, file_at_once
    from headwater.programmes.definition import named
    from headwater.programmes.engine import Party
    from headwater.programmes.register import public_record

    params, platform = params_of(task, FileParams), task.the_platform()
    given = {"model", "self_assessment_report"} & set(params.fields)
    if given:
        raise BadInput(f"The field '{min(given)}' is taken from the step's input.", "Remove it from 'fields'.")
    _check_report(task, platform)
    definition = named(params.definition)
    fields = dict(params.fields) | {"model": task.digests["model"], "self_assessment_report": task.digests["report"]}
    who = Party(id=task.actor, roles=frozenset({definition.filled_by}))
    new = NewCase(definition=definition, organisation=task.organisation, fields=fields, who=who, job=task.job)
    record = file_at_once(platform, new, submit=params.submit)
    public = dict(public_record(record)) | {"filed_at": to_text(record.changed_at)}
    task.output("record").write_text(json.dumps(public, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    held = [record.statement] if record.statement else []
    task.note(case=record.id, number=record.case.number, state=record.case.state, statements=held)


def _check_report(task: Task, platform: Platform) -> None:
    """Raise GateClosed unless a valid trust grade of the model names this very report."""
    from headwater.core import evidence
    from headwater.core.statement import TRUST_GRADE

    model, report = task.digests["model"], task.digests["report"]
    with platform.db.read() as connection:
        held, _ = evidence.valid(connection, platform.keyring, model, TRUST_GRADE, now=platform.clock.now())
    if held is not None and held.statement.predicate.get("report") != report:
        raise GateClosed(
            f"The report {report[:19]}… is not the one of the model's trust grade.",
            "Give the report that trust.evaluate made of this model.",
        )
