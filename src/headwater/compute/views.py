"""What people and programs are shown of a job: for the API, the console and the command line."""

from __future__ import annotations

import codecs
from datetime import datetime
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, Field

from headwater.compute.floor import FOLDERS
from headwater.compute.jobs import ENDS, Job, State
from headwater.core import progress
from headwater.core.errors import NotFound
from headwater.core.plain_file import plain
from headwater.core.platform import Platform

LOG = "log.txt"
LONGEST_CHUNK = 256 << 10
NEWLINE, LONGEST_CHARACTER = 0x0A, 4


class ProgressView(BaseModel):
    """How far a running job is."""

    done: float
    total: float
    share: float = Field(description="Finished share, 0 to 1.")
    note: str


class JobView(BaseModel):
    """A job as it stands."""

    id: str = Field(examples=["credit-1f2e3d4c.train"])
    run: str = Field(examples=["credit-1f2e3d4c"])
    name: str = Field(examples=["train"])
    step: str | None = Field(examples=["framework.train"])
    state: State = Field(examples=["done"])
    reason: str = Field(description="Why it is in this state, or why it waits.")
    engine: str = Field(examples=["local"])
    place: str = Field(description="Why it ran where it ran.")
    attempt: int = Field(examples=[1])
    reused_from: str | None = Field(description="The earlier job whose result was taken over.")
    progress: ProgressView | None
    metrics: dict[str, float] = Field(examples=[{"test_auc": 0.78}])
    facts: dict[str, Any]
    outputs: dict[str, str] = Field(description="Artifacts by output name.")
    inputs: dict[str, str] = Field(description="Where each input comes from.")
    params: dict[str, Any]
    statements: list[str] = Field(description="Digests of the statements issued when it finished.")
    devices: dict[str, list[int]] | None = Field(description="Accelerators of the machine that it had, by chip and index.")
    error: dict[str, Any] | None
    usage: dict[str, float | None] | None = Field(description="Seconds of wall and CPU time and peak GiB; null is not measured.")
    resources: dict[str, Any]
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    took_s: float | None


class LogChunk(BaseModel):
    """A part of a job's log."""

    text: str
    next_offset: int = Field(description="Ask from here for what comes after.")
    ended: bool = Field(description="Whether the job has ended, so that nothing more will come.")


def attempt_folder(platform: Platform, job: Job, attempt: int | None = None) -> Path:
    """Return the folder of a job's present attempt, or of the one named, whether or not it exists."""
    key, root = job.key if attempt is None else f"{job.id}.{attempt}", platform.settings.data_folder / FOLDERS
    here = root / job.engine / key
    if here.is_dir() or not root.is_dir():
        return here
    return next((folder / key for folder in sorted(root.iterdir()) if (folder / key).is_dir()), here)  # an earlier one was elsewhere


def view(platform: Platform, job: Job) -> JobView:
    """Return what is shown of a job."""
    result = job.result or {}
    seen = progress.last(attempt_folder(platform, job) / progress.FILE) if job.state is State.RUNNING else None
    return JobView(
        id=job.id,
        run=job.graph,
        name=job.name,
        step=job.step,
        state=job.state,
        reason=job.reason,
        engine=job.engine,
        place=job.place,
        attempt=job.attempt,
        reused_from=job.reused_from,
        progress=ProgressView(done=seen.done, total=seen.total, share=seen.share, note=seen.note) if seen else None,
        metrics=result.get("metrics", {}),
        facts=result.get("facts", {}),
        outputs=dict(job.outputs),
        inputs={name: one.artifact or f"{one.job}.{one.output}" for name, one in job.spec.inputs.items()},
        params=dict(job.spec.params),
        statements=[*result.get("statements", []), *result.get("facts", {}).get("statements", [])],
        devices={chip: list(indices) for chip, indices in job.devices.items()} if job.devices else None,
        error=dict(job.error) if job.error else None,
        usage=dict(job.usage) if job.usage else None,
        resources={"cpus": job.spec.resources.cpus, "memory_gib": job.spec.resources.memory_gib, "wall_s": job.spec.resources.wall_s},
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        took_s=job.took_s,
    )


def log_chunk(platform: Platform, job: Job, *, offset: int, limit: int = LONGEST_CHUNK) -> LogChunk:
    """Return a part of a job's log from a byte offset; no character is cut. Raises NotFound where it never started."""
    ended = job.state in ENDS
    try:
        with plain(attempt_folder(platform, job) / LOG) as file:
            file.seek(offset)
            data = file.read(max(LONGEST_CHARACTER, min(limit, LONGEST_CHUNK)))
            last = ended and not file.read(1)
    except FileNotFoundError as error:
        if job.attempt == 0:
            raise NotFound(f"Job {job.id} has no log: it has not started.", "Follow it once it runs.") from error
        data, last = b"", ended
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(data, final=last)
    begun, _ = decoder.getstate()
    return LogChunk(text=text, next_offset=offset + len(data) - len(begun), ended=ended)


def log_file(platform: Platform, job: Job, attempt: int | None = None) -> BinaryIO:
    """Return an attempt's log, open for reading, the present one's where none is named. Raises NotFound where there is none."""
    try:
        return plain(attempt_folder(platform, job, attempt) / LOG)
    except FileNotFoundError as error:
        which = job.attempt if attempt is None else attempt
        raise NotFound(f"There is no log of attempt {which} of job {job.id}.", "Look at its attempts.") from error


def tail_offset(platform: Platform, job: Job, *, lines: int, most_bytes: int = LONGEST_CHUNK) -> int:
    """Return where the last lines of a job's log begin, within its last `most_bytes`; 0 where there is no log."""
    try:
        with plain(attempt_folder(platform, job) / LOG) as file:
            size = file.seek(0, SEEK_END)
            since = max(0, size - most_bytes)
            file.seek(since)
            data = file.read(most_bytes)
    except FileNotFoundError:
        return 0
    ends = [place for place in range(len(data) - 1) if data[place] == NEWLINE]
    if lines <= 0:
        return since + len(data)
    if len(ends) >= lines:
        return since + ends[-lines] + 1
    return since + (ends[0] + 1 if since and ends else 0)
