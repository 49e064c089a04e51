"""`headwater job submit`: hand in one command, or an array of it, as a project of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.core import output
from headwater.core.errors import BadInput
from headwater.core.options import Data, Server

app = typer.Typer()
MOST_ELEMENTS = 2000
INDEX = "{index}"


@app.command("submit")
def submit(
    command: Annotated[list[str], typer.Argument(help="Command and arguments, after `--`; {index} is an array element's number.")],
    name: Annotated[str | None, typer.Option(help="Short name; the command's own where left out.")] = None,
    array: Annotated[str | None, typer.Option(help="Numbers of an array's elements, such as 0-499 or 1,3,5.")] = None,
    cpus: Annotated[float, typer.Option(min=0.001, help="CPUs.")] = 1.0,
    memory: Annotated[float, typer.Option(min=0.001, help="Memory in GiB.")] = 1.0,
    wall: Annotated[float, typer.Option(min=1, help="Longest run in seconds.")] = 3600.0,
    accelerator: Annotated[list[str] | None, typer.Option("--accelerator", help="CHIP=COUNT; a job asks for chips of one kind.")] = None,
    retries: Annotated[int, typer.Option(min=0, max=10, help="How often a failed run is tried again.")] = 0,
    priority: Annotated[float, typer.Option(help="Higher goes first, where the policy looks at priorities.")] = 0.0,
    checkpoint: Annotated[
        float | None, typer.Option(min=0, help="Longest seconds between its checkpoints; 0: whenever it is stopped.")
    ] = None,
    out: Annotated[list[str] | None, typer.Option("--output", help="A name that the command leaves in outputs/.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; without a running server this is always so.")] = False,
    organisation: Annotated[str | None, typer.Option(help="Organisation that runs it.")] = None,
    engine: Annotated[str | None, typer.Option(help="Where it runs: an engine, a site, or any.")] = None,
    data: Data = None,
    server: Server = None,
) -> None:
    """Hand in one command, or an array of it."""
    from headwater.cli.client import connected
    from headwater.cli.running import failure, follow

    asked = {"cpus": cpus, "memory_gib": memory, "wall_s": wall, "retries": retries, "priority": priority, "checkpoint_s": checkpoint}
    resources = {key: value for key, value in asked.items() if value is not None} | {"accelerators": chips(accelerator or [])}
    text = project(name or short_name(command[0]), command, elements(array), resources, out or [])
    with connected(data=data, server=server, dispatch=True) as client:
        run = client.post("/api/runs", {"text": text, "files": {}, "organisation": organisation, "engine": engine, "force": False})
        if not (wait or client.embedded):
            output.record({"run": run["id"], "jobs": len(run["jobs"]), "look": f"{client.address}/runs/{run['id']}"})
            return
        ended = follow(client, run["id"])
        jobs = [{"job": job["id"], "state": job["state"], "error": (job["error"] or {}).get("message", "")} for job in ended["jobs"]]
        output.rows(jobs)
        if ended["state"] != "done":
            raise failure(ended)


def project(name: str, command: list[str], numbers: list[int] | None, resources: dict[str, Any], outputs: list[str]) -> str:
    """Return the project file of a command, or of each of its elements."""
    common = {"resources": resources, "outputs": outputs}
    if numbers is None:
        steps = {"job": {"run": command, **common}}
    else:
        steps = {f"job-{number}": {"run": [part.replace(INDEX, str(number)) for part in command], **common} for number in numbers}
    return json.dumps({"schema": "headwater.project/1", "name": name, "steps": steps})


def elements(text: str | None) -> list[int] | None:
    """Return an array's numbers, None where there is no array. Raises BadInput."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        told = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if told is None or int(told[2] or told[1]) < int(told[1]):
            raise BadInput(f"'{text[:60]}' names no array.", "Write it as 0-499 or 1,3,5.")
        if int(told[2] or told[1]) - int(told[1]) >= MOST_ELEMENTS:
            raise BadInput(f"'{part[:30]}' has more than {MOST_ELEMENTS} elements.", "Hand it in in parts.")
        found += range(int(told[1]), int(told[2] or told[1]) + 1)
    if len(found) != len(set(found)) or len(found) > MOST_ELEMENTS:
        raise BadInput(f"The array has {len(found)} elements, or one twice.", f"Name at most {MOST_ELEMENTS}, each once.")
    return found


def chips(texts: list[str]) -> dict[str, int]:
    """Return accelerators by chip. Raises BadInput."""
    found: dict[str, int] = {}
    for text in texts:
        chip, _, count = text.partition("=")
        if not chip or not count.isdecimal() or int(count) < 1:
            raise BadInput(f"'{text[:60]}' names no accelerators.", "Write it as h20=8.")
        found[chip] = int(count)
    return found


def short_name(command: str) -> str:
    """Return a project's name made of a command's."""
    plain = re.sub(r"[^a-z0-9]+", "-", Path(command).name.lower()).strip("-")[:30]
    return plain if re.match(r"[a-z]", plain) else "command"
