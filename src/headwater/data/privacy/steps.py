"""What a project can call of privacy: find personal data, protect it, make a table anonymous."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from headwater.core.steps import Params, Port, Resources, Task, params_of, step
from headwater.data.privacy.actions import Action, check_actions
from headwater.data.privacy.recogniser import ALL

DOCUMENTS = Port("any", summary="JSON lines, CSV (UTF-8 or GB18030) or Parquet")
REPORT = Port("report", summary="counts by label, rule and field; never a value")
USAGE = Resources(cpus=1, memory_gib=2, wall_s=3600)


class FindParams(Params):
    """Where to look, and for what."""

    fields: tuple[str, ...] = Field((), description="Fields or columns to look at; all texts where none is named.")
    labels: tuple[str, ...] = Field(tuple(sorted(ALL)), description="Kinds of personal data to look for.")
    also: tuple[str, ...] = Field((), description="Recognisers that are not on by default, such as presidio.")


class ProtectParams(Params):
    """Where to look, and what to do."""

    fields: tuple[str, ...] = Field((), description="Fields or columns to look at; all texts where none is named.")
    actions: dict[str, str] = Field(default_factory=dict, description="Action per label; `*` for all others. Redacted where left out.")
    also: tuple[str, ...] = Field((), description="Recognisers that are not on by default, such as presidio.")

    @field_validator("actions")
    @classmethod
    def _known(cls, actions: dict[str, str]) -> dict[str, str]:
        check_actions(spelled_out(actions))
        return actions


def spelled_out(actions: dict[str, str]) -> dict[str, str]:
    """Return an action for each label, `*` being that of all that are not named."""
    others = actions.get("*", Action.REDACT)
    return dict.fromkeys(ALL, others) | {label: action for label, action in actions.items() if label != "*"}


@step(
    "data.find_personal",
    summary="Count the personal data in texts and tables, by label and field.",
    params=FindParams,
    inputs={"documents": DOCUMENTS},
    outputs={"report": REPORT},
    resources=USAGE,
    libraries=("numba", "polars"),
)
def find_personal(task: Task) -> None:
    """Write the report."""
    from headwater.data.privacy.documents import examine

    params = params_of(task, FindParams)
    report = examine(task.input("documents"), fields=params.fields, labels=params.labels, also=params.also)
    _tell(task, report)


@step(
    "data.protect",
    summary="Redact, mask, pseudonymise or replace the personal data in texts and tables.",
    params=ProtectParams,
    inputs={
        "documents": DOCUMENTS,
        "key": Port(
            "any", required=False, summary="16 random bytes or more, for pseudonyms and surrogates; whoever reads it can test guesses"
        ),
    },
    outputs={"documents": Port("any", summary="the same rows, protected"), "report": REPORT},
    resources=USAGE,
    libraries=("numba", "polars"),
)
def protect(task: Task) -> None:
    """Write the protected file and the report."""
    from headwater.data.privacy.documents import protect as protected

    params = params_of(task, ProtectParams)
    key = task.input("key").read_bytes().strip() if "key" in task.inputs else b""
    report = protected(
        task.input("documents"), task.output("documents"), spelled_out(params.actions), key, fields=params.fields, also=params.also
    )
    _tell(task, report)


class AnonymiseParams(Params):
    """How the table is read."""

    delimiter: str = Field(",", min_length=1, max_length=1)
    largest_table_mib: int = Field(256, gt=0, le=4096, description="Refuse a larger file.")


@step(
    "data.anonymise",
    summary="Generalise a table to k-anonymity, l-diversity and t-closeness at the least loss, and tell the risk before and after.",
    params=AnonymiseParams,
    inputs={
        "table": Port("table", summary="CSV (UTF-8 or GB18030) or Parquet"),
        "declaration": Port("any", summary="YAML: quasi-identifiers with hierarchies, sensitive columns, bounds"),
        "population": Port("table", required=False, summary="the population with the same quasi-identifiers, for the journalist's risk"),
    },
    outputs={"table": Port("table", summary="the released rows"), "report": Port("report", summary="loss, risk before and after")},
    resources=USAGE,
    libraries=("numba", "polars"),
)
def anonymise(task: Task) -> None:
    """Write the released table and the report. Refuses bounds that no generalisation satisfies."""
    from headwater.data.privacy.anonymity import anonymise as room
    from headwater.data.privacy.anonymity.declaration import read_declaration
    from headwater.data.privacy.documents import write_table
    from headwater.data.table import read_table

    params = params_of(task, AnonymiseParams)
    declared = read_declaration(task.input("declaration").read_bytes(), "declaration")
    table = read_table(task.input("table"), delimiter=params.delimiter, largest_mib=params.largest_table_mib)
    people = read_table(task.input("population")) if "population" in task.inputs else None
    task.progress(1, 3, f"{table.source_rows} rows read")
    made = room.anonymise(table, declared, people)
    with task.output("table").open("wb") as file:
        write_table(file, made.names, made.records, parquet=table.form == "parquet")
    _write(task.output("report"), dict(made.report))
    task.measure(
        rows=made.report["rows"],
        suppressed_rows=made.report["suppressed_rows"],
        loss=made.report["loss"]["value"],
        highest_risk=made.report["risk_after"]["prosecutor_highest"],
    )
    task.note(levels=made.report["levels"])


def _tell(task: Task, report: dict[str, Any]) -> None:
    _write(task.output("report"), report)
    task.measure(rows=report["rows"], rows_with_personal_data=report["rows_with_personal_data"], found=sum(report["labels"].values()))
    task.note(labels=report["labels"])


def _write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
