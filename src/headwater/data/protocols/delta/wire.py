"""The shapes that Delta Sharing sends: lines of JSON, pages of names, errors. Pure.

Source: Delta Sharing protocol, "REST APIs" and "API Response Format in Parquet".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from headwater.core.errors import BadInput, HeadwaterError
from headwater.data.catalogue.sets import File, Version
from headwater.data.protocols.delta.predicates import Condition, keeps
from headwater.data.protocols.delta.statistics import Footer, schema_string
from headwater.data.protocols.offers import Offer, stable_id

MOST_RESULTS = 1000
CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST", 409: "CONFLICT", 413: "REQUEST_TOO_LARGE"}
STATUSES = {422: 400}
SIGNED = "sp=r"
"""Says that the address is signed for reading: readers on Delta's Rust kernel fetch only addresses whose query says so."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One Parquet file of a table, with what its footer tells."""

    file: File
    footer: Footer


def error(told: HeadwaterError) -> tuple[int, dict[str, str]]:
    """Return the status and body of an error."""
    status = STATUSES.get(told.http_status, told.http_status)
    message = " ".join(part for part in (told.what, told.hint) if part)
    return status, {"errorCode": CODES.get(status, "INVALID_PARAMETER_VALUE"), "message": message}


def page(names: Sequence[tuple[str, T]], listing: str, *, most: int | None, token: str) -> tuple[list[T], str]:
    """Return one page of things sorted by name, and the token of the next, empty where there is none.

    Raises BadInput for a token that another listing gave out, or nobody.
    """
    after = _after(listing, token) if token else ""
    size = min(MOST_RESULTS, MOST_RESULTS if most is None else most)
    left = [one for one in names if one[0] > after]
    shown = left[:size]
    more = len(left) > size
    last = shown[-1][0] if shown else after
    return [thing for _, thing in shown], _token(listing, last) if more else ""


def _token(listing: str, after: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([listing, after], ensure_ascii=False).encode()).decode().rstrip("=")


def _after(listing: str, token: str) -> str:
    try:
        told = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error) as wrong:
        raise _bad_token(token) from wrong
    if not isinstance(told, list) or len(told) != 2 or told[0] != listing or not isinstance(told[1], str):
        raise _bad_token(token)
    return told[1]


def _bad_token(token: str) -> BadInput:
    return BadInput(f"'{token[:60]}' is no page token of this listing.", "Use `nextPageToken` of its last page, or none.")


def chosen(parts: Sequence[Part], condition: Condition, limit: int | None) -> list[Part]:
    """Return the files that may hold rows that a reader wants, in order, and no more than `limit` rows need."""
    kept, rows = [], 0
    for part in parts:
        if limit is not None and rows >= limit:
            break
        if keeps(condition, part.footer.bounds):
            kept.append(part)
            rows += part.footer.rows
    return kept


def wants_delta(capabilities: str) -> bool:
    """Tell whether a reader's capabilities take the delta format and not the parquet one."""
    told = dict(part.strip().lower().partition("=")[::2] for part in capabilities[:2000].split(";"))
    formats = {one.strip() for one in told.get("responseformat", "").split(",")}
    return "delta" in formats and "parquet" not in formats


def protocol(*, delta: bool = False) -> dict[str, Any]:
    """Return the line that says what a reader must know: nothing special."""
    return {"protocol": {"deltaProtocol": {"minReaderVersion": 1, "minWriterVersion": 2}} if delta else {"minReaderVersion": 1}}


def metadata(offer: Offer, version: Version, types: Mapping[str, Any], language: str, *, delta: bool = False) -> dict[str, Any]:
    """Return the line that describes the table."""
    dataset = offer.dataset
    about = {column.name: offer.told(column.about, language) for column in version.columns if column.about}
    table: dict[str, Any] = {
        "id": dataset.id,
        "name": dataset.name,
        "description": offer.told(dataset.about, language),
        "format": {"provider": "parquet"} | ({"options": {}} if delta else {}),
        "schemaString": schema_string(types, about),
        "partitionColumns": [],
        "configuration": {},
    }
    counts = {"version": version.number, "size": sum(one.bytes for one in version.table), "numFiles": len(version.table)}
    return {"metaData": counts | {"deltaMetadata": table} if delta else table | counts}


def file(part: Part, url: str, expires_at: datetime, version: Version, *, delta: bool = False) -> dict[str, Any]:
    """Return the line of one file, with the address that opens it until a time."""
    name = hashlib.sha256(f"{part.file.name} {part.file.digest}".encode()).hexdigest()
    told: dict[str, Any] = {"partitionValues": {}, "size": part.file.bytes, "stats": part.footer.stats()}
    common = {"id": name[:32], "expirationTimestamp": _milliseconds(expires_at)}
    if not delta:
        return {"file": {"url": url} | common | told}
    added = {"path": f"{url}?{SIGNED}", "modificationTime": _milliseconds(version.created_at), "dataChange": True} | told
    return {"file": common | {"version": version.number, "deltaSingleAction": {"add": added}}}


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def lines(values: Iterable[Mapping[str, Any]]) -> bytes:
    """Return values as lines of JSON."""
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in values)


def share_id(name: str) -> str:
    """Return a share's stable id."""
    return stable_id("share", name)
