"""The Croissant description of a data set: what mlcroissant and catalogues that speak it read.

Croissant 1.1 JSON-LD with the responsible-AI terms (MLCommons Croissant format specification 1.1 and
Croissant RAI 1.0). Pure: card, files and counts in, JSON out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.data.card import ROW, Card, Column, Sensitive
from headwater.data.split import PARTS

SPECIFICATION = "http://mlcommons.org/croissant/1.1"
RAI = "http://mlcommons.org/croissant/RAI/1.0"
LABELS_SHOWN = 40

_CR_TERMS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format includes isArray "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in _CR_TERMS.split()},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the data set: its name, `sha256` in hex, bytes and rows."""

    name: str
    sha256: str
    size: int
    rows: int


def describe(card: Card, files: Mapping[str, File], *, rejected_rows: int) -> dict[str, Any]:
    """Return the JSON-LD of a data set whose parts lie beside it; `files` is keyed by part."""
    described: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [SPECIFICATION, RAI],
        "name": card.name,
        "alternateName": [card.title.en, card.title.zh],
        "description": {"en": card.description.en, "zh": card.description.zh},
        "version": card.version,
        "license": card.licence_url or card.licence,
        "url": card.source,
        "creator": [_creator(one.name, one.url, organisation=one.organisation) for one in card.creators],
        "distribution": [_file(files[part]) for part in PARTS],
        "recordSet": [_record_set(card, part, files[part]) for part in PARTS],
        "rai:dataPreprocessingProtocol": [_preparation(files, rejected_rows)],
    }
    if card.citation:
        described["citeAs"] = card.citation
    if card.published:
        described["datePublished"] = card.published
    if card.sensitive:
        described["rai:personalSensitiveInformation"] = [_sensitive(one) for one in card.sensitive]
    if reasons := [f"{one.name}: {one.reason.en}" for one in card.sensitive if one.reason]:
        described["rai:dataLimitations"] = reasons
    return described


def _creator(name: str, url: str, *, organisation: bool) -> dict[str, str]:
    return {"@type": "sc:Organization" if organisation else "sc:Person", "name": name} | ({"url": url} if url else {})


def _file(file: File) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "contentUrl": file.name,
        "contentSize": f"{file.size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": file.sha256,
    }


def _record_set(card: Card, part: str, file: File) -> dict[str, Any]:
    fields = [_field(part, file.name, column.name, _data_type(column), _words(column)) for column in card.columns]
    row = _field(part, file.name, ROW, "cr:Int64", "The row's number in the source table, counted from 0.")
    return {
        "@type": "cr:RecordSet",
        "@id": part,
        "name": part,
        "description": f"The {file.rows} rows of the part '{part}'.",
        "field": [*fields, row],
    }


def _field(part: str, file: str, name: str, data_type: str, words: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{part}/{name}",
        "name": name,
        "description": words,
        "dataType": data_type,
        "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
    }


def _data_type(column: Column) -> str:
    if column.type == "number":
        return "cr:Float64"
    if column.type == "integer" or (column.type == "category" and isinstance(column.allowed[0], int)):
        return "cr:Int64"
    return "sc:Text"


def _words(column: Column) -> str:
    head = column.description.en if column.description else column.title.en if column.title else column.name
    labels: Sequence[str] = [f"{one.value} = {one.en}" for one in column.values[:LABELS_SHOWN] if one.en]
    return f"{head} ({column.role}{f', {column.unit}' if column.unit else ''}){': ' + '; '.join(labels) if labels else ''}"


def _sensitive(one: Sensitive) -> str:
    return f"{one.name} (column {one.column}{'' if one.gradable else ', not gradable'})"


def _preparation(files: Mapping[str, File], rejected_rows: int) -> str:
    sizes = ", ".join(f"{part} {files[part].rows}" for part in PARTS)
    return f"Each cell was checked against the card; {rejected_rows} rows were set aside with their reasons. Parts: {sizes}."
