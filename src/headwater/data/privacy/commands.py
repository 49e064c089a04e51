"""`headwater data personal|protect|anonymise|protected …`: personal data in files, anonymous tables, tables that answer questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.core import output
from headwater.core.options import Data

if TYPE_CHECKING:
    from headwater.core.platform import Platform

app = typer.Typer(no_args_is_help=True, help="Personal data in files, and anonymous tables.")
protected = typer.Typer(no_args_is_help=True, help="Tables that answer questions while their rows stay where they are.")
app.add_typer(protected, name="protected")

Documents = Annotated[Path, typer.Argument(help="JSON lines, CSV (UTF-8 or GB18030) or Parquet.", exists=True, dir_okay=False)]
Fields = Annotated[list[str] | None, typer.Option("--field", help="A field or column to look at; all where left out. May be repeated.")]
Also = Annotated[list[str] | None, typer.Option("--also", help="A recogniser that is not on by default, such as presidio.")]
Table = Annotated[str, typer.Argument(help="A protected table's name.")]
Out = Annotated[Path, typer.Option("--output", help="The new file; the source is never changed.")]


@app.command("personal")
def personal(
    file: Documents,
    field: Fields = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="A kind to look for; all where left out. May be repeated.")] = None,
    also: Also = None,
) -> None:
    """Count the personal data in a file. Values are never shown."""
    from headwater.data.privacy.documents import examine
    from headwater.data.privacy.recogniser import ALL

    report = examine(file, fields=field or (), labels=label or ALL, also=also or ())
    if output.as_json():
        output.record(report)
        return
    rows = [
        {"label": name, "found": count, "rules": report["rules"][name], "fields": _fields(report, name)}
        for name, count in report["labels"].items()
    ]
    output.rows(rows, title=f"{report['rows_with_personal_data']} of {report['rows']} rows", empty=f"None in {report['rows']} rows.")


def _fields(report: dict[str, Any], label: str) -> dict[str, int]:
    return {name: counts[label] for name, counts in report["fields"].items() if label in counts}


@app.command("protect")
def protect(
    file: Documents,
    out: Out,
    action: Annotated[
        list[str] | None, typer.Option("--action", help="redact, mask, pseudonymise, surrogate or keep; or LABEL=ACTION. May be repeated.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="16 random bytes or more, for pseudonyms and surrogates.")] = None,
    field: Fields = None,
    also: Also = None,
) -> None:
    """Write a file anew with its personal data redacted, or as asked."""
    from headwater.core.errors import BadInput
    from headwater.data.privacy.documents import protect as protected_file
    from headwater.data.privacy.steps import spelled_out

    actions = dict(_action(one) for one in action or ())
    if out.exists() and out.samefile(file):
        raise BadInput("The output is the source itself.", "Name another file.", where=str(out))
    key = key_file.read_bytes().strip() if key_file else b""
    output.record(protected_file(file, out, spelled_out(actions), key, fields=field or (), also=also or ()), title=str(out))


def _action(told: str) -> tuple[str, str]:
    """Return the label and the action of an option; `*` for all labels."""
    label, equals, action = told.partition("=")
    return (label, action) if equals else ("*", told)


@app.command("anonymise")
def anonymise(
    table: Documents,
    declaration: Annotated[Path, typer.Argument(help="YAML: quasi-identifiers, sensitive columns, bounds.", exists=True, dir_okay=False)],
    out: Out,
    report: Annotated[Path | None, typer.Option("--report", help="Also write the report here.")] = None,
    population: Annotated[Path | None, typer.Option("--population", help="The population, for the journalist's risk.", exists=True)] = None,
) -> None:
    """Generalise a table to the declared bounds at the least loss."""
    from headwater.data.privacy.anonymity.anonymise import anonymise as made_anonymous
    from headwater.data.privacy.anonymity.declaration import read_declaration
    from headwater.data.privacy.documents import write_table
    from headwater.data.table import read_table

    declared = read_declaration(declaration.read_bytes(), declaration.name)
    made = made_anonymous(read_table(table), declared, read_table(population) if population else None)
    part = out.with_name(out.name + ".part")
    with part.open("wb") as file:
        write_table(file, made.names, made.records, parquet=out.suffix == ".parquet")
    part.replace(out)
    if report is not None:
        report.write_text(json.dumps(made.report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    output.record(made.report, title=str(out))


@protected.command("list")
def listed(data: Data = None) -> None:
    """List protected tables."""
    from headwater.core import identity, platform, settings
    from headwater.data.privacy.protected import holding

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        found = holding.listed(connection, scopes=[identity.ROOT], grantee=None)
    rows = [{"table": one.name, "organisation": one.organisation, "rows": one.rows, "title": one.declared.title} for one in found]
    output.rows(rows, empty="No protected table yet: headwater data protected register NAME DECLARATION")


@protected.command("register")
def register(
    table: Table,
    declaration: Annotated[Path, typer.Argument(help="YAML: columns with public bounds, rules; the rows come with --rows.", exists=True)],
    rows: Annotated[Path, typer.Option("--rows", help="The rows: Parquet or CSV.", exists=True, dir_okay=False)],
    organisation: Annotated[str, typer.Option("--organisation", help="Whose table it is.")] = "city",
    data: Data = None,
) -> None:
    """Put a table under protection."""
    from headwater.core import platform, settings
    from headwater.core.yaml_file import parse, validated
    from headwater.data.privacy.protected import holding

    with platform.opened(settings.load(data_folder=data)) as opened:
        located = parse(declaration.read_bytes(), declaration.name, "declaration")
        if isinstance(located.value, dict):
            located.value["artifact"] = opened.store.put_file(rows)
        declared = validated(holding.Declared, located, declaration.name, "declaration")
        made = holding.register(opened, table, organisation, declared, actor=opened.found())
    output.record({"table": made.name, "rows": made.rows, "epsilon": made.declared.epsilon, "minimum_cell": made.declared.minimum_cell})


@protected.command("grant")
def grant(
    table: Table,
    grantee: Annotated[str, typer.Argument(help="The organisation that may ask.")],
    epsilon: Annotated[float, typer.Option("--epsilon", help="What it may spend in all.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the ledger.")],
    questions: Annotated[int, typer.Option("--questions", min=0, help="How many exact questions it may ask.")] = 100,
    data: Data = None,
) -> None:
    """Give an organisation a budget on a table, or change it."""
    from headwater.core import platform, settings
    from headwater.data.privacy.protected import budget

    with platform.opened(settings.load(data_folder=data)) as opened:
        given = budget.give(opened, table, grantee, epsilon=epsilon, most_questions=questions, reason=reason, actor=opened.found())
    output.record({"table": table, "grantee": grantee, "epsilon": given.total, "left": given.left, "questions": given.most_questions})


@protected.command("show")
def show(table: Table, data: Data = None) -> None:
    """Show a table's rules, its budgets and what was asked of it."""
    from headwater.core import platform, settings
    from headwater.data.privacy.protected import asking, budget, holding

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        found = holding.get(connection, table)
        budgets = [
            {"grantee": one.grantee, "epsilon": one.total, "left": one.left, "questions": one.questions}
            for one in budget.listed(connection, table)
        ]
        asked = [
            {"at": one.asked_at, "grantee": one.grantee, "state": one.state, "epsilon": one.epsilon}
            for one in asking.listed(connection, table)
        ]
    output.record(found.declared.model_dump(mode="json") | {"rows": found.rows, "budgets": budgets, "asked": asked}, title=table)


