"""A data set as a repository of the Hugging Face Hub: revisions, files, the README with its card. Pure.

Source: what `huggingface_hub` 1.x asks of a hub and reads from its answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from headwater.core.clock import to_text
from headwater.core.errors import NotFound
from headwater.data.catalogue.sets import File, Version
from headwater.data.protocols.offers import Links, Offer

README = "README.md"
MAIN = ("main", "refs/convert/parquet", "refs%2Fconvert%2Fparquet")


class NoRevision(NotFound):
    """A repository has no such revision."""

    code = "data.no_revision"


def commit_of(version: Version) -> str:
    """Return a version's commit: forty digits of its digest."""
    return version.digest.removeprefix("sha256:")[:40]


def revision(versions: Sequence[Version], name: str) -> Version:
    """Return the version that a revision names: `main`, a number with or without `v`, or a commit. Raises NoRevision."""
    if name == "main":
        return versions[0]
    number = re.fullmatch(r"v?([0-9]{1,9})", name)
    for one in versions:
        if commit_of(one) == name or (number is not None and one.number == int(number[1])):
            return one
    raise NoRevision(f"There is no revision '{name[:80]}'.", f"There are: main, {', '.join(f'v{one.number}' for one in versions[:20])}.")


def info(offer: Offer, version: Version) -> dict[str, Any]:
    """Return what the hub tells of a data set at a revision."""
    dataset = offer.dataset
    names = [one.name for one in version.files]
    return {
        "_id": dataset.id.replace("-", "")[:24],
        "id": repository_id(offer),
        "author": offer.organisation.slug,
        "sha": commit_of(version),
        "createdAt": _time(dataset.created_at),
        "lastModified": _time(version.created_at),
        "private": False,
        "gated": False if offer.open else "manual",
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [f"license:{dataset.licence.lower()}", *dataset.keywords],
        "description": offer.told(dataset.about, "en"),
        "siblings": [{"rfilename": name} for name in dict.fromkeys([README, *names])],
    }


def tree(offer: Offer, version: Version, links: Links, folder: str) -> list[dict[str, Any]]:
    """Return every file below a folder, as the hub lists a tree recursively."""
    inside = f"{folder.strip('/')}/" if folder.strip("/") else ""
    return [entry(one) for one in entries(offer, version, links) if one.name.startswith(inside)]


def entry(file: File) -> dict[str, Any]:
    """Return a file as the hub lists it."""
    bare = file.digest.removeprefix("sha256:")
    return {
        "type": "file",
        "path": file.name,
        "size": file.bytes,
        "oid": bare[:40],
        "lfs": {"oid": bare, "size": file.bytes, "pointerSize": 134},
    }


def entries(offer: Offer, version: Version, links: Links) -> list[File]:
    """Return a version's files with the README, which is written from the catalogue where the version has none."""
    if any(one.name == README for one in version.files):
        return list(version.files)
    text = readme(offer, version, links)
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    return [File(name=README, digest=digest, media_type="text/markdown", bytes=len(text)), *version.files]


def readme(offer: Offer, version: Version, links: Links) -> bytes:
    """Return a README with the card's fields on top, in YAML, whose values are JSON and so cannot break out of it."""
    dataset = offer.dataset
    tables = [one.name for one in version.table]
    fields: dict[str, Any] = {
        "pretty_name": offer.told(dataset.title, "en"),
        "license": dataset.licence.lower() if offer.licence and offer.licence.open else "other",
        "tags": list(dataset.keywords),
    }
    if tables:
        fields["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": tables}]}]
    head = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in fields.items())
    body = f"{_line(offer.told(dataset.title, 'en'))}\n\n{_line(offer.told(dataset.about, 'en'))}\n\n{links.page(dataset.name)}\n"
    return f"---\n{head}---\n# {body}".encode()


def repository_id(offer: Offer) -> str:
    """Return the repository's name: organisation and data set."""
    return f"{offer.organisation.slug}/{offer.dataset.name}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _time(at: Any) -> str:
    return to_text(at)[:23] + "Z"
