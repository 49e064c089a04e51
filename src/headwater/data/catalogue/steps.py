"""What a project can call of the catalogue: what a run made becomes the next version of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from headwater.core.errors import BadInput, NotFound
from headwater.core.platform import Platform
from headwater.core.steps import Params, Port, Task, params_of, step

if TYPE_CHECKING:
    from headwater.data.catalogue.describe import Description

CARD = "card.json"
PARTS = "train.parquet valid.parquet test.parquet"
"""The table of a data set by `data.prepare`; what was set aside is no part of it."""


class PublishParams(Params):
    """Parameters of `data.publish`; those left out come from the description, or from the data set's own card."""

    name: str | None = Field(None, description="The data set's name in the catalogue.")
    zone: str | None = Field(None, description="A zone, such as `finance`.")
    openness: str | None = Field(None, description="`open`, `conditional` or `authorised`.")
    rhythm: str | None = Field(None, description="How often it is updated, such as `monthly`.")
    licence: str | None = Field(None, description="A licence of the vocabulary.")
    keywords: tuple[str, ...] | None = Field(None, description="Words to be found by.")
    contact: str | None = None
    note: str = Field("", max_length=2000, description="What is new in this version.")


def version_holds(platform: Platform, facts: Mapping[str, Any]) -> bool:
    """Tell whether the version that an earlier run published is still the newest of a data set that is not withdrawn."""
    from headwater.data.catalogue import sets

    try:
        with platform.db.read() as connection:
            dataset = sets.find(connection, str(facts.get("dataset")))
            return dataset.published and sets.version(connection, dataset).number == facts.get("version")
    except NotFound:
        return False


@step(
    "data.publish",
    summary="Publish a data set that a run made as the next version in the catalogue, with its lineage.",
    params=PublishParams,
    inputs={
        "dataset": Port("any", summary="The files: a data set by data.prepare, or any file, folder or archive."),
        "description": Port("any", required=False, summary="YAML that describes the data set; not needed where it holds a card."),
    },
    outputs={"version": Port("data-version", summary="The published version, as JSON.")},
    place="platform",
    still_holds=version_holds,
)
def publish(task: Task) -> None:
    """Publish in one transaction, keyed by the job, and write down the version."""
    from headwater.data.catalogue import publishing

    params, source = params_of(task, PublishParams), task.input("dataset")
    wish = publishing.Wish(
        description=_described(task, params, source),
        source=source,
        organisation=task.organisation,
        actor=task.actor,
        job=task.job,
        note=params.note,
        inputs={"dataset": task.digests["dataset"]},
    )
    version = publishing.publish(task.the_platform(), wish)
    told = json.dumps(version.as_json(), ensure_ascii=False, indent=2, sort_keys=True)
    task.output("version").write_text(told + "\n", encoding="utf-8")
    task.note(dataset=wish.description.name, version=version.number, digest=version.digest, statements=[version.statement])
    known = {name: score["value"] for name, score in version.quality.items() if score["value"] is not None}
    task.measure(**known, **({"rows": version.rows} if version.rows is not None else {}))


def _described(task: Task, params: PublishParams, source: Path) -> Description:
    from headwater.data.card import Card
    from headwater.data.catalogue import describe

    given = {name: value for name, value in params.model_dump(exclude={"note"}).items() if value is not None}
    if "description" in task.inputs:
        read = describe.read(task.input("description").read_bytes())
        return describe.from_json(read.model_dump(mode="json", by_alias=True) | given, "parameters")
    if source.is_dir() and (source / CARD).exists():
        card = Card.model_validate(json.loads((source / CARD).read_text(encoding="utf-8")))
        return describe.from_card(card, **given, table=PARTS)
    raise BadInput("Nothing describes the data set.", "Give the input 'description', or a data set that data.prepare made.")
