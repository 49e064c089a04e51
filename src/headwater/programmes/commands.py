"""`headwater case …`: cases of declared procedures, and the procedures themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer(no_args_is_help=True, help="Cases of declared procedures.")

CaseId = Annotated[str, typer.Argument(help="A case's id.")]
COLUMNS = {
    "id": "case",
    "procedure": "procedure",
    "state": "state",
    "number": "number",
    "organisation": "organisation",
    "changed_at": "changed",
}


@app.command("list")
def listed(data: Data = None, state: Annotated[str | None, typer.Option(help="Only cases in this state.")] = None) -> None:
    """List cases, the last changed first."""
    from headwater.core import identity, platform, settings
    from headwater.programmes import cases

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        found = cases.listed(connection, scopes=[identity.ROOT], state=state, limit=1000)
    output.rows([one.as_json() for one in found], columns=COLUMNS, empty="No case yet.")


@app.command("show")
def show(case: CaseId, data: Data = None) -> None:
    """Show one case with its history and its clocks."""
    from headwater.core import platform, settings
    from headwater.core.clock import to_text
    from headwater.programmes import cases

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        record, events = cases.get(connection, case), cases.events(connection, case)
    history = [{"at": to_text(one.at), "kind": one.kind, "actor": one.actor, "role": one.role, "data": dict(one.data)} for one in events]
    output.record(record.as_json() | {"events": history}, title=case)


@app.command("overdue")
def overdue(data: Data = None) -> None:
    """Record every clock that has run out."""
    from headwater.core import platform, settings
    from headwater.programmes import casework

    with platform.opened(settings.load(data_folder=data)) as opened:
        output.record({"recorded": casework.record_overdue(opened)})


@app.command("procedures")
def procedures() -> None:
    """List the procedures that come with Headwater."""
    from headwater.programmes import definition

    output.rows(
        [{"id": one.id, "version": one.version, "title": one.title.en, "digest": one.digest} for one in definition.shipped().values()]
    )


@app.command("check-procedure")
def check_procedure(file: Annotated[Path, typer.Argument(help="A procedure's YAML file.", dir_okay=False)]) -> None:
    """Check a procedure's file and report everything wrong in it."""
    from headwater.core.errors import BadInput
    from headwater.programmes import definition

    try:
        found = definition.read(file.read_bytes(), file.name)
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.", where=str(file)) from error
    output.record({"id": found.id, "version": found.version, "digest": found.digest, "states": len(found.states), "sound": True})
