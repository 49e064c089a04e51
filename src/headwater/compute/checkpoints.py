"""Where a job keeps its checkpoints: a folder of the job, not of an attempt, so that the next attempt finds it.

A job that declares `checkpoint_s` is told the folder by the variable HW_CHECKPOINT (a step: `task.settings["checkpoint"]`). A job
that is to make room gets SIGTERM, the time to write a last checkpoint, and is then killed. The folder goes when the job has ended.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from headwater.compute import jobs
from headwater.compute.jobs import ENDS, Job
from headwater.core.errors import NotFound, Unavailable
from headwater.core.platform import Platform

VARIABLE = "HW_CHECKPOINT"
FOLDER = "checkpoints"
MOVED = "~"
"""Stands in a folder's name before how often the job has left an attempt behind."""


def folder_for(platform: Platform, job: Job) -> Path | None:
    """Return a job's folder for checkpoints, made if need be; None for a job that makes none. Raises Unavailable."""
    if job.spec.resources.checkpoint_s is None:
        return None
    folder = _folder(platform, job)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        what = f"The folder for checkpoints cannot be made: {error.strerror}."
        raise Unavailable(what, "Check its rights.", where=str(folder)) from error
    return folder


def kept_s(platform: Platform, job: Job, now: datetime) -> float:
    """Return the seconds of work in all that an attempt which is stopped now leaves to the next: none where its folder is empty."""
    folder, every_s = _folder(platform, job), job.spec.resources.checkpoint_s
    if every_s is None or job.started_at is None or not folder.is_dir() or not any(folder.iterdir()):
        return 0.0
    done_s = job.attained_s + (now - job.started_at).total_seconds()
    return done_s if every_s == 0 else done_s // every_s * every_s


def carried_over(platform: Platform, job: Job) -> float:
    """Copy a job's checkpoints to the folder that it has after one more move, and return the seconds of work that they hold.

    The attempt that is left behind may still write to the old folder. Work counts up to the last file that was written.
    """
    old, new = _folder(platform, job), _folder(platform, replace(job, moves=job.moves + 1))
    shutil.rmtree(new, ignore_errors=True)
    if job.spec.resources.checkpoint_s is None or job.started_at is None or not old.is_dir() or not any(old.iterdir()):
        return 0.0
    with contextlib.suppress(shutil.Error):  # a file that the attempt replaced meanwhile
        shutil.copytree(old, new)
    written_s = max((file.stat().st_mtime for file in new.rglob("*") if file.is_file()), default=0.0)
    return job.attained_s + max(written_s - job.started_at.timestamp(), 0.0)


def remove(platform: Platform, job: Job) -> None:
    """Remove a job's checkpoints."""
    if job.spec.resources.checkpoint_s is not None:
        for moves in range(job.moves + 1):
            shutil.rmtree(_folder(platform, replace(job, moves=moves)), ignore_errors=True)


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
            shutil.rmtree(folder, ignore_errors=True)
