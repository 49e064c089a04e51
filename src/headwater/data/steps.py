"""What a project can call of the data room."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headwater.core.errors import BadInput
from headwater.core.steps import Params, Port, Resources, Task, params_of, step
from headwater.data.card import ROW, Card, read_card
from headwater.data.split import Part, by_fractions, read_assignments, refuse_if_unusable
from headwater.data.table import RawTable, read_table
from headwater.data.validate import Checked, Duplicates, check, refuse_if_mostly_bad


class Fractions(BaseModel):
    """The share of each part; they add up to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: float = Field(0.6, gt=0, lt=1)
    valid: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> Fractions:
        if abs(self.train + self.valid + self.test - 1) > 1e-9:
            raise ValueError(f"the fractions add up to {self.train + self.valid + self.test:g}, not 1")
        return self

    def by_part(self) -> dict[Part, float]:
        """Return the fractions keyed by part."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


class PrepareParams(Params):
    """How to check and split a table."""

    fractions: Fractions | None = Field(None, description="Shares of the parts, stratified by the target; not with a split file.")
    duplicates: Duplicates = Field("set_aside", description="Keep the first of equal rows and set the others aside, or keep all.")
    largest_rejected_share: float = Field(0.05, ge=0, le=1, description="Refuse the table if more of its rows do not fit the card.")
    delimiter: Literal[",", ";", "\t", "|"] = ","
    largest_table_mib: int = Field(256, gt=0, le=4096, description="Refuse a larger file.")


@step(
    "data.prepare",
    summary="Check a table against its card, set bad rows aside with their reasons, split it, and describe it.",
    params=PrepareParams,
    inputs={
        "table": Port("table", summary="CSV (UTF-8 or GB18030) or Parquet"),
        "card": Port("card", summary="YAML: columns, licence, sensitive attributes"),
        "split": Port("table", required=False, summary="CSV with the columns row,part"),
    },
    outputs={"dataset": Port("dataset", summary="train, valid, test and rejected rows, card, signature, quality, Croissant")},
    resources=Resources(cpus=1, memory_gib=1, wall_s=600),
    libraries=("polars", "pyarrow"),
)
def prepare(task: Task) -> None:
    """Write the data set. Refuses a wrong card, a table that does not fit it, and a split that leaves a part empty."""
    from headwater.data.dataset import write_dataset

    params = params_of(task, PrepareParams)
    card = read_card(task.input("card").read_bytes())
    table = read_table(task.input("table"), delimiter=params.delimiter, largest_mib=params.largest_table_mib)
    task.progress(1, 4, f"{table.source_rows} rows read")
    checked = check(table, card, duplicates=params.duplicates)
    refuse_if_mostly_bad(checked, table.source_rows, params.largest_rejected_share, "table")
    task.progress(2, 4, f"{checked.rejected_rows} rows set aside")
    parts = _parts(task, params, card, table, checked)
    quality = write_dataset(task.output("dataset"), card, table, checked, parts)
    _report(task, quality)
    task.progress(4, 4, "written")


def _parts(task: Task, params: PrepareParams, card: Card, table: RawTable, checked: Checked) -> tuple[Part, ...]:
    frame = checked.frame
    labels = frame[card.target.name].to_list()
    if "split" in task.inputs:
        if params.fractions is not None:
            raise BadInput("Both a split file and fractions are given.", "Give one of them.")
        assigned = read_assignments(read_table(task.input("split")), table.source_rows)
        parts = tuple(assigned[row] for row in frame[ROW])
    else:
        contents = [repr(row) for row in frame.select(list(card.by_name)).iter_rows()]
        parts = by_fractions(contents, labels, (params.fractions or Fractions()).by_part(), task.seed)
    refuse_if_unusable(parts, labels, card.target.allowed)
    return parts


def _report(task: Task, quality: dict[str, Any]) -> None:
    task.measure(rows=quality["source"]["rows"], kept_rows=quality["kept_rows"], rejected_rows=quality["rejected_rows"])
    task.measure(**{f"{part}_rows": facts["rows"] for part, facts in quality["parts"].items()})
    task.note(encoding=quality["source"]["encoding"], rejected_by_reason=quality["rejected_by_reason"])
