"""Reading files that a job has left: what it laid there as a link, a pipe or a device is no file of its own."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; never through a link in its place, and never waiting for a writer.

    Raises FileNotFoundError where there is none or it is anything else, OSError where the disk refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise FileNotFoundError(error.errno, "It is a link.", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(None, "It is no regular file.", str(path))
    return os.fdopen(descriptor, "rb")
