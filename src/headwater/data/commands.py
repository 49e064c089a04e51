"""`headwater data …`: the commands of the data room's areas, put together."""

from __future__ import annotations

import typer

from headwater.data.cleaning import commands as cleaning

app = typer.Typer(no_args_is_help=True, help="Open data: clean it, describe it, protect it.")
app.command("clean")(cleaning.clean)
app.command("recipes")(cleaning.recipes)
