"""`headwater ledger`: list entries, verify the chain."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.core import output
from headwater.core.errors import Broken
from headwater.core.options import Data, Server

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def listed(
    kind: Annotated[str | None, typer.Option(help="Only this kind; `job.*` for all that begin so.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only entries about this id or digest.")] = None,
    before: Annotated[int | None, typer.Option(min=1, help="Only entries before this number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    data: Data = None,
    server: Server = None,
) -> None:
    """List ledger entries, newest first."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get("/api/ledger", kind=kind, subject=subject, before=before, limit=limit)
    output.rows(found, columns={"seq": "number", "at": "at", "kind": "kind", "subject": "subject", "actor": "by", "body": "facts"})


@app.command()
def verify(data: Data = None, server: Server = None) -> None:
    """Recompute the whole chain; name the first broken entry and fail where there is one."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get("/api/ledger/verify")
    output.record(found)
    if not found["intact"]:
        raise Broken(found["problem"], "Stop writing, keep this copy as evidence, and restore the last backup that verifies.")
