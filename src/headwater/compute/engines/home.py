"""Which folder an engine works in: an attempt put there can be followed, collected and ended only by a server that sees it.

Two servers may share a folder, by one data folder or one `slurm_folder`; then it has one name, by whatever path each reaches it.
"""

from __future__ import annotations

import os
import secrets

from headwater.compute.work import Engine
from headwater.core.errors import Unavailable

FILE = ".home"


def home_of(engine: Engine) -> str:
    """Return the name of an engine's folder, given to it once and kept in a file there. Raises Unavailable where the disk refuses."""
    path = engine.folder("home").parent / FILE
    try:
        if not path.exists():
            part = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
            part.write_text(secrets.token_hex(8), encoding="ascii")
            try:
                os.link(part, path)
            except FileExistsError:  # another server on this folder was first
                pass
            finally:
                part.unlink()
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        what = f"The folder of the engine '{engine.name}' cannot be used: {error.strerror}."
        raise Unavailable(what, "Check its rights.", where=str(path)) from error
