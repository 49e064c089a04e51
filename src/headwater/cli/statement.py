"""`headwater statement`: list, show, verify, take in and revoke signed statements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.core import output
from headwater.core.errors import BadInput, BadStatement
from headwater.core.options import Data, Server

app = typer.Typer(no_args_is_help=True)
Digest = Annotated[str, typer.Argument(help="The statement's own digest, sha256:….")]
COLUMNS = {"digest": "statement", "predicate_type": "kind", "subjects": "about", "issued_at": "issued", "signed_by": "by", "valid": "valid"}


@app.command("list")
def listed(
    artifact: Annotated[str | None, typer.Argument(help="Only those about this artifact.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this predicate type.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    data: Data = None,
    server: Server = None,
) -> None:
    """List statements, newest first."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get("/api/statements", about=artifact, kind=kind, limit=limit)
    shown = found if output.as_json() else [one | {"subjects": [s["name"] for s in one["subjects"]]} for one in found]
    output.rows(shown, columns=COLUMNS)


@app.command()
def show(
    digest: Digest,
    envelope: Annotated[bool, typer.Option("--envelope", help="Print the signed envelope (DSSE JSON) alone.")] = False,
    data: Data = None,
    server: Server = None,
) -> None:
    """Show a statement, or its envelope."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get(f"/api/statements/{digest}" + ("/envelope" if envelope else ""))
    if envelope:
        output.document(found, lambda: output.cell(json.dumps(found)))
    else:
        output.record(found)


@app.command()
def verify(digest: Digest, data: Data = None, server: Server = None) -> None:
    """Check a statement's signature, dates and revocations now; fail where it is not valid."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get(f"/api/statements/{digest}")
    output.record({key: found[key] for key in ("digest", "predicate_type", "signed_by", "valid", "why")})
    if not found["valid"]:
        raise BadStatement(found["why"])


@app.command("import")
def taken_in(
    file: Annotated[Path, typer.Argument(help="A file with a DSSE envelope.", exists=True, dir_okay=False)],
    data: Data = None,
    server: Server = None,
) -> None:
    """Verify a statement signed elsewhere and keep it."""
    from headwater.cli.client import connected

    try:
        envelope: Any = json.loads(file.read_bytes())
    except ValueError as error:
        raise BadInput(f"This is not JSON: {error}.", "Give the envelope as its issuer sent it.", where=str(file)) from error
    with connected(data=data, server=server) as client:
        output.record(client.post("/api/statements", envelope))


@app.command()
def revoke(
    digest: Digest, reason: Annotated[str, typer.Option(help="Why; it is kept for ever.")], data: Data = None, server: Server = None
) -> None:
    """End a statement by a signed revocation."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.record(client.post(f"/api/statements/{digest}/revoke", {"reason": reason}))
