"""`headwater data …`: grants, and the yearly disclosure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer()

COLUMNS = {
    "number": "grant",
    "grantee": "grantee",
    "mode": "mode",
    "used": "uses",
    "refused": "refused",
    "stands": "stands",
    "because": "because",
}


@app.command("grants")
def listed(data: Data = None) -> None:
    """List grants, the newest first, and how they stand; those just issued are taken up."""
    from headwater.core import platform, settings
    from headwater.data.authorisation import grants

    with platform.opened(settings.load(data_folder=data)) as opened:
        grants.take_up(opened)
        with opened.db.read() as connection:
            held = grants.listed(connection)
            now = opened.clock.now()
            stands = [grants.standing(connection, opened.keyring, one, now) for one in held]
    rows = [one.as_json() | {"stands": how.allowed, "because": how.because} for one, how in zip(held, stands, strict=True)]
    output.rows(rows, columns=COLUMNS, empty="No grant yet: a case of data-authorisation issues one.")


@app.command("disclosure")
def disclosed(
    year: Annotated[int, typer.Argument(min=2000, max=2200, help="The year to disclose.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it to this file as a page, instead of printing JSON.", dir_okay=False)
    ] = None,
    data: Data = None,
) -> None:
    """Print the yearly disclosure of authorised operation, replayed from the ledger."""
    from headwater.core import platform, settings
    from headwater.data.authorisation import disclosure, disclosure_page

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        told = disclosure.of(connection, year)
    if html is None:
        output.OUTPUT.json = True
        output.record(told)
        return
    html.write_text(disclosure_page.render(told), encoding="utf-8")
    output.record(
        {"written": str(html), "year": year, "authorisations": sum(len(one["authorisations"]) for one in told["implementing_bodies"])}
    )
