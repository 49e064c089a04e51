"""`headwater job …`: look at jobs, read and follow their logs, cancel them."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer(no_args_is_help=True, help="Look at jobs, follow their logs, cancel them.")

JobId = Annotated[str, typer.Argument(help="A job's id, such as credit-1f2e3d4c.train.")]
BEAT_S = 0.3
COLUMNS = {"id": "job", "state": "state", "step": "step", "place": "where, and why there", "took_s": "seconds", "reason": "reason"}


@app.command("list")
def listed(
    data: Data = None,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
) -> None:
    """List jobs, newest first."""
    from headwater.compute import jobs, views
    from headwater.compute.jobs import State
    from headwater.core import identity, platform, settings
    from headwater.core.errors import BadInput

    if state is not None and state not in list(State):
        raise BadInput(f"There is no state '{state}'.", f"States: {', '.join(State)}.")
    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        seen = jobs.listed(connection, scopes=[identity.ROOT], limit=limit, state=State(state) if state else None)
        output.rows(
            [views.view(opened, job).model_dump(mode="json") for job in seen], columns=COLUMNS, empty="No jobs yet: headwater run …"
        )


@app.command("show")
def show(job: JobId, data: Data = None) -> None:
    """Show one job: where it ran and why, its figures, its outputs, what went wrong."""
    from headwater.compute import jobs, views
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        output.record(views.view(opened, jobs.get(connection, job)).model_dump(mode="json"), title=job)


@app.command("logs")
def logs(
    job: JobId, data: Data = None, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False
) -> None:
    """Print a job's log."""
    from headwater.compute import jobs, views
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened:
        offset = 0
        while True:
            with opened.db.read() as connection:
                chunk = views.log_chunk(opened, jobs.get(connection, job), offset=offset)
            if output.as_json():
                output.record(chunk.model_dump())
                return
            sys.stdout.write(chunk.text)
            sys.stdout.flush()
            if not chunk.text and (chunk.ended or not follow):
                return
            offset = chunk.next_offset
            if not chunk.text:
                time.sleep(BEAT_S)


@app.command("cancel")
def cancel(job: JobId, data: Data = None) -> None:
    """Ask for a job's end."""
    from headwater.compute import jobs
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened:
        administrator, now = opened.found(), opened.clock.now()
        opened.db.write(lambda connection: jobs.ask_cancel(connection, job, actor=administrator, at=now))
        with opened.db.read() as connection:
            output.record({"job": job, "state": jobs.get(connection, job).state, "cancel": "asked"})
