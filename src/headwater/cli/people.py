"""`headwater person`, `headwater organisation`, `headwater token`: who may use the platform."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headwater.core import output
from headwater.core.errors import NotFound
from headwater.core.options import Data, Server

people = typer.Typer(no_args_is_help=True)
organisations = typer.Typer(no_args_is_help=True)
tokens = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The person's name.")]
Path = Annotated[str, typer.Argument(help="The organisation's path, such as city/haidian.")]


@people.command("list")
def people_listed(data: Data = None, server: Server = None) -> None:
    """List people and their roles."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get("/api/people")
    shown = found if output.as_json() else [one | {"grants": [f"{g['role']} in {g['scope']}" for g in one["grants"]]} for one in found]
    output.rows(shown, columns={"name": "name", "organisation": "organisation", "grants": "roles", "id": "id"})


@people.command("add")
def person_added(
    name: Name,
    organisation: Annotated[str, typer.Option(help="Path of the organisation they belong to.")] = "city",
    data: Data = None,
    server: Server = None,
) -> None:
    """Add a person, without any role yet."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.record(client.post("/api/people", {"name": name, "organisation": organisation}))


@people.command("grant")
def role_granted(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, developer, caller, evaluator, officer, operator, auditor or admin.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")],
    scope: Annotated[str, typer.Option(help="Organisation within which the role holds.")] = "city",
    days: Annotated[float | None, typer.Option(help="How long it holds; no end where left out.")] = None,
    data: Data = None,
    server: Server = None,
) -> None:
    """Give a person a role within an organisation."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        body = {"role": role, "scope": scope, "reason": reason, "days": days}
        output.record(client.post(f"/api/people/{_person(client, name)}/grants", body))


@organisations.command("list")
def organisations_listed(data: Data = None, server: Server = None) -> None:
    """List organisations."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.rows(client.get("/api/organisations"))


@organisations.command("add")
def organisation_added(path: Path, title: Annotated[str, typer.Option(help="Its name.")], data: Data = None, server: Server = None) -> None:
    """Add an organisation below an existing one."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.record(client.post("/api/organisations", {"path": path, "title": title}))


@tokens.command("list")
def tokens_listed(
    person: Annotated[str | None, typer.Option(help="Whose; your own where left out.")] = None, data: Data = None, server: Server = None
) -> None:
    """List live tokens."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        path = "/api/tokens" if person is None else f"/api/people/{_person(client, person)}/tokens"
        output.rows(client.get(path))


@tokens.command("create")
def token_created(
    label: Annotated[str, typer.Argument(help="What it is for.")],
    person: Annotated[str | None, typer.Option(help="For whom; yourself where left out.")] = None,
    days: Annotated[float, typer.Option(help="How long it lasts.")] = 90,
    data: Data = None,
    server: Server = None,
) -> None:
    """Make an API token and print its text, this once."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        path = "/api/tokens" if person is None else f"/api/people/{_person(client, person)}/tokens"
        output.record(client.post(path, {"label": label, "days": days}))


@tokens.command("revoke")
def token_revoked(
    token: Annotated[str, typer.Argument(help="The token's id, as `headwater token list` shows it.")],
    person: Annotated[str | None, typer.Option(help="Whose; your own where left out.")] = None,
    data: Data = None,
    server: Server = None,
) -> None:
    """End a token now."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        path = "/api/tokens" if person is None else f"/api/people/{_person(client, person)}/tokens"
        client.post(f"{path}/{token}/revoke")
    output.record({"ended": token})


def _person(client: Any, name: str) -> str:
    """Return the id of a person whom the caller may manage, by name or id. Raises NotFound."""
    for one in client.get("/api/people"):
        if name in (one["name"], one["id"]):
            return str(one["id"])
    raise NotFound(f"There is no person '{name[:80]}'.", "List them with `headwater person list`.")
