"""`headwater project …`: check project files, print their schema, look at runs and recipes."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer(no_args_is_help=True, help="Check project files; look at runs and recipes.")

RunId = Annotated[str, typer.Argument(help="A run's id, such as credit-1f2e3d4c.")]


@app.command("check")
def check(project: Annotated[Path, typer.Argument(help="The project file.", exists=True, dir_okay=False)]) -> None:
    """Check a project file whole, without running anything."""
    from headwater.projects import check as checking

    text = project.read_text(encoding="utf-8")
    checked = checking.check(text, str(project), lambda name: (project.parent / name).is_file())
    output.record({"project": checked.file.name, "steps": list(checked.order), "files": list(checked.files), "problems": 0})


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the project file, for editors."""
    from headwater.projects.schema import json_schema

    output.OUTPUT.json = True
    output.record(json_schema())


@app.command("list")
def listed(data: Data = None, limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20) -> None:
    """List runs, newest first."""
    from headwater.compute import jobs
    from headwater.core import identity, platform, settings
    from headwater.projects import runs

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        seen = runs.listed(connection, scopes=[identity.ROOT], limit=limit)
        output.rows(
            [
                {
                    "run": run.id,
                    "project": run.project,
                    "state": runs.state_of(jobs.of_graph(connection, run.id)),
                    "submitted": run.submitted_at,
                }
                for run in seen
            ],
            empty="No runs yet: headwater run recipes/credit/project.yaml",
        )


@app.command("cancel")
def cancel(run: RunId, data: Data = None) -> None:
    """Ask for the end of a run."""
    from headwater.core import platform, settings
    from headwater.projects import runs

    with platform.opened(settings.load(data_folder=data)) as opened:
        administrator, now = opened.found(), opened.clock.now()
        opened.db.write(lambda connection: runs.cancel(connection, runs.get(connection, run), actor=administrator, at=now))
        output.record({"run": run, "cancel": "asked"})


@app.command("recipes")
def recipes() -> None:
    """List the projects that come with Headwater."""
    names = sorted(entry.name for entry in files("headwater").joinpath("recipes").iterdir() if entry.joinpath("project.yaml").is_file())
    output.rows([{"recipe": name, "run it": f"headwater run recipes/{name}/project.yaml"} for name in names])


@app.command("copy")
def copy(
    recipe: Annotated[str, typer.Argument(help="A recipe's name.")], to: Annotated[Path, typer.Argument(help="The new folder.")]
) -> None:
    """Copy a recipe into a folder of your own, to change it."""
    from headwater.core.errors import Conflict, NotFound

    source = files("headwater").joinpath("recipes", recipe)
    if not recipe.isidentifier() or not source.joinpath("project.yaml").is_file():
        raise NotFound(f"There is no recipe '{recipe}'.", "List them with `headwater project recipes`.")
    if to.exists():
        raise Conflict(f"'{to}' exists.", "Name a folder that does not.")
    with as_file(source) as folder:
        shutil.copytree(folder, to, ignore=shutil.ignore_patterns("__pycache__"))
    output.record({"recipe": recipe, "copied to": str(to), "run it": f"headwater run {to}/project.yaml"})
