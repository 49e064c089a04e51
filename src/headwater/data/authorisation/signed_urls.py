"""Addresses of files that hold for a while and for one grantee, without a sign-in: HMAC-SHA256 over all that they say.

    path = sign_url(platform, FileAccess(dataset=…, version=3, file="data/part-00000.parquet", grantee="city/lab", grant=…), lasts)
    access = check_url(platform, token)

`sign` and `check` are pure. An address says which data set, version and file it opens, to whom it was
given, under which grant, and until when; changing any of it breaks the signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from headwater.core import canonical
from headwater.core.clock import from_text, to_text
from headwater.core.errors import Broken, NotFound, Refused
from headwater.core.platform import Platform

PREFIX = "/data/signed"
KEY_FILE = "signed-urls.key"
KEY_BYTES = 32
LONGEST = timedelta(days=7)
LONGEST_TOKEN = 2000


class BadAddress(Refused):
    """A signed address was altered, has expired, or its grant is over."""

    code = "data.bad_address"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAccess:
    """What a signed address opens: one file of one version, for one grantee."""

    dataset: str
    """The data set's id."""
    version: int
    file: str
    grantee: str
    """The organisation that it was given to; `public` for open data."""
    grant: str = ""
    """The grant's statement; empty for open data."""


def sign(key: bytes, access: FileAccess, expires_at: datetime) -> str:
    """Return the token that opens a file until a time."""
    told = {name: getattr(access, name) for name in access.__slots__} | {"expires": to_text(expires_at)}
    payload = canonical.to_bytes(told)
    return f"{_text(payload)}.{_text(_mac(key, payload))}"


def check(key: bytes, token: str, now: datetime) -> FileAccess:
    """Return what a token opens. Raises BadAddress where it was altered or has expired, NotFound for what is none."""
    try:
        payload, mac = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token[:LONGEST_TOKEN].split("."))
    except (ValueError, binascii.Error) as error:
        raise NotFound("This is no signed address.", "Use it as it was given.") from error
    if not hmac.compare_digest(mac, _mac(key, payload)):
        raise BadAddress("The signature of this address does not fit: it was altered or signed elsewhere.", "Ask for a new one.")
    told = json.loads(payload)
    expires = from_text(told.pop("expires"))
    if expires <= now:
        raise BadAddress(f"This address expired on {to_text(expires)}.", "Ask for a new one.")
    return FileAccess(**told)


def sign_url(platform: Platform, access: FileAccess, lasts: timedelta) -> str:
    """Return the path on this server that opens a file for a while, at most LONGEST. The caller has weighed the terms."""
    expires_at = platform.clock.now() + min(lasts, LONGEST)
    name = quote(access.file.rpartition("/")[2])
    return f"{PREFIX}/{sign(url_key(platform.settings.data_folder / 'keys'), access, expires_at)}/{name}"


def check_url(platform: Platform, token: str) -> FileAccess:
    """Return what the token of a path by `sign_url` opens now. Raises BadAddress, NotFound."""
    return check(url_key(platform.settings.data_folder / "keys"), token, platform.clock.now())


def url_key(folder: Path) -> bytes:
    """Return the platform's secret for signed addresses, made when it is first needed; all its processes get the same one."""
    path = folder / KEY_FILE
    if not path.exists():
        _make(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise Broken(f"The key of signed addresses has {len(key)} bytes, not {KEY_BYTES}.", "Delete it.", where=str(path))
    return key


def _make(path: Path) -> None:
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
    try:
        os.link(part, path)  # fails where another process was first, whose key then stands
    except FileExistsError:
        pass
    finally:
        part.unlink()


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.new(key, b"headwater signed url 1\n" + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
