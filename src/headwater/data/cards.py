"""What tells people and machines about a version: its Croissant card with the responsible-AI part, and how to cite it. Pure.

Croissant 1.1 and Croissant RAI 1.0 (MLCommons). The RAI part says only what lineage, the catalogue and
the measured quality say; what nobody stated is left out, never invented.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headwater.core.calendar import local_day
from headwater.core.clock import to_text
from headwater.data.catalogue.sets import Column, ColumnType, DataSet, File, Version
from headwater.data.catalogue.vocabulary import Licence, Zone
from headwater.data.croissant import CONTEXT, RAI, SPECIFICATION
from headwater.data.lineage import Made

CitationStyle = Literal["plain", "bibtex", "cff"]
_TYPES: dict[ColumnType, str] = {
    "integer": "cr:Int64",
    "number": "cr:Float64",
    "boolean": "sc:Boolean",
    "date": "sc:Date",
    "time": "sc:DateTime",
    "text": "sc:Text",
    "category": "sc:Text",
}
_UNSAFE = str.maketrans(dict.fromkeys("{}\\\n\r", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version with what its card is made of."""

    dataset: DataSet
    version: Version
    licence: Licence
    publisher: str
    """The organisation's title."""
    page: str
    """The data set's own address."""
    zone: Zone | None = None
    lineage: Sequence[Made] = ()
    sensitive: Sequence[str] = ()
    """What the table's card declares as personal or sensitive."""


def croissant(shown: Shown, address: Callable[[File], str]) -> dict[str, Any]:
    """Return the JSON-LD card of a version; `address` gives where a file is downloaded."""
    dataset, version = shown.dataset, shown.version
    told: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [SPECIFICATION, RAI],
        "name": dataset.name,
        "alternateName": [text for text in (dataset.title.get("en"), dataset.title.get("zh")) if text],
        "description": dict(dataset.about),
        "version": f"{version.number}.0.0",
        "license": shown.licence.url or shown.licence.id,
        "url": shown.page,
        "creator": [{"@type": "sc:Organization", "name": shown.publisher}],
        "publisher": {"@type": "sc:Organization", "name": shown.publisher},
        "keywords": list(dataset.keywords),
        "datePublished": local_day(dataset.issued_at or version.created_at).isoformat(),
        "dateModified": local_day(version.created_at).isoformat(),
        "citeAs": cite(shown, "bibtex"),
        "distribution": [_file(file, address(file)) for file in version.files],
        "recordSet": [_record_set(place, file, version.columns) for place, file in enumerate(version.table, start=1)],
    }
    return told | _responsible(shown)


def _responsible(shown: Shown) -> dict[str, Any]:
    told: dict[str, Any] = {
        "rai:dataReleaseMaintenancePlan": f"Updated: {shown.dataset.rhythm}. Contact: {shown.dataset.contact or 'not stated'}."
    }
    if shown.lineage:
        told["rai:dataPreprocessingProtocol"] = [_protocol(one) for one in shown.lineage]
    if limits := _limitations(shown.version):
        told["rai:dataLimitations"] = limits
    if shown.sensitive:
        told["rai:personalSensitiveInformation"] = list(shown.sensitive)
    if shown.zone is not None and shown.dataset.openness != "open":
        told["rai:dataUseCases"] = [f"Granted purposes of the zone {shown.zone.id}: {', '.join(shown.zone.purposes)}."]
    if shown.dataset.temporal:
        told["rai:dataCollectionTimeframe"] = [day for day in shown.dataset.temporal if day]
    return told


def _protocol(one: Made) -> str:
    """Return one step of the lineage as a sentence whose digests can be looked up."""
    inputs = ", ".join(f"{name} {digest}" for name, digest in sorted(one.inputs.items())) or "files handed in"
    job = f" in job {one.job}" if one.job else ""
    return f"{one.step}{job} at {to_text(one.at)} made {one.digest} from {inputs} (statement {one.statement})."


def _limitations(version: Version) -> list[str]:
    """Return what the measured quality says against the version, unknown scores included."""
    found = []
    for name, score in version.quality.items():
        if score["value"] is None:
            found.append(f"{name}: unknown, {score['because']}.")
        elif score["value"] < 1:
            found.append(f"{name}: {score['good']} of {score['of']} ({score['value']:.4f}).")
    return found


def _file(file: File, address: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "contentUrl": address,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/x-parquet" if file.name.endswith(".parquet") else file.media_type,
        "sha256": file.digest.removeprefix("sha256:"),
    }


def _record_set(place: int, file: File, columns: Sequence[Column]) -> dict[str, Any]:
    name = "table" if place == 1 else f"table-{place}"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The {file.rows} rows of {file.name}.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column.name}",
                "name": column.name,
                "description": column.about.get("en") or column.about.get("zh") or column.name,
                "dataType": _TYPES[column.type],
                "source": {"fileObject": {"@id": file.name}, "extract": {"column": column.name}},
            }
            for column in columns
        ],
    }


def cite(shown: Shown, style: CitationStyle) -> str:
    """Return how to cite a version: as a sentence, as BibTeX, or as a CITATION.cff file."""
    day = local_day(shown.version.created_at)
    title = shown.dataset.title.get("en") or shown.dataset.title.get("zh") or shown.dataset.name
    version = f"{shown.version.number}"
    if style == "plain":
        return f"{shown.publisher} ({day.year}). {title} (version {version}) [data set]. {shown.page}. {shown.version.digest}"
    if style == "bibtex":
        fields = {
            "author": f"{{{_plain(shown.publisher)}}}",
            "title": f"{{{_plain(title)}}}",
            "year": str(day.year),
            "version": version,
            "url": shown.page,
            "note": f"data set, {shown.version.digest}",
        }
        listed = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{shown.dataset.name}-{version},\n{listed}\n}}"
    return _cff(shown, title, day.isoformat(), version)


def _cff(shown: Shown, title: str, day: str, version: str) -> str:
    import yaml

    told = {
        "cff-version": "1.2.0",
        "message": "If you use this data set, please cite it as below.",
        "type": "dataset",
        "title": title,
        "version": version,
        "date-released": day,
        "license": shown.licence.id,
        "url": shown.page,
        "authors": [{"name": shown.publisher}],
        "keywords": list(shown.dataset.keywords),
        "identifiers": [{"type": "other", "value": shown.version.digest, "description": "digest of the version's files"}],
    }
    return yaml.safe_dump({name: value for name, value in told.items() if value}, allow_unicode=True, sort_keys=False)


def _plain(text: str) -> str:
    return text.translate(_UNSAFE)
