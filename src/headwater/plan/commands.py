"""`headwater plan …`: the clauses with their evidence, the indicators with their figures."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer(no_args_is_help=True, help="The plan's clauses and their evidence.")


@app.command("show")
def show(data: Data = None) -> None:
    """Show every clause with the state of its evidence."""
    from headwater.core import platform, settings
    from headwater.plan import evidence

    with platform.opened(settings.load(data_folder=data)) as opened:
        seen = evidence.overview(opened).as_json()
    rows = [
        {
            "id": one["id"],
            "clause": one["title"]["en"],
            "state": one["state"],
            "evidence": sum(source["count"] for source in one["evidence"]),
        }
        for one in seen["clauses"]
    ]
    output.rows(seen["clauses"] if output.as_json() else rows, title=seen["title"]["en"])


@app.command("clause")
def clause(clause: Annotated[str, typer.Argument(help="A clause's id, such as T03.")], data: Data = None) -> None:
    """Show one clause: its evidence, its newest items, its indicators."""
    from headwater.core import platform, settings
    from headwater.plan import evidence

    with platform.opened(settings.load(data_folder=data)) as opened:
        output.record(evidence.overview(opened).clause(clause).as_json(), title=clause)


@app.command("indicators")
def indicators(data: Data = None) -> None:
    """Show every indicator: its figure and its target, or why it has none."""
    from headwater.core import platform, settings
    from headwater.plan import evidence

    with platform.opened(settings.load(data_folder=data)) as opened:
        clauses = evidence.overview(opened).clauses
    seen = [one.as_json() for clause in clauses for one in clause.indicators]
    rows = [
        {
            "id": one["id"],
            "indicator": one["title"]["en"],
            "state": one["state"],
            "value": one["value"],
            "unit": one["unit"],
            "because": one["reason"]["en"],
        }
        for one in seen
    ]
    output.rows(seen if output.as_json() else rows)
