"""`headwater data …`: the catalogue, and the opening plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="A data set's name, such as bus-stops.")]
Number = Annotated[int | None, typer.Option("--version", min=1, help="A version's number; the newest where left out.")]
Organisation = Annotated[str, typer.Option("--organisation", help="Whose data set it is.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the ledger.")]
COLUMNS = {
    "name": "data set",
    "zone": "zone",
    "openness": "openness",
    "licence": "licence",
    "organisation": "organisation",
    "issued_at": "published",
}
VERSION_COLUMNS = {"number": "version", "rows": "rows", "bytes": "bytes", "delta": "delta", "digest": "digest", "created_at": "published"}
PLAN_COLUMNS = {
    "name": "data set",
    "due": "due",
    "owner": "owner",
    "rhythm": "rhythm",
    "state": "state",
    "next_due": "next due",
    "working_days_late": "working days late",
}


@app.command("list")
def listed(data: Data = None, unpublished: Annotated[bool, typer.Option("--unpublished", help="Those without a version.")] = False) -> None:
    """List data sets by name."""
    from headwater.core import platform, settings
    from headwater.data.catalogue import sets

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        found = sets.listed(connection, sets.Filters(published=not unpublished), limit=1000).found
    output.rows([one.as_json() for one in found], columns=COLUMNS, empty="No data set yet: headwater data publish DESCRIPTION FILE")


@app.command("search")
def search(
    words: Annotated[list[str], typer.Argument(help="Words that must all be there, Chinese or English.")],
    data: Data = None,
    zone: Annotated[str | None, typer.Option("--zone", help="Only this zone.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 20,
) -> None:
    """Search titles, keywords, descriptions and columns."""
    from headwater.core import platform, settings
    from headwater.data.catalogue import search as searching
    from headwater.data.catalogue.sets import Filters

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        page = searching.search(connection, " ".join(words), Filters(zone=zone), limit=limit)
    output.rows([one.as_json() for one in page.found], columns=COLUMNS, title=f"{page.total} found", empty="Nothing found.")


@app.command("show")
def show(name: Name, data: Data = None) -> None:
    """Show one data set: newest version, quality, place in the opening plan."""
    from headwater.core import platform, settings
    from headwater.data.catalogue import sets, views

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        told = views.detail(connection, sets.find(connection, name), opened.clock.now())
    output.record(told.model_dump(mode="json"), title=name)


@app.command("versions")
def versions(name: Name, data: Data = None) -> None:
    """List a data set's versions, newest first."""
    from headwater.core import platform, settings
    from headwater.data.catalogue import sets

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        found = sets.versions(connection, sets.find(connection, name).id)
    output.rows([one.as_json() for one in found], columns=VERSION_COLUMNS, title=name, empty="No version yet.")


@app.command("publish")
def publish(
    description: Annotated[Path, typer.Argument(help="YAML file that describes the data set (docs/data.md).", dir_okay=False)],
    source: Annotated[Path | None, typer.Argument(help="File, folder, zip or tar; left out, the data set is only declared.")] = None,
    organisation: Organisation = "city",
    note: Annotated[str, typer.Option("--note", help="What is new in this version.")] = "",
    data: Data = None,
) -> None:
    """Publish files as the next version of a data set."""
    from headwater.core import platform, settings
    from headwater.core.errors import BadInput
    from headwater.data.catalogue import describe, publishing

    try:
        described = describe.read(description.read_bytes(), description.name)
    except OSError as error:
        raise BadInput(f"The description cannot be read: {error.strerror}.", "Give a YAML file.", where=str(description)) from error
    with platform.opened(settings.load(data_folder=data)) as opened:
        if source is None:
            told = publishing.declare(opened, described, organisation, actor=opened.found()).as_json()
        else:
            wish = publishing.Wish(description=described, source=source, organisation=organisation, actor=opened.found(), note=note)
            told = publishing.publish(opened, wish).as_json()
    output.record({key: value for key, value in told.items() if key != "columns"}, title=described.name)


@app.command("withdraw")
def withdraw(name: Name, reason: Reason, data: Data = None) -> None:
    """Take a data set out of the catalogue; its versions and their record stay."""
    from headwater.core import platform, settings
    from headwater.data.catalogue import publishing

    with platform.opened(settings.load(data_folder=data)) as opened:
        withdrawn = publishing.withdraw(opened, name, reason=reason, actor=opened.found())
    output.record(withdrawn.as_json(), title=name)