@protected.command("ask")
def ask(
    table: Table,
    question: Annotated[str, typer.Argument(help='JSON, such as {"kind": "count", "epsilon": 0.1} or {"group_by": ["sex"]}.')],
    data: Data = None,
) -> None:
    """Ask a table as the administrator of this platform: with noise where the question has a kind, else exactly."""
    from pydantic import ValidationError

    from headwater.core import identity, platform, settings
    from headwater.core.errors import BadInput
    from headwater.data.privacy.protected.questions import AggregateQuestion, PrivateQuestion

    try:
        told = json.loads(question)
        asked = (PrivateQuestion if isinstance(told, dict) and "kind" in told else AggregateQuestion).model_validate(told)
    except (ValueError, ValidationError) as error:
        raise BadInput(f"The question does not fit: {error}.", "See docs/privacy.md.") from error
    with platform.opened(settings.load(data_folder=data)) as opened:
        person = opened.found()
        with opened.db.read() as connection:
            actor = identity.load_actor(connection, person, now=opened.clock.now())
        output.record(_answer(opened, actor, table, asked), title=table)


def _answer(opened: Platform, actor: Any, table: str, asked: Any) -> dict[str, Any]:
    from headwater.data.privacy.protected import asking
    from headwater.data.privacy.protected.questions import PrivateQuestion

    private = isinstance(asked, PrivateQuestion)
    found = asking.ask_private(opened, actor, table, asked) if private else asking.ask_exact(opened, actor, table, asked)
    return dict(found.answer or {}) | {"id": found.id, "epsilon": found.epsilon}
