"""`headwater data clean` and `headwater data recipes`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.core import output

if TYPE_CHECKING:
    from headwater.data.cleaning.run import Progress

Inputs = Annotated[list[Path], typer.Argument(help="Files (JSON lines, CSV, Parquet, text; .zst and .gz too) or folders of them.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to make; it must not be there yet.", file_okay=False)]
RecipeName = Annotated[str, typer.Option("--recipe", "-r", help="A shipped recipe's name, or a recipe file.")]
Workers = Annotated[int, typer.Option(min=0, max=1024, help="Processes; 0 takes the cores that this process may use.")]
InputMib = Annotated[int, typer.Option(min=1, help="Refuse more input than this, unpacked.")]
DocumentMib = Annotated[int, typer.Option(min=1, help="Refuse a document larger than this.")]


class FormOption(StrEnum):
    """What the result is written as."""

    jsonl = "jsonl"
    parquet = "parquet"


class On(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


def clean(
    inputs: Inputs,
    out: Out,
    named: RecipeName = "pretraining",
    workers: Workers = 0,
    form: Annotated[FormOption, typer.Option("--form", help="Form of the documents that stay.")] = FormOption.jsonl,
    on: Annotated[On, typer.Option("--on", help="This machine's cores, or Ray Data.")] = On.local,
    largest_input_mib: InputMib = 1 << 20,
    largest_document_mib: DocumentMib = 64,
) -> None:
    """Clean documents, rows or images by a recipe; what is removed is kept apart with its reason.

    A run that was stopped goes on when the same command is given again.
    """
    from headwater.data.cleaning import executors, recipe, run
    from headwater.data.cleaning.sources import Limits

    limits = Limits(input_mib=largest_input_mib, document_mib=largest_document_mib)
    if run.left_over(out):
        output.say(f"Going on from {out}.work")
    with _bar() as progress:
        asked = run.Order(
            inputs=tuple(inputs),
            out=out,
            recipe=recipe.load(named),
            form=form.value,
            limits=limits,
            workers=workers or executors.cores(),
            on=on.value,
        )
        told = run.clean(asked, progress)
    output.rows(
        [row | {"removed": row["in"] - row["out"]} for row in told["funnel"]],
        columns={"stage": "stage", "in": "in", "removed": "removed", "changed": "changed", "out": "left"},
        title=f"{told['kept']} of {told['read']} kept; the reasons: {out / 'report.html'}",
    )


def recipes() -> None:
    """List the recipes that come with Headwater."""
    from headwater.data.cleaning import recipe

    output.rows(
        [{"recipe": name, "stages": [stage.name for stage in recipe.load(name).stages]} for name in recipe.presets()],
        columns={"recipe": "recipe", "stages": "stages"},
    )


@contextmanager
def _bar() -> Iterator[Progress]:
    """Give what shows progress on a terminal's standard error, and nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    shown = output.console(to_error=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=shown, disable=not shown.is_terminal) as bar:
        line = bar.add_task("reading", total=1.0)
        yield lambda done, total, note: bar.update(line, completed=done, total=total, description=note)
