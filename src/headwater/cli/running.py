"""`headwater run`: hand in a project, follow its jobs live, and say what came of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.client import Client, connected
from headwater.core import output
from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.options import Data, Server

if TYPE_CHECKING:
    from rich.console import RenderableType

BEAT_S = 0.15
MARKS = {"done": "[green]✔[/]", "reused": "[green]↺[/]", "failed": "[red]✘[/]", "refused": "[red]✘[/]", "cancelled": "[yellow]■[/]"}
GOOD = ("done", "reused")


app = typer.Typer()


class RunFailed(HeadwaterError):
    """A run ended without all its jobs succeeding."""

    code = "projects.run_failed"


@app.command("run")
def run(
    project: Annotated[Path, typer.Argument(help="The project file; recipes/NAME/project.yaml names one that comes with Headwater.")],
    force: Annotated[bool, typer.Option("--force", help="Run every step, also where an equal one finished before.")] = False,
    data: Data = None,
    server: Server = None,
    organisation: Annotated[str | None, typer.Option("--organisation", help="Organisation that runs it.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Where its jobs run: an engine of the settings, a site, or any.")] = None,
    result: Annotated[Path | None, typer.Option("--result", help="Also write the outcome to this file, as JSON.")] = None,
) -> None:
    """Run a project from data to an answering model, and follow it live."""
    with located(project) as path, connected(data=data, server=server, dispatch=True) as client:
        began = time.monotonic()
        submitted = submit(client, path, force=force, organisation=organisation, engine=engine)
        try:
            ended = follow(client, submitted["id"])
        except KeyboardInterrupt:
            client.post(f"/api/runs/{submitted['id']}/cancel")
            follow(client, submitted["id"])
            raise
        outcome = {"run": ended, "seconds": round(time.monotonic() - began, 3), "models": tried(client, ended)}
        if result is not None:
            result.write_text(json.dumps(outcome, ensure_ascii=False, indent=2), encoding="utf-8")
        output.document(outcome, lambda: told(outcome, client))
        if ended["state"] != "done":
            raise failure(ended)


@contextlib.contextmanager
def located(project: Path) -> Iterator[Path]:
    """Give the project file: the one named, or the recipe of that name that comes with Headwater. Raises BadInput."""
    if project.exists():
        yield project
        return
    parts = project.parts
    inside = files("headwater").joinpath(*parts) if parts[:1] == ("recipes",) and ".." not in parts else None
    if inside is None or not inside.is_file():
        raise BadInput(f"There is no file '{project}'.", "Name a project file, or a recipe: `headwater project recipes` lists them.")
    with as_file(inside) as path:
        yield path


def submit(client: Client, path: Path, **wish: Any) -> dict[str, Any]:
    """Check a project here, upload the files it uses, hand it in as wished (organisation, engine, force), and return the run."""
    from headwater.projects.check import check

    text = path.read_text(encoding="utf-8")
    checked = check(text, str(path), lambda name: (path.parent / name).is_file())
    uploaded = {name: client.upload(path.parent / name) for name in checked.files}
    answer: dict[str, Any] = client.post("/api/runs", {"text": text, "files": uploaded, **wish})
    return answer


def follow(client: Client, run: str) -> dict[str, Any]:
    """Show a run's jobs until it ends, and return it: a live table in a terminal, else a line for each change."""
    from rich.live import Live

    screen = output.console(to_error=True)
    told: dict[str, str] = {}
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while True:
            seen: dict[str, Any] = client.get(f"/api/runs/{run}")
            if screen.is_terminal and not output.as_json():
                live.update(progress_table(seen), refresh=True)
            else:
                tell_changes(seen, told)
            if seen["state"] != "running":
                return seen
            time.sleep(BEAT_S)


def tell_changes(seen: dict[str, Any], told: dict[str, str]) -> None:
    """Print a line for each job whose state differs from what was told before."""
    for job in seen["jobs"]:
        if job["state"] not in (told.get(job["name"]), "waiting", "queued"):
            output.say(f"{job['name']}: {job['state']}")
        told[job["name"]] = job["state"]


