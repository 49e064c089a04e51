"""Serve a file of the store over HTTP: whole, or one range of it, with its digest as the entity tag.

Source: RFC 9110, sections 8.8 (validators), 13 (conditions) and 14 (ranges). A request for several ranges gets the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers

from headwater.core.store import Store
from headwater.data.catalogue.sets import File

CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The bytes of a file that are sent: from `start` on, `length` of them."""

    start: int
    length: int


def span_of(header: str | None, size: int) -> Span | None:
    """Return the one range that a Range header asks for; the whole file where it asks for none; None where there is nothing there. Pure."""
    whole = Span(start=0, length=size)
    found = _RANGE.fullmatch((header or "").strip())
    if found is None:
        return whole
    first, last, tail = found.groups()
    if tail is not None:
        length = min(int(tail), size)
        return Span(start=size - length, length=length) if length else None
    if last and int(last) < int(first):
        return whole  # not a valid range: it is to be ignored
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    return Span(start=start, length=end - start + 1) if start < size else None


def serve_file(request: Request, store: Store, file: File, *, cache: str = "private, max-age=0") -> Response:
    """Return a file, or the range that the request asks for, as a download."""
    tag = f'"{file.digest}"'
    headers = {"etag": tag, "accept-ranges": "bytes", "cache-control": cache, "content-disposition": _disposition(file.name)}
    if tag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    span = span_of(_asked_range(request.headers, tag), file.bytes)
    if span is None:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{file.bytes}"})
    partial = span.length < file.bytes
    if partial:
        headers["content-range"] = f"bytes {span.start}-{span.start + span.length - 1}/{file.bytes}"
    headers["content-length"] = str(span.length)
    status, pieces = 206 if partial else 200, _pieces(store, file.digest, span)
    if span.length <= CHUNK:  # one piece: sent at once, without a stream's turns between threads
        return Response(b"".join(pieces), status_code=status, headers=headers, media_type=file.media_type)
    return StreamingResponse(pieces, status_code=status, headers=headers, media_type=file.media_type)


def _asked_range(headers: Headers, tag: str) -> str | None:
    """Return the Range header unless If-Range says that it was meant for other bytes."""
    return headers.get("range") if headers.get("if-range", tag) == tag else None


def _pieces(store: Store, digest: str, span: Span) -> Iterator[bytes]:
    with store.open(digest) as file:
        file.seek(span.start)
        left = span.length
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _disposition(name: str) -> str:
    """Return a header that names the download, in the form of RFC 6266 for names beyond ASCII."""
    message = Message()
    plain = name.rpartition("/")[2]
    encoding = plain if plain.isascii() else ("utf-8", "", plain)
    message.add_header("content-disposition", "attachment", filename=encoding)
    return str(message["content-disposition"])
