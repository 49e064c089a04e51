"""`headwater data …`: every command of the data room, from its areas."""

from __future__ import annotations

import typer

from headwater.data.privacy.commands import app as privacy

app = typer.Typer(no_args_is_help=True, help="Public data: the catalogue, cleaning, privacy.")
app.add_typer(privacy)
