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
    """Return what a job of slurmdb's JSON says. Elapsed and CPU seconds come in parts."""
    state = told.get("state") or {}
    known = next(iter(states(state.get("current") if isinstance(state, Mapping) else state)), "UNKNOWN")
    time = told.get("time") or {}
    total = time.get("total") or {}
    peaks = [one.get("count") for step in told.get("steps") or () for one in _most_used(step) if one.get("type") == "mem"]
    energy = [one.get("count") for step in told.get("steps") or () for one in _consumed(step) if one.get("type") == "energy"]
    return Accounted(
        state=known,
        ended=known not in UNDER_WAY,
        usage=Usage(
            wall_s=float(number(time.get("elapsed"))),
            cpu_s=number(total.get("seconds")) + number(total.get("microseconds")) / 1e6,
            peak_memory_gib=_most(number(peak) / GIB for peak in peaks),
            energy_j=_most(float(number(one)) for one in energy),
        ),
    )


def _most_used(step: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    requested = (step.get("tres") or {}).get("requested") or {}
    return requested.get("max") or ()


def _consumed(step: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    consumed = (step.get("tres") or {}).get("consumed") or {}
    return (consumed.get("total") or ()) if isinstance(consumed, Mapping) else ()


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
