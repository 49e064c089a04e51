"""`headwater person`, `headwater organisation`, `headwater token`: who may use the platform."""

from __future__ import annotations

import sys
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


@people.command("password")
def password_set(
    name: Name,
    remove: Annotated[bool, typer.Option("--remove", help="Take the password away instead.")] = False,
    data: Data = None,
    server: Server = None,
) -> None:
    """Set a person's password: asked for twice at a terminal, else the first line of standard input. Their sessions end."""
    from headwater.cli.client import connected

    new = "" if remove else _new_password()
    with connected(data=data, server=server) as client:
        path = f"/api/people/{_person(client, name)}/password"
        client.post(f"{path}/remove" if remove else path, None if remove else {"password": new})
    output.record({"person": name, "password": "removed" if remove else "set"})


@people.command("sign-out")
def signed_out(name: Name, data: Data = None, server: Server = None) -> None:
    """End all of a person's browser sessions and one-time links; their API tokens stay."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        output.record(client.post(f"/api/people/{_person(client, name)}/sessions/end"))


def _new_password() -> str:
    """Return a password from the terminal or standard input: never from the arguments, which every process here can read."""
    if sys.stdin.isatty():
        return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


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
    scope: Annotated[list[str] | None, typer.Option(help="A permission that it gives, such as compute.read; all where left out.")] = None,
    organisation: Annotated[str | None, typer.Option(help="The only organisation that it reaches.")] = None,
    data: Data = None,
    server: Server = None,
) -> None:
    """Make an API token and print its text, this once. With --scope or --organisation it may do less than its person."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        path = "/api/tokens" if person is None else f"/api/people/{_person(client, person)}/tokens"
        body = {"label": label, "days": days, "scopes": scope or None, "organisation": organisation}
        output.record(client.post(path, body))


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
