"""`headwater settings` and `headwater openapi`: what the platform is set to, and what it speaks."""

from __future__ import annotations

import json

import typer

from headwater.core import output
from headwater.core.options import Data, Server

app = typer.Typer(no_args_is_help=True)
document = typer.Typer()

SECRET = "database_url"  # noqa: S105 - the name of the setting that may hold a password


@app.callback()
def top() -> None:
    """Show the settings."""


@app.command("show")
def shown(data: Data = None) -> None:
    """Show every setting with its value; passwords in addresses are left out."""
    from sqlalchemy import make_url

    from headwater.core import settings

    chosen = settings.load(data_folder=data)
    values = chosen.model_dump(mode="json")
    if chosen.database_url:
        values[SECRET] = make_url(chosen.database_url).render_as_string(hide_password=True)
    fields = type(chosen).model_fields
    found = [{"name": name, "value": value, "description": fields[name].description} for name, value in values.items()]
    output.rows(found)


@document.command("openapi")
def openapi(data: Data = None, server: Server = None) -> None:
    """Print the server's OpenAPI document."""
    from headwater.cli.client import connected

    with connected(data=data, server=server) as client:
        found = client.get("/openapi.json")
    output.document(found, lambda: output.cell(json.dumps(found, ensure_ascii=False, indent=1)))
