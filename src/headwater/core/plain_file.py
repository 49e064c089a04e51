"""Reading files that a job has left: what it laid there as a link, a pipe or a device is no file of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
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


def copy_tree(old: Path, new: Path) -> None:
    """Copy a folder with its regular files, their times, and its links as links; `new` must not be there yet.

    Nothing is read through a link, even where a job lays one meanwhile. What a job removes or replaces meanwhile is left out. Raises
    OSError where the disk refuses.
    """
    new.mkdir(mode=0o700)
    for top, folders, files, descriptor in os.fwalk(old, follow_symlinks=False):
        there = new / Path(top).relative_to(old)
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                _copy_one(name, descriptor, there / name)


def _copy_one(name: str, within: int, new: Path) -> None:
    told = os.stat(name, dir_fd=within, follow_symlinks=False)
    if stat.S_ISLNK(told.st_mode):
        new.symlink_to(os.readlink(name, dir_fd=within))
    elif stat.S_ISDIR(told.st_mode):
        new.mkdir(mode=0o700, exist_ok=True)
    elif stat.S_ISREG(told.st_mode):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
        with os.fdopen(descriptor, "rb") as source, new.open("xb") as made:
            shutil.copyfileobj(source, made, 1 << 20)
        new.chmod(told.st_mode & 0o777)
        os.utime(new, ns=(told.st_atime_ns, told.st_mtime_ns))