def progress_table(seen: dict[str, Any]) -> RenderableType:
    """Return the live table of a run: each job, its state, and how far it is."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    drawn = Table(title=f"{seen['id']}", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "job", "state", "progress", "what it does now"):
        drawn.add_column(heading, no_wrap=True)
    for job in seen["jobs"]:
        progress = job["progress"]
        share = 1.0 if job["state"] in GOOD else (progress or {}).get("share", 0.0)
        note = (progress or {}).get("note") or job["reason"]
        drawn.add_row(MARKS.get(job["state"], "…"), job["name"], job["state"], ProgressBar(1.0, share, width=20), output.cell(note[:70]))
    return drawn


def tried(client: Client, ended: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask each model that the run serves for one real prediction over HTTP, and return what it answered."""
    answers = []
    for job in ended["jobs"]:
        if job["step"] != "models.serve" or job["state"] not in GOOD:
            continue
        name = job["facts"]["model"]
        row = client.get(f"/api/models/{name}")["example_rows"][0]
        answer = client.post(f"/models/{name}/predict", {"rows": [row]})
        answers.append({"model": name, "address": f"{client.address}/models/{name}/predict", "asked": row, "answered": answer})
    return answers


def told(outcome: dict[str, Any], client: Client) -> RenderableType:
    """Return what a person reads at the end: the jobs, the grades, the model's answer, and what to do next."""
    from rich.console import Group

    parts: list[RenderableType] = [job_table(outcome["run"]), *grade_tables(outcome["run"])]
    for answer in outcome["models"]:
        first = answer["answered"]["predictions"][0]
        parts.append(f"\n[bold]Model[/] {answer['model']} answered over HTTP at {answer['address']}")
        parts.append(f"  asked     {output.cell(json.dumps(answer['asked']))}")
        parts.append(f"  answered  {output.cell(json.dumps(first))}")
    if outcome["run"]["state"] == "done":
        own = own_name()
        parts.append(f"\nDone in {outcome['seconds']:.1f} s. Next:")
        if client.embedded:
            parts.append(f"  {own} up             keep the models answering, and see all of this in the console")
        parts.append(f"  {own} job show {outcome['run']['jobs'][0]['id']}")
        parts.append(f"  {own} ledger verify  check that the record of it is whole")
    return Group(*parts)


def own_name() -> str:
    """Return how this command is called here: by its name where that is on the path, else by its place."""
    place = Path(sys.executable).with_name("headwater")
    if shutil.which("headwater") is not None:
        return "headwater"
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else str(place)


def job_table(run: dict[str, Any]) -> RenderableType:
    """Return the table of a run's jobs: where each ran and why there, how long, with what result."""
    from rich.table import Table

    drawn = Table(title=f"Run {run['id']}: {run['state']}", title_justify="left")
    for heading in ("", "job", "where it ran, and why there", "time", "result"):
        drawn.add_column(heading)
    for job in run["jobs"]:
        took = f"{job['took_s']:.1f} s" if job["took_s"] is not None and job["state"] != "reused" else ""
        drawn.add_row(MARKS.get(job["state"], "…"), job["name"], output.cell(job["place"]), took, output.cell(result_of(job)))
    return drawn


def result_of(job: dict[str, Any]) -> str:
    """Return a job's outcome in a line: what went wrong, or that it was reused, or its main figures."""
    if job["error"]:
        return f"{job['error']['code']}: {job['error']['message']}"
    if job["state"] == "reused":
        return f"reused: {job['reason']}"
    facts = {name: value for name, value in job["facts"].items() if isinstance(value, str | int) and not isinstance(value, bool)}
    shown = [f"{name} {value:.4g}" for name, value in job["metrics"].items()] or [f"{name} {value}" for name, value in facts.items()]
    return ", ".join(shown[:4]) or str(job["state"])


def grade_tables(run: dict[str, Any]) -> list[RenderableType]:
    """Return a table of trust grades by dimension for each evaluation of a run."""
    from rich.table import Table

    tables: list[RenderableType] = []
    for job in run["jobs"]:
        grades = job["facts"].get("grades")
        if job["step"] == "trust.evaluate" and isinstance(grades, dict):
            tables.append(f"\nTrust grades of '{job['name']}', each on the pessimistic end of its interval")
            drawn = Table()
            drawn.add_column("dimension")
            drawn.add_column("grade")
            for dimension, grade in grades.items():
                drawn.add_row(output.cell(dimension), output.cell(grade))
            tables.append(drawn)
    return tables


def failure(run: dict[str, Any]) -> RunFailed:
    """Return the error of a run that did not succeed: its first failed job, and what it said."""
    bad = next((job for job in run["jobs"] if job["state"] in ("failed", "refused")), None)
    if bad is None:
        return RunFailed(f"Run {run['id']} was {run['state']}.", "Run it again: finished steps are reused.")
    return RunFailed(
        f"Job '{bad['name']}' of run {run['id']} was {bad['state']}: {(bad['error'] or {}).get('message', bad['reason'])}",
        f"Its log: headwater job logs {bad['id']}",
    )
