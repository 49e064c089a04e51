"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option("--data", help="Data folder; `.headwater` where left out.", file_okay=False)]
Server = Annotated[str | None, typer.Option("--server", help="Address of another server; its token comes from HW_TOKEN.")]
