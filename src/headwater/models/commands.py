"""`headwater model …`: published models, asking them, serving and retiring versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.core import output
from headwater.core.options import Data

app = typer.Typer(no_args_is_help=True, help="Published models, and asking them.")

Name = Annotated[str, typer.Argument(help="A model's name, such as credit.")]
Number = Annotated[int, typer.Argument(min=1, help="A version's number.")]
COLUMNS = {"name": "model", "served": "answers as version", "grades": "grades", "risk_class": "risk", "organisation": "organisation"}


@app.command("list")
def listed(data: Data = None) -> None:
    """List published models."""
    from headwater.core import identity, platform, settings
    from headwater.models import hub

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        found = hub.listed(connection, scopes=[identity.ROOT], limit=1000)
    rows = [
        model.as_json() | {"grades": dict(model.versions[0].grades), "risk_class": model.versions[0].risk_class}
        for model in found
        if model.versions
    ]
    output.rows(rows, columns=COLUMNS, empty="No model yet: headwater run recipes/credit/project.yaml")


@app.command("show")
def show(name: Name, data: Data = None) -> None:
    """Show one model, its versions, and what the gate says of each now."""
    from headwater.core import platform, settings
    from headwater.models import hub, policy, publishing

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        model, now = hub.get(connection, name), opened.clock.now()
        told = model.as_json()
        for one, version in zip(told["versions"], model.versions, strict=True):
            decision = publishing.weigh(connection, opened.keyring, version, policy.shipped(), now=now)
            one["may_answer"], one["reasons"] = decision.allowed, list(decision.reasons)
    output.record(told, title=name)


@app.command("predict")
def predict(
    name: Name,
    rows: Annotated[Path | None, typer.Option("--rows", help="JSON file with a list of rows; an example row where left out.")] = None,
    data: Data = None,
) -> None:
    """Ask the served version of a model."""
    from contextlib import closing

    from headwater.core import identity, platform, settings
    from headwater.core.errors import BadInput
    from headwater.models.example import example_row
    from headwater.models.serving import Serving

    with platform.opened(settings.load(data_folder=data)) as opened, closing(Serving(opened)) as serving:
        administrator = opened.found()
        with opened.db.read() as connection:
            actor = identity.load_actor(connection, administrator, now=opened.clock.now())
        asked: Any
        if rows is None:
            asked = [example_row(serving.signature(name))]
        else:
            try:
                asked = json.loads(rows.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise BadInput(f"The rows cannot be read: {error}.", "Give a JSON list of objects.", where=str(rows)) from error
        if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
            raise BadInput("The rows are not a JSON list of objects.", "Give [{…}, {…}].", where=str(rows))
        answers = serving.predict(name, asked, actor)
    classes = [str(one) for one in answers.signature.classes]
    seen = [{"label": one.label, "probabilities": dict(zip(classes, one.probabilities, strict=True))} for one in answers.answers]
    output.rows(seen, title=f"{name} version {answers.version.number}")


@app.command("serve")
def serve(name: Name, version: Number, data: Data = None) -> None:
    """Have a version of a model answer."""
    import uuid

    from headwater.core import platform, settings
    from headwater.models import publishing

    with platform.opened(settings.load(data_folder=data)) as opened:
        model = publishing.serve(opened, name, job=f"cli-{uuid.uuid4().hex}", actor=opened.found(), number=version)
    output.record({"model": model.name, "answers_as_version": model.served, "address": model.address})


@app.command("retire")
def retire(
    name: Name, version: Number, reason: Annotated[str, typer.Option("--reason", help="Why it is taken out of use.")], data: Data = None
) -> None:
    """Take a version out of use and revoke its publication."""
    from headwater.core import platform, settings
    from headwater.models import publishing

    with platform.opened(settings.load(data_folder=data)) as opened:
        model = publishing.retire(opened, name, version, reason=reason, actor=opened.found())
    output.record({"model": model.name, "retired_version": version, "answers_as_version": model.served})
