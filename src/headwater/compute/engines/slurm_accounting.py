"""What Slurm's accounting says of a job that has ended: from `sacct`, or from slurmrestd's slurmdb part. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from headwater.compute.engines.slurm_client import Accounted, number, states
from headwater.compute.work import Usage

FIELDS = ("JobID", "State", "ElapsedRaw", "TotalCPU", "MaxRSS", "ConsumedEnergyRaw")
UNDER_WAY = frozenset({"PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "COMPLETING", "CONFIGURING"})
CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", re.ASCII)
BYTES = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
GIB = 2.0**30


def accounted_of(text: str) -> dict[str, Accounted]:
    """Return what `sacct -n -P --noconvert` printed of FIELDS, by job; peak memory and energy stand with a job's steps."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == len(FIELDS) - 1]
    found = {}
    for row in rows:
        if "." in row[0]:
            continue
        steps = [one for one in rows if one[0].startswith(f"{row[0]}.")]
        state = next(iter(states(row[1])), "UNKNOWN")
        found[row[0]] = Accounted(
            state=state,
            ended=state not in UNDER_WAY,
            usage=Usage(
                wall_s=float(row[2]) if row[2] else None,
                cpu_s=_seconds(row[3]),
                peak_memory_gib=_most(_gib(one[4]) for one in steps),
                energy_j=_most(float(one[5]) if one[5].isdigit() else None for one in (row, *steps)),
            ),
        )
    return found


def accounted_in(told: Mapping[str, Any]) -> Accounted:
    """Return what a job of slurmdb's JSON says: CPU time, peak memory and energy stand with its steps."""
    state, time, steps = told.get("state") or {}, told.get("time") or {}, told.get("steps") or ()
    known = next(iter(states(state.get("current") if isinstance(state, Mapping) else state)), "UNKNOWN")
    cpu = [(step.get("time") or {}).get("total") or {} for step in steps]
    return Accounted(
        state=known,
        ended=known not in UNDER_WAY,
        usage=Usage(
            wall_s=float(number(time.get("elapsed"))),
            cpu_s=sum(number(one.get("seconds")) + number(one.get("microseconds")) / 1e6 for one in cpu),
            peak_memory_gib=_most(count / GIB for step in steps for count in _counts(step, "requested", "max", "mem")),
            energy_j=_most(count for step in steps for count in _counts(step, "consumed", "total", "energy")),
        ),
    )


def _counts(step: Mapping[str, Any], part: str, which: str, kind: str) -> list[float]:
    """Return what a step requested or consumed of a kind of resource."""
    told = (step.get("tres") or {}).get(part) or {}
    rows = told.get(which) if isinstance(told, Mapping) else None
    return [float(number(row.get("count"))) for row in rows or () if row.get("type") == kind]


def _seconds(text: str) -> float | None:
    told = CLOCK.fullmatch(text)
    if told is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in told.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _gib(text: str) -> float | None:
    told = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(told[1]) * BYTES[told[2]] / GIB if told else None


def _most(values: Iterable[float | None]) -> float | None:
    """Return the largest; None where there is none, or only noughts: a job that ended before the first sample."""
    return max((value for value in values if value), default=None)
