"""`headwater job …`: look at jobs, read and follow their logs, cancel them, ask why.

Also `headwater compute prediction` and `headwater quota …`.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from headwater.compute.catalogue.commands import app as compute
from headwater.core import output
from headwater.core.options import Data

app = typer.Typer(no_args_is_help=True, help="Look at jobs, follow their logs, ask why they wait, cancel them.")
quota = typer.Typer(no_args_is_help=True, help="What organisations may hold at once, and what their shares weigh.")

JobId = Annotated[str, typer.Argument(help="A job's id, such as credit-1f2e3d4c.train.")]
BEAT_S = 0.3
Organisation = Annotated[str, typer.Argument(help="The organisation's path, such as city/haidian.")]
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
    job: JobId,
    data: Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, max=100_000, help="Begin with the last lines, at most 256 KiB of them.")] = None,
) -> None:
    """Print a job's log."""
    from headwater.compute import jobs, views
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened:
        with opened.db.read() as connection:
            offset = 0 if tail is None else views.tail_offset(opened, jobs.get(connection, job), lines=tail)
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


@app.command("why")
def explained(job: JobId, data: Data = None) -> None:
    """Say why a job runs where it does, or why it waits, what would unblock it, and when it can be expected to start."""
    from headwater.compute import jobs
    from headwater.compute.why import why
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        told = why(opened, connection, jobs.get(connection, job)).model_dump()
    shown = told if output.as_json() else {name: value for name, value in told.items() if value not in (None, "")}
    output.record(shown, title="" if output.as_json() else job)


@compute.command("prediction")
def predicted(data: Data = None) -> None:
    """Say how well run times were predicted from earlier runs; ratios are expected over actual."""
    from dataclasses import asdict

    from headwater.compute import prediction
    from headwater.compute.scheduler.prediction import accuracy
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        output.record(asdict(accuracy(prediction.past(connection))))


@quota.command("list")
def quotas_listed(data: Data = None) -> None:
    """List the quotas and weights that are set."""
    from dataclasses import asdict

    from headwater.compute import quotas
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        output.rows([asdict(one) for one in quotas.listed(connection)], empty="No quotas: every organisation may use all there is.")


@quota.command("set")
def quota_set(
    organisation: Organisation,
    units: Annotated[float | None, typer.Option(min=0, help="Accelerators, or CPUs where none are asked; no limit where left out.")] = None,
    weight: Annotated[float, typer.Option(min=1e-6, max=1e6, help="Its share beside its siblings'.")] = 1.0,
    borrow: Annotated[bool, typer.Option(help="Whether it may run past its units on what the quota above it leaves.")] = True,
    data: Data = None,
) -> None:
    """Set an organisation's quota and weight; the change is kept in the ledger."""
    from dataclasses import asdict

    from headwater.compute import quotas
    from headwater.core import platform, settings

    wanted = quotas.Quota(organisation=organisation, units=units, weight=weight, may_borrow=borrow)
    with platform.opened(settings.load(data_folder=data)) as opened:
        administrator, now = opened.found(), opened.clock.now()
        opened.db.write(lambda connection: quotas.put(connection, wanted, actor=administrator, at=now))
    output.record(asdict(wanted))


@quota.command("remove")
def quota_removed(organisation: Organisation, data: Data = None) -> None:
    """Remove an organisation's quota; the change is kept in the ledger."""
    from headwater.compute import quotas
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened:
        administrator, now = opened.found(), opened.clock.now()
        opened.db.write(lambda connection: quotas.remove(connection, organisation, actor=administrator, at=now))
    output.record({"organisation": organisation, "quota": "removed"})
