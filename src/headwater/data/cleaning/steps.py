"""The step that cleans documents in a project."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.core.steps import Params, Port, Resources, Task, params_of, step


class CleanParams(Params):
    """By which recipe to clean, and how much to take."""

    recipe: str = Field("pretraining", description="A shipped recipe's name; left alone where a recipe file is given as input.")
    form: Literal["jsonl", "parquet"] = Field("jsonl", description="Form of the documents that stay.")
    workers: int = Field(1, ge=1, le=64, description="Processes; ask for as many cores.")
    largest_input_mib: int = Field(4096, gt=0, description="Refuse more input than this, unpacked.")
    largest_document_mib: int = Field(64, gt=0, le=1024, description="Refuse a document larger than this.")


@step(
    "data.clean",
    summary="Clean documents by a recipe: edit, judge, and remove duplicates; each removed one with its reason.",
    params=CleanParams,
    inputs={
        "documents": Port("documents", summary="JSON lines, CSV or Parquet, packed or not, or a folder of them or of text files"),
        "recipe": Port("recipe", required=False, summary="YAML: stages and their settings"),
    },
    outputs={
        "documents": Port("documents", summary="what stays"),
        "removed": Port("documents", summary="what was removed, each with stage, reason code, figure and limit"),
        "report": Port("report", summary="counts per stage and reason"),
    },
    resources=Resources(cpus=1, memory_gib=2, wall_s=86400),
    libraries=("numba", "numpy", "pyarrow", "jieba", "pillow"),
)
def clean(task: Task) -> None:
    """Write what stays, what goes and the report. Refuses broken records, unless the recipe sets them aside."""
    from headwater.data.cleaning import recipe, run
    from headwater.data.cleaning.results import NAMES, REMOVED
    from headwater.data.cleaning.sources import Limits

    params = params_of(task, CleanParams)
    loaded = recipe.read(task.input("recipe").read_bytes(), "recipe.yaml") if "recipe" in task.inputs else recipe.shipped(params.recipe)
    out = task.folder / "cleaned"
    order = run.Order(
        inputs=(task.input("documents"),),
        out=out,
        recipe=loaded,
        form=params.form,
        limits=Limits(input_mib=params.largest_input_mib, document_mib=params.largest_document_mib),
        workers=params.workers,
    )
    told = run.clean(order, task.progress)
    for name, file in (("documents", NAMES[params.form]), ("removed", REMOVED), ("report", "report.json")):
        (out / file).replace(task.output(name))
    task.measure(read=told["read"], kept=told["kept"], removed=told["removed"])
    task.note(funnel=told["funnel"], reasons={one["code"]: one["documents"] for one in told["reasons"]})
