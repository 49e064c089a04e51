"""What a platform's attempts are called where others have theirs too: the same name for the same attempt, and no other's."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
from pathlib import Path


def identity(root: Path) -> str:
    """Return what tells a platform's attempts from those of others, 8 characters; it is made once, and stays with their folder."""
    path = root / ".platform"
    part = root / f".platform.{os.getpid()}.{threading.get_ident()}"
    part.write_text(secrets.token_hex(4), encoding="ascii")
    with contextlib.suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
    return path.read_text("ascii")


def outside_name(platform: str, key: str) -> str:
    """Return an attempt's name outside: readable, of lower-case letters, digits and dashes, at most 49 characters."""
    readable = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:24].strip("-")
    return "-".join(part for part in ("hw", platform, readable, hashlib.sha256(key.encode()).hexdigest()[:12]) if part)
