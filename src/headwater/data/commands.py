"""`headwater data …`: every command of the data room, from its areas."""

from __future__ import annotations

import typer

from headwater.data.authorisation.commands import app as authorisation
from headwater.data.catalogue.commands import app as catalogue
from headwater.data.cleaning import commands as cleaning
from headwater.data.privacy.commands import app as privacy
from headwater.data.protocols.commands import app as protocols

app = typer.Typer(no_args_is_help=True, help="Public data: catalogue, opening plan, cleaning, privacy, grants, sharing.")
app.add_typer(catalogue)
app.add_typer(authorisation)
app.add_typer(protocols)
app.add_typer(privacy)
app.command("clean")(cleaning.clean)
app.command("recipes")(cleaning.recipes)
