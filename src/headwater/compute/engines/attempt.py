"""One attempt's folder: its name, what is laid out in it before the start, and what its files say afterwards."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headwater.compute.staging import stage
from headwater.compute.work import Observation, Phase, Reason, Usage, Work
from headwater.core.errors import BadInput, HeadwaterError, Unavailable
from headwater.core.plain_file import plain
from headwater.core.store import Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
KEPT = frozenset({"lock", "runner.json", "exit.json", "log.txt"})
"""What `forget` leaves: the log, and what tells that the attempt was made."""
CACHE = ".cache"
"""The folder beside the attempts' in which their inputs are kept; no attempt's name begins with a dot."""
LOST = Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, message="What ran the job is gone: it was killed, or the machine restarted.")
NO_SPACE = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
UNKNOWN = Observation(phase=Phase.UNKNOWN)
RUNNING = Observation(phase=Phase.RUNNING)


def check_name(name: str, what: str) -> str:
    """Return the name if it can be a file name that leads nowhere else, or raise BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput(f"'{name[:100]}' cannot be the {what}.", "Use 1 to 128 letters, digits, dots, dashes and underscores.")
    return name


def lay_out(folder: Path, work: Work, store: Store, *, flush: bool = True) -> None:
    """Put inputs, `task.json`, `outputs/` and `tmp/` into an attempt's folder, which is emptied first.

    Raises BadInput for a bad name, what the store raises for an artifact, Unavailable where the disk refuses.
    """
    names = [check_name(name, "name of an input") for name in work.inputs]
    clear(folder, keep={"lock", "cancel"})
    try:
        for made in ("inputs", "outputs", "tmp"):
            (folder / made).mkdir(mode=0o700)
        stage(store, folder.parent / CACHE, {folder / "inputs" / name: work.inputs[name] for name in names}, work.staging)
        if work.task is not None:
            write_json(folder / "task.json", work.task, flush=flush)
    except OSError as error:
        raise cannot_write(error, folder) from error


def write_json(path: Path, value: Mapping[str, Any], *, flush: bool = True) -> None:
    """Write a JSON file whole or not at all, flushed to the disk; never through a link that a job has laid."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)


def cannot_write(error: OSError, folder: Path) -> HeadwaterError:
    """Return the error for a disk that refuses an attempt's folder."""
    return Unavailable(
        f"The job's folder cannot be written: {error.strerror or error}.",
        "Free some space or check the rights, then run again.",
        where=str(folder),
    )


def observed(folder: Path) -> Observation | None:
    """Return what `exit.json` says, or None where there is none. One that cannot be read counts as lost."""
    try:
        with plain(folder / "exit.json") as file:
            told = json.loads(file.read())
        return Observation(
            phase=Phase(told["phase"]),
            reason=Reason(told["reason"]) if told["reason"] else None,
            exit_code=told["exit_code"],
            message=told["message"],
            usage=Usage(**told["usage"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return LOST


def write_exit(folder: Path, ended: Observation) -> None:
    """Write `exit.json`, as a runner does."""
    write_json(folder / "exit.json", asdict(ended))


def keys(root: Path) -> set[str]:
    """Return the keys that have a folder."""
    return {entry.name for entry in root.iterdir() if NAME.fullmatch(entry.name)}


def ask_to_end(folder: Path) -> bool:
    """Leave word that an attempt is to end, and tell whether there is one that has not ended. Raises Unavailable where the disk refuses."""
    if not folder.is_dir() or (folder / "exit.json").exists():
        return False
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(folder / "cancel", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise cannot_write(error, folder) from error
    return True


def make(folder: Path) -> None:
    """Make an attempt's folder where there is none yet. Raises Unavailable where the disk refuses."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise cannot_write(error, folder) from error


def remove(folder: Path) -> None:
    """Remove a folder and all that is in it, if it is there."""
    if folder.is_dir():
        clear(folder)
        folder.rmdir()


def clear(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Remove everything in a folder but the names to keep, also what a job has made unwritable."""
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=_open_up)
        else:
            path.unlink(missing_ok=True)


def _open_up(remove: Callable[[str], Any], path: str, _: object) -> None:
    for place in (Path(path).parent, Path(path)):
        if place.is_dir() and not place.is_symlink():
            place.chmod(place.stat().st_mode | stat.S_IRWXU)
    if remove in (os.open, os.scandir, os.lstat):
        shutil.rmtree(path)
    else:
        remove(path)
