"""`headwater site …`: the register of sites, where jobs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.core import output
from headwater.core.errors import BadInput
from headwater.core.options import Data, Server

app = typer.Typer(no_args_is_help=True)

Site = Annotated[str, typer.Argument(help="The site's name.")]
Why = Annotated[str, typer.Option(help="Why; it is kept in the ledger.")]
COLUMNS = {
    "name": "site", "engine": "engine", "standing": "standing", "cpus": "CPUs", "memory_gib": "GiB", "accelerators": "accelerators",
    "running": "running", "why": "why closed",
}  # fmt: skip


@app.command("list")
def listed(data: Data = None, server: Server = None) -> None:
    """List sites: what each has, how it fares, and what runs there."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get("/api/sites")
    if not output.as_json():
        for one in found:
            one["accelerators"] = ", ".join(f"{count} {chip}" for chip, count in one["accelerators"].items())
    output.rows(found, columns=COLUMNS, empty="No site has been seen yet: headwater up, or headwater site add.")


@app.command("add")
def added(
    name: Site,
    engine: Annotated[str, typer.Option(help="What runs jobs there: slurm, ray, kubernetes, local, …")],
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="How it is reached, as key=value; once for each.")] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="TOML file with the options instead.")] = None,
    data: Data = None,
    server: Server = None,
) -> None:
    """Register a site; the dispatcher opens it, and jobs may go there."""
    from headwater.cli.client import connected

    options = _from_file(file) if file is not None else dict(_pair(one) for one in option or ())
    with connected(data=data, server=server) as client:
        output.record(client.post("/api/sites", {"name": name, "engine": engine, "options": options}))


def _from_file(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BadInput(f"The options cannot be read: {error}.", "Give a TOML file of key = value lines.", where=str(path)) from error


def _pair(told: str) -> tuple[str, Any]:
    """Return a `key=value` as a pair; a value that TOML reads (a number, true, a list) is that, anything else is text."""
    import tomllib

    key, sign, value = told.partition("=")
    if not sign:
        raise BadInput(f"'{told[:100]}' is no option.", "Write key=value.")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


@app.command("check")
def checked(name: Site, data: Data = None, server: Server = None) -> None:
    """Ask a site what it has, and run a job there that does nothing; exit status 1 where that fails."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.post(f"/api/sites/{name}/check", {})
    output.record(found)
    if not found["works"]:
        raise typer.Exit(1)


@app.command("drain")
def drained(
    name: Site,
    why: Why = "",
    evict: Annotated[
        bool, typer.Option(help="Also stop what runs there; it goes on from its checkpoints, elsewhere where it may.")
    ] = False,
    data: Data = None,
    server: Server = None,
) -> None:
    """Have a site start nothing more."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.record(client.post(f"/api/sites/{name}/drain", {"why": why, "evict": evict}))


@app.command("open")
def opened(name: Site, why: Why = "", data: Data = None, server: Server = None) -> None:
    """Have a drained site start jobs again."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.record(client.post(f"/api/sites/{name}/open", {"why": why}))


@app.command("remove")
def removed(name: Site, data: Data = None, server: Server = None) -> None:
    """Take a site off the register; nothing may be bound to it any more."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        client.post(f"/api/sites/{name}/remove", {})
    output.record({"site": name, "register": "removed"})
