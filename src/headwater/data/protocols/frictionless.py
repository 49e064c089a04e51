"""A data set as a Frictionless data package. Pure.

Source: Data Package specification 1.0 with the tabular profiles (specs.frictionlessdata.io).
"""

from __future__ import annotations

import re
from typing import Any

from headwater.core.clock import to_text
from headwater.data.catalogue.sets import Column, File
from headwater.data.protocols.ckan.packages import format_of
from headwater.data.protocols.offers import Links, Offer

TYPES = {"integer": "integer", "number": "number", "text": "string", "boolean": "boolean", "date": "date", "time": "datetime"}


def package(offer: Offer, links: Links, language: str) -> dict[str, Any]:
    """Return the package; files that are not for all are named without an address, and so left out."""
    dataset, version = offer.dataset, offer.version
    found: dict[str, Any] = {
        "name": dataset.name,
        "id": dataset.id,
        "title": offer.told(dataset.title, language),
        "description": offer.told(dataset.about, language),
        "version": str(version.number),
        "created": to_text(version.created_at),
        "homepage": links.page(dataset.name),
        "keywords": list(dataset.keywords),
        "licenses": [_licence(offer, language)],
        "contributors": [{"title": offer.organisation.title, "role": "publisher"}],
        "sources": [{"title": offer.organisation.title, "path": links.page(dataset.name)}],
        "resources": _resources(offer, links, language) if offer.open else [],
    }
    return {key: value for key, value in found.items() if value or key == "resources"}


def _licence(offer: Offer, language: str) -> dict[str, str]:
    found = {"name": offer.dataset.licence}
    if offer.licence is not None:
        found["title"] = offer.told(offer.licence.title.model_dump(), language)
        found |= {"path": offer.licence.url} if offer.licence.url else {}
    return found


def _resources(offer: Offer, links: Links, language: str) -> list[dict[str, Any]]:
    names: dict[str, int] = {}
    return [_resource(offer, file, _unique(file.name, names), links, language) for file in offer.version.files]


def _resource(offer: Offer, file: File, name: str, links: Links, language: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": name,
        "title": file.name,
        "path": links.file(offer.dataset.name, offer.version.number, file.name),
        "format": format_of(file).lower(),
        "mediatype": file.media_type,
        "bytes": file.bytes,
        "hash": file.digest,
    }
    if file.table:
        told |= {"profile": "tabular-data-resource", "schema": {"fields": [_field(one, offer, language) for one in offer.version.columns]}}
    return told


def _field(column: Column, offer: Offer, language: str) -> dict[str, str]:
    told = {"name": column.name, "type": TYPES.get(column.type, "any"), "description": offer.told(column.about, language)}
    return {key: value for key, value in told.items() if value}


def _unique(file: str, names: dict[str, int]) -> str:
    """Return a resource name: lower case letters, digits, `.`, `-` and `_`, each once in a package."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", file.lower()).strip("-") or "file"
    names[plain] = names.get(plain, 0) + 1
    return plain if names[plain] == 1 else f"{plain}-{names[plain]}"
