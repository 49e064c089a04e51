"""Slurm's accounting dump: `sacct --parsable2 --allusers --format=JobID,JobName,User,Account,Partition,Submit,Start,End,ElapsedRaw,Timelimit,ReqTRES,AllocTRES,NCPUS,State`.

Fields are found by the header line. Job steps (an id with a dot) are no jobs and are passed over. Times carry no zone in
sacct; differences are taken as they stand.
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from headwater.compute.twin.rows import RawJob
from headwater.compute.twin.trace import FaultBook
from headwater.core.errors import BadInput

NEEDED = ("JobID", "Submit")
CLOCK = re.compile(r"^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$", re.ASCII)
NOT_SAID = frozenset({"", "Unknown", "None", "None assigned", "INVALID", "UNLIMITED", "Partition_Limit", "N/A"})


def seconds_of(text: str) -> float | None:
    """Return the seconds in `[days-][hours:]minutes:seconds`, None where Slurm says nothing. Raises ValueError."""
    if text in NOT_SAID:
        return None
    if (match := CLOCK.match(text)) is None:
        raise ValueError(text)
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)


def moment_of(text: str) -> float | None:
    """Return a Slurm date as seconds on its own clock, None where it says nothing. Raises ValueError."""
    if text in NOT_SAID:
        return None
    return (datetime.fromisoformat(text).replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001


def resources_of(text: str) -> dict[str, float]:
    """Return what a TRES text counts, such as `cpu=8,gres/gpu=2`; typed counts (`gres/gpu:h20=2`) stand only where no plain one does."""
    plain: dict[str, float] = {}
    typed: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition("=")
        if not name.startswith("gres/") and name != "cpu":
            continue
        family, colon, _ = name.partition(":")
        book = typed if colon else plain
        book[family] = book.get(family, 0.0) + float(count)
    return typed | plain


def accelerators_in(resources: Mapping[str, float]) -> float:
    """Return how many accelerators of any family a job holds."""
    return sum(count for name, count in resources.items() if name.startswith("gres/"))


def sacct_rows(text: str, where: str, book: FaultBook) -> Iterator[RawJob]:
    """Yield the jobs of a dump, times from its first submission. Raises BadInput where the header is not one."""
    lines = text.splitlines()
    header = lines[0].split("|") if lines else []
    if missing := [name for name in NEEDED if name not in header]:
        raise BadInput(
            f"The first line does not name the fields {', '.join(missing)}.",
            "Dump with `sacct --parsable2` and keep the header.",
            where=where,
        )
    raw = [job for row, line in enumerate(lines[1:], start=1) if (job := _job(header, line, row, book)) is not None]
    origin = min((job.submit_s for job in raw if job.submit_s is not None), default=0.0)
    for job in raw:
        yield _shifted(job, origin)


def _job(header: list[str], line: str, row: int, book: FaultBook) -> RawJob | None:
    words = line.split("|")
    if not line.strip():
        return None
    if len(words) != len(header):
        book.note("malformed", row, f"{len(words)} fields of {len(header)}")
        return None
    field = dict(zip(header, words, strict=True))
    if "." in field["JobID"]:
        return None
    try:
        return _parsed(field, row)
    except ValueError as error:
        book.note("malformed", row, str(error)[:80])
        return None


def _parsed(field: Mapping[str, str], row: int) -> RawJob:
    submit, start, end = (moment_of(field.get(name, "")) for name in ("Submit", "Start", "End"))
    elapsed = field.get("ElapsedRaw", "")
    duration = float(elapsed) if elapsed not in NOT_SAID else seconds_of(field.get("Elapsed", ""))
    if duration is None and start is not None and end is not None:
        duration = end - start
    resources = resources_of(field.get("AllocTRES") or field.get("ReqTRES", ""))
    cores = resources.get("cpu", float(field.get("NCPUS") or 0))
    return RawJob(
        row=row,
        job_id=field["JobID"],
        submit_s=submit,
        start_s=start,
        end_s=end,
        duration_s=None if end is None and start is None else duration,
        walltime_s=seconds_of(field.get("Timelimit", "")),
        wait_s=None if start is None or submit is None else start - submit,
        accelerators=accelerators_in(resources),
        cores=cores,
        tenant=field.get("Account") or field.get("User") or None,
        pool=field.get("Partition") or None,
        label=field.get("JobName") or None,
    )


def _shifted(job: RawJob, origin: float) -> RawJob:
    def moved(moment: float | None) -> float | None:
        return None if moment is None else moment - origin

    return RawJob(
        row=job.row,
        job_id=job.job_id,
        submit_s=moved(job.submit_s),
        start_s=moved(job.start_s),
        end_s=moved(job.end_s),
        duration_s=job.duration_s,
        accelerators=job.accelerators,
        cores=job.cores,
        walltime_s=job.walltime_s,
        wait_s=job.wait_s,
        tenant=job.tenant,
        pool=job.pool,
        label=job.label,
    )
