"""`headwater data push|export`: hand a data set on to another CKAN, or to a data market."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

if TYPE_CHECKING:
    from headwater.core.platform import Platform
    from headwater.data.protocols.offers import Links, Offer

app = typer.Typer()

TOKEN_VARIABLE = "CKAN_TOKEN"  # noqa: S105 - the name of a variable, not a secret
Name = Annotated[str, typer.Argument(help="The data set's name, such as bus-stops.")]


@app.command("push")
def push(
    name: Name,
    to: Annotated[str, typer.Option("--to", help="Address of the other CKAN; its token comes from CKAN_TOKEN.")],
    organisation: Annotated[
        str | None, typer.Option("--organisation", help="The organisation there; the token's own where left out.")
    ] = None,
    data: Data = None,
) -> None:
    """Hand an open data set on to another CKAN: describe it there and send the files that it lacks."""
    import httpx

    from headwater.core import platform, settings
    from headwater.core.errors import NotSignedIn
    from headwater.data.protocols import push as pushing

    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise NotSignedIn(f"{to} needs a token.", f"Set {TOKEN_VARIABLE} to one made there.")
    with platform.opened(settings.load(data_folder=data)) as opened, httpx.Client(timeout=pushing.PATIENCE_S) as http:
        http.headers["authorization"] = token
        remote = pushing.Remote(http=http, address=to)
        offer, links = _offer(opened, name)
        done = pushing.push(remote, offer, opened.store, links, organisation=organisation)
    output.record(
        {"data set": done.name, "created": done.created, "sent": list(done.sent), "kept": list(done.kept)}, title=f"Pushed to {to}"
    )


@app.command("export")
def export(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="The ZIP file to write.", dir_okay=False)],
    data: Data = None,
) -> None:
    """Write a ZIP for data markets: card, terms, price ceilings, samples of open data, checksums."""
    from headwater.core import platform, settings
    from headwater.core.errors import Unavailable
    from headwater.data.authorisation import grants, products
    from headwater.data.catalogue import views
    from headwater.data.protocols import market

    with platform.opened(settings.load(data_folder=data)) as opened:
        offer, links = _offer(opened, name)
        shown = views.shown(opened, offer.dataset, offer.version, links.page(offer.dataset.name))
        grants.take_up(opened)
        with opened.db.read() as connection:
            held = grants.listed(connection, dataset=offer.dataset.id)
            standing = [one for one in held if grants.standing(connection, opened.keyring, one, opened.clock.now()).allowed]
            prices = [market.Priced(grant=one, products=products.of(connection, one.statement)) for one in standing]
        made = market.archive(offer, shown, prices, opened.store, links)
    try:
        to.write_bytes(made)
    except OSError as error:
        raise Unavailable(f"The file cannot be written: {error.strerror}.", "Choose another with --to.", where=str(to)) from error
    output.record({"file": str(to), "bytes": len(made), "version": offer.version.number}, title=name)


def _offer(opened: Platform, name: str) -> tuple[Offer, Links]:
    """Return a published data set, and links under the address that the settings name."""
    from headwater.data.catalogue.vocabulary import Vocabulary
    from headwater.data.protocols import offers
    from headwater.data.protocols.offers import Links

    chosen = opened.settings
    with opened.db.read() as connection:
        offer = offers.find(connection, Vocabulary(chosen.data_folder), name)
    return offer, Links(base=chosen.public_url.rstrip("/") or f"http://{chosen.host}:{chosen.port}")