@app.command("card")
def card(name: Name, version: Number = None, data: Data = None) -> None:
    """Print the Croissant card of a version, with its responsible-AI part."""
    from headwater.data import cards

    told = _shown(name, version, data)
    output.OUTPUT.json = True
    output.record(cards.croissant(told, lambda file: file.name))


@app.command("cite")
def cite(
    name: Name,
    version: Number = None,
    style: Annotated[str, typer.Option("--style", help="plain, bibtex or cff.")] = "plain",
    data: Data = None,
) -> None:
    """Print how to cite a version."""
    from typing import get_args

    from rich.text import Text

    from headwater.core.errors import BadInput
    from headwater.data import cards

    if style not in get_args(cards.CitationStyle):
        raise BadInput(f"There is no style '{style[:40]}'.", f"Styles: {', '.join(get_args(cards.CitationStyle))}.")
    text = cards.cite(_shown(name, version, data), style)  # type: ignore[arg-type] # one of the styles, as was just seen
    output.document({"style": style, "citation": text}, lambda: Text(text))


@app.command("reuse")
def reuse(name: Name, data: Data = None) -> None:
    """Count the jobs, models and grants that used a data set."""
    from headwater.core import platform, settings
    from headwater.data import lineage
    from headwater.data.catalogue import sets

    with platform.opened(settings.load(data_folder=data)) as opened:
        with opened.db.read() as connection:
            dataset = sets.find(connection, name)
            held = sets.versions(connection, dataset.id)
        output.record(lineage.reuse(opened, dataset, held).as_json(), title=name)


@app.command("plan")
def plan(data: Data = None, late: Annotated[bool, typer.Option("--late", help="Only what is late.")] = False) -> None:
    """Show the opening plan by due date, with what is late."""
    from headwater.core import platform, settings
    from headwater.data.catalogue import opening

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        lines = [one.as_json() for one in opening.plan(connection, opened.clock.now())]
    shown: list[dict[str, Any]] = [one | one["commitment"] | one["standing"] for one in lines]
    output.rows([one for one in shown if not late or one["state"].endswith("late")], columns=PLAN_COLUMNS, empty="Nothing is planned.")


@app.command("promise")
def promise(
    name: Name,
    due: Annotated[str, typer.Option("--due", help="The day by which it opens, such as 2026-12-31.")],
    reason: Reason,
    owner: Annotated[str, typer.Option("--owner", help="The organisation that answers for it.")] = "city",
    rhythm: Annotated[str, typer.Option("--rhythm", help="daily, weekly, monthly, quarterly, yearly, irregular or once.")] = "irregular",
    data: Data = None,
) -> None:
    """Enter or change a data set's commitment in the opening plan."""
    from datetime import date

    from headwater.core import platform, settings
    from headwater.core.errors import BadInput
    from headwater.data.catalogue import opening, sets

    known = {one: one for one in sets.RHYTHMS}
    if rhythm not in known:
        raise BadInput(f"There is no rhythm '{rhythm[:40]}'.", f"Rhythms: {', '.join(known)}.")
    try:
        day = date.fromisoformat(due)
    except ValueError as error:
        raise BadInput(f"'{due[:40]}' is not a day.", "Give one such as 2026-12-31.") from error
    with platform.opened(settings.load(data_folder=data)) as opened:
        with opened.db.read() as connection:
            there = opening.of(connection, sets.find(connection, name), opened.clock.now())
        seen = there.commitment.revision if there else 0
        wish = opening.Promise(due=day, owner=owner, rhythm=known[rhythm], reason=reason, revision=seen)
        made = opening.commit(opened, name, wish, actor=opened.found())
    output.record(made.as_json(), title=name)


def _shown(name: str, number: int | None, data: Path | None) -> Any:
    from headwater.core import platform, settings
    from headwater.data.catalogue import sets, views

    with platform.opened(settings.load(data_folder=data)) as opened:
        with opened.db.read() as connection:
            dataset = sets.find(connection, name)
            version = sets.version(connection, dataset, number)
        return views.shown(opened, dataset, version, f"urn:headwater:data-set:{dataset.id}")
