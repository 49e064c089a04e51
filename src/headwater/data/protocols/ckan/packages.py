"""Data sets, organisations, zones and files in CKAN's words. Pure.

Source: CKAN 2.11 documentation, "API guide": package, resource, organization and group dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from headwater.data.catalogue.sets import File
from headwater.data.catalogue.vocabulary import Licence, Zone
from headwater.data.protocols.offers import Links, Offer, Organisation, stable_id, told

FORMATS = {".parquet": "Parquet", ".csv": "CSV", ".json": "JSON", ".jsonl": "JSONL", ".zip": "ZIP", ".xlsx": "XLSX", ".xml": "XML"}


def package(offer: Offer, links: Links, language: str) -> dict[str, Any]:
    """Return a data set as a CKAN package with its resources."""
    dataset, organisation = offer.dataset, offer.organisation
    tags = [tag(word) for word in dataset.keywords]
    resources = [resource(offer, file, place, links) for place, file in enumerate(offer.version.files)]
    return {
        "id": dataset.id,
        "name": dataset.name,
        "title": told(dataset.title, language),
        "title_translated": dict(dataset.title),
        "notes": told(dataset.about, language),
        "notes_translated": dict(dataset.about),
        "type": "dataset",
        "state": "active" if offer.dataset.published else "draft",
        "private": False,
        "url": links.page(dataset.name),
        "version": str(offer.version.number),
        "author": organisation.title,
        "author_email": "",
        "maintainer": organisation.title,
        "maintainer_email": dataset.contact,
        "owner_org": organisation.id,
        "organization": organisation_summary(organisation),
        "groups": [group(offer.zone, language)] if offer.zone else [],
        "tags": tags,
        "num_tags": len(tags),
        "resources": resources,
        "num_resources": len(resources),
        "metadata_created": time(dataset.created_at),
        "metadata_modified": time(dataset.modified_at),
        "extras": extras(offer),
        "relationships_as_subject": [],
        "relationships_as_object": [],
        **licence_fields(dataset.licence, offer.licence, language),
    }


def licence_fields(name: str, licence: Licence | None, language: str) -> dict[str, Any]:
    """Return what a package says of its licence; a licence that is not in the list is named and no more."""
    if licence is None:
        return {"license_id": name, "license_title": name, "isopen": False}
    title = told(licence.title.model_dump(), language)
    return {"license_id": name, "license_title": title, "license_url": licence.url, "isopen": licence.open}


def extras(offer: Offer) -> list[dict[str, str]]:
    """Return what CKAN has no field for, as its pairs of texts."""
    dataset, version = offer.dataset, offer.version
    temporal = dataset.temporal or (None, None)
    found = {
        "openness": dataset.openness,
        "frequency": dataset.rhythm,
        "issued": time(dataset.issued_at) if dataset.issued_at else None,
        "spatial": dataset.spatial,
        "temporal_start": temporal[0],
        "temporal_end": temporal[1],
        "rows": str(version.rows) if version.rows is not None else None,
        "digest": version.digest,
    }
    return [{"key": key, "value": value} for key, value in found.items() if value]


def resource(offer: Offer, file: File, place: int, links: Links) -> dict[str, Any]:
    """Return a file as a CKAN resource. A file that is not for all points to the page that says how to apply."""
    dataset, version = offer.dataset, offer.version
    url = links.file(dataset.name, version.number, file.name) if offer.open else links.page(dataset.name)
    return {
        "id": offer.resource_id(file),
        "package_id": dataset.id,
        "name": file.name,
        "description": "",
        "format": format_of(file),
        "mimetype": file.media_type,
        "size": file.bytes,
        "hash": file.digest,
        "position": place,
        "url": url,
        "url_type": None,
        "resource_type": "file" if offer.open else "api",
        "state": "active",
        "created": time(dataset.issued_at or dataset.created_at),
        "last_modified": time(version.created_at),
        "metadata_modified": time(version.created_at),
        "datastore_active": False,
        "restricted": not offer.open,
    }


def organisation_summary(organisation: Organisation) -> dict[str, Any]:
    """Return an organisation as it stands in its packages."""
    return {
        "id": organisation.id,
        "name": organisation.slug,
        "title": organisation.title,
        "display_name": organisation.title,
        "description": "",
        "type": "organization",
        "is_organization": True,
        "approval_status": "approved",
        "state": "active",
        "image_url": "",
    }


def group(zone: Zone, language: str) -> dict[str, Any]:
    """Return a zone as a CKAN group."""
    title = told(zone.title.model_dump(), language)
    return {
        "id": stable_id("zone", zone.id),
        "name": zone.id,
        "title": title,
        "display_name": title,
        "description": told(zone.about.model_dump(), language),
        "type": "group",
        "is_organization": False,
        "state": "active",
        "image_display_url": "",
    }


def tag(word: str) -> dict[str, Any]:
    """Return a keyword as a CKAN tag."""
    return {"id": stable_id("tag", word), "name": word, "display_name": word, "state": "active", "vocabulary_id": None}


def licence(row: Licence, language: str) -> dict[str, Any]:
    """Return a licence as CKAN lists it."""
    title = told(row.title.model_dump(), language)
    return {
        "id": row.id,
        "title": title,
        "url": row.url,
        "status": "active",
        "family": "",
        "maintainer": "",
        "domain_data": True,
        "domain_content": True,
        "domain_software": False,
        "od_conformance": "approved" if row.open else "not reviewed",
        "osd_conformance": "not reviewed",
        "is_generic": False,
    }


def document(offer: Offer) -> Mapping[str, Sequence[str]]:
    """Return the fields by which a package is found, for the query language."""
    dataset = offer.dataset
    zone = [offer.zone.id, stable_id("zone", offer.zone.id)] if offer.zone else []
    return {
        "id": [dataset.id],
        "name": [dataset.name],
        "title": list(dataset.title.values()),
        "title_string": list(dataset.title.values()),
        "notes": list(dataset.about.values()),
        "author": [offer.organisation.title],
        "organization": [offer.organisation.slug],
        "owner_org": [offer.organisation.id],
        "groups": zone,
        "tags": list(dataset.keywords),
        "license_id": [dataset.licence],
        "license": [dataset.licence],
        "isopen": [str(offer.licence is not None and offer.licence.open).lower()],
        "openness": [dataset.openness],
        "extras_openness": [dataset.openness],
        "extras_frequency": [dataset.rhythm],
        "res_format": [format_of(file) for file in offer.version.files],
        "res_name": [file.name for file in offer.version.files],
        "metadata_created": [_moment(dataset.created_at)],
        "metadata_modified": [_moment(dataset.modified_at)],
        "version": [str(offer.version.number)],
        "state": ["active"],
        "private": ["false"],
        "capacity": ["public"],
        "permission_labels": ["public"],
        "type": ["dataset"],
        "dataset_type": ["dataset"],
        "site_id": ["headwater"],
    }


def format_of(file: File) -> str:
    """Return a file's format as catalogues name it."""
    suffix = PurePosixPath(file.name).suffix.lower()
    return FORMATS.get(suffix) or suffix.removeprefix(".").upper() or "DATA"


def time(at: datetime) -> str:
    """Return a time as CKAN writes it: UTC, without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
