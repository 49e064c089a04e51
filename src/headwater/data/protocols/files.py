"""A stored file as an HTTP response: whole or one range of it, with its digest as the entity tag.

Source: RFC 9110, sections 8.8.3, 13.1 and 14. A request for several ranges is answered with the whole
file, as the standard allows: many small ranges are a known way to exhaust a server.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from headwater.core.store import Store
from headwater.data.catalogue.sets import File

CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes from `start` up to and without `end`."""

    start: int
    end: int


def respond(request: Request, store: Store, file: File, *, headers: dict[str, str] | None = None) -> Response:
    """Return a file's response; HEAD is answered by the server from the same one."""
    tag = f'"{file.digest.removeprefix("sha256:")}"'
    told = {"etag": tag, "accept-ranges": "bytes", "content-disposition": disposition(file.name), "cache-control": "no-cache"}
    told |= {"content-security-policy": "sandbox; default-src 'none'"} | (headers or {})
    if tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=told)
    asked = span(request.headers.get("range", ""), file.bytes) if _range_holds(request, tag) else None
    if asked is not None and asked.start >= asked.end:
        return Response(status_code=416, headers=told | {"content-range": f"bytes */{file.bytes}"})
    sent = asked or Span(start=0, end=file.bytes)
    told["content-length"] = str(sent.end - sent.start)
    if asked is not None:
        told["content-range"] = f"bytes {sent.start}-{sent.end - 1}/{file.bytes}"
    body = _read(store.open(file.digest), sent)
    return StreamingResponse(body, status_code=200 if asked is None else 206, headers=told, media_type=file.media_type)


def span(header: str, size: int) -> Span | None:
    """Return the bytes that a Range header asks for, empty where the file has none of them; None where the whole file is to be sent. Pure."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return Span(start=max(0, size - int(found[2])), end=size if int(found[2]) else 0)
    start, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    return Span(start=start, end=min(last + 1, size))


def disposition(name: str) -> str:
    """Return the header that has a browser save the file under its own name and never show it as a page of ours."""
    plain = name.rpartition("/")[2]
    ascii_name = re.sub(r"[^A-Za-z0-9._ -]", "_", plain)
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(plain, safe='')}"


def _range_holds(request: Request, tag: str) -> bool:
    condition = request.headers.get("if-range")
    return condition is None or condition.strip() == tag


async def _read(file: BinaryIO, sent: Span) -> AsyncIterator[bytes]:
    try:
        await run_in_threadpool(file.seek, sent.start)
        left = sent.end - sent.start
        while left > 0 and (chunk := await run_in_threadpool(file.read, min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
    finally:
        file.close()
