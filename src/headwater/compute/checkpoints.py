"""Where a job keeps its checkpoints: a folder of the job, not of an attempt, so that the next attempt finds it.

A job that declares `checkpoint_s` is told the folder by the variable HW_CHECKPOINT (a step: `task.settings["checkpoint"]`). A job
that is to make room gets SIGTERM, the time to write a last checkpoint, and is then killed. The folder goes when the job has ended.

It lies in the data folder, or where an engine keeps those of its jobs (`KeepsCheckpoints`): then the data folder has a link to it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from headwater.compute import jobs
from headwater.compute.jobs import ENDS, Job
from headwater.core.errors import NotFound, Unavailable
from headwater.core.plain_file import copy_tree
from headwater.core.platform import Platform

VARIABLE = "HW_CHECKPOINT"
FOLDER = "checkpoints"
ELSEWHERE = ".checkpoints"
"""Name of the folder in which an engine keeps those of its jobs."""
MOVED = "~"
"""Stands in a folder's name before how often the job has left an attempt behind."""


def folder_for(platform: Platform, job: Job, root: Path | None = None) -> Path | None:
    """Return a job's folder for checkpoints, made if need be; None for a job that makes none. Raises Unavailable.

    It is in `root` where one is given, else in the data folder; what earlier attempts left elsewhere is brought there.
    """
    if job.spec.resources.checkpoint_s is None:
        return None
    named = _folder(platform, job)
    wanted = named if root is None else root / named.name
    try:
        named.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _place(named) != wanted and _place(named).is_dir():
            _bring(named, wanted)
        wanted.mkdir(mode=0o700, exist_ok=True)
        if _place(named) != wanted:
            named.unlink(missing_ok=True)
            named.symlink_to(wanted, target_is_directory=True)
    except OSError as error:
        what = f"The folder for checkpoints cannot be made: {error.strerror}."
        raise Unavailable(what, "Check its rights.", where=str(wanted)) from error
    return wanted


def _bring(named: Path, wanted: Path) -> None:
    """Move what a job keeps to another place, where it is whole or not there at all."""
    old, part = _place(named), wanted.with_name(f".{wanted.name}")
    shutil.rmtree(part, ignore_errors=True)
    copy_tree(old, part)
    if wanted == named:
        named.unlink()  # the link to the old place
    else:
        shutil.rmtree(wanted, ignore_errors=True)  # what a crash left
    part.rename(wanted)
    if old == named:
        old = named.rename(named.with_name(f".{named.name}"))
    elif wanted != named:
        named.unlink()
    if wanted != named:
        named.symlink_to(wanted, target_is_directory=True)
    _remove(old)


def kept_s(platform: Platform, job: Job, now: datetime) -> float:
    """Return the seconds of work in all that an attempt which is stopped now leaves to the next: none where its folder is empty."""
    folder, every_s = _place(_folder(platform, job)), job.spec.resources.checkpoint_s
    if every_s is None or job.started_at is None or not folder.is_dir() or not any(folder.iterdir()):
        return 0.0
    done_s = job.attained_s + (now - job.started_at).total_seconds()
    return done_s if every_s == 0 else done_s // every_s * every_s


def carried_over(platform: Platform, job: Job) -> float:
    """Copy a job's checkpoints to the folder that it has after one more move, and return the seconds of work that they hold.

    The attempt that is left behind may still write to the old folder. Work counts up to the last file that was written.
    """
    old, new = _place(_folder(platform, job)), _folder(platform, replace(job, moves=job.moves + 1))
    _remove(new)
    if job.spec.resources.checkpoint_s is None or job.started_at is None or not old.is_dir() or not any(old.iterdir()):
        return 0.0
    copy_tree(old, new)
    written_s = max((file.lstat().st_mtime for file in new.rglob("*") if file.is_file()), default=0.0)
    return job.attained_s + max(written_s - job.started_at.timestamp(), 0.0)


def remove(platform: Platform, job: Job) -> None:
    """Remove a job's checkpoints."""
    if job.spec.resources.checkpoint_s is not None:
        for moves in range(job.moves + 1):
            _remove(_folder(platform, replace(job, moves=moves)))


def _place(named: Path) -> Path:
    """Return where a folder lies that the data folder has, or has a link to; a link that a job has laid in its place leads nowhere."""
    there = Path(os.readlink(named)) if named.is_symlink() else named
    return there if (there.parent.name, there.name) == (ELSEWHERE, named.name) else named


def _remove(named: Path) -> None:
    """Remove a folder, wherever it lies, and nothing that a job's own link leads to."""
    there = _place(named)
    if not there.is_symlink():
        shutil.rmtree(there, ignore_errors=True)
    for path in {there, named}:
        if path.is_symlink():
            path.unlink()


def _folder(platform: Platform, job: Job) -> Path:
    return platform.settings.data_folder / FOLDER / (f"{job.id}{MOVED}{job.moves}" if job.moves else job.id)


def sweep(platform: Platform, connection: Connection) -> None:
    """Remove the checkpoints of jobs that have ended, or that nobody knows."""
    root = platform.settings.data_folder / FOLDER
    for folder in root.iterdir() if root.is_dir() else ():
        try:
            over = jobs.get(connection, folder.name.partition(MOVED)[0]).state in ENDS
        except NotFound:
            over = True
        if over:
            _remove(folder)
