"""What ended attempts used by Slurm's own accounting, which knows it about a second after their end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import structlog

from headwater.compute.engines import attempt
from headwater.compute.engines.slurm_client import Accounted, SlurmClient
from headwater.compute.work import Observation, Phase, Usage
from headwater.core.errors import HeadwaterError

ASK_S = 0.5
PATIENCE_S = 15.0
MOST_JOBS = 200
"""That the accounting is asked about at once."""

log = structlog.get_logger("headwater.compute")


class Bills:
    """The accounting's word on attempts that have ended."""

    def __init__(self, client: SlurmClient) -> None:
        """Ask through a client."""
        self._client = client
        self._known: dict[str, Accounted] = {}
        self._since_s: dict[str, float] = {}
        self._ask_again_s = 0.0

    def settle(self, seen: Mapping[str, Observation], jobs: Mapping[str, str | None]) -> dict[str, Observation]:
        """Return the observations with what the accounting says was used; an end is told once it does, or it was waited for long enough.

        `jobs` are Slurm's ids by key.
        """
        ended = {key for key, one in seen.items() if one.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.LOST) and jobs[key]}
        ids = {job for key in ended if (job := jobs[key])}
        for job in ids:
            self._since_s.setdefault(job, time.monotonic())
        if (unknown := sorted(ids - self._known.keys())) and time.monotonic() > self._ask_again_s:
            self._ask(unknown[:MOST_JOBS])
            self._ask_again_s = time.monotonic() + ASK_S
        return {key: self._settled(one, jobs[key] or "") if key in ended else one for key, one in seen.items()}

    def state(self, job: str) -> str | None:
        """Return the state in which a job ended, None where the accounting does not know it."""
        if job not in self._known:
            self._ask([job])
        return self._known[job].state if job in self._known else None

    def forget(self, job: str) -> None:
        """Let go of what is known of a job."""
        self._known.pop(job, None)
        self._since_s.pop(job, None)

    def _settled(self, seen: Observation, job: str) -> Observation:
        if job in self._known:
            return replace(seen, usage=_over(self._known[job].usage, seen.usage))
        if time.monotonic() - self._since_s[job] < PATIENCE_S:
            return attempt.RUNNING
        log.warning("slurm.not_accounted", job=job)
        return seen

    def _ask(self, jobs: list[str]) -> None:
        try:
            told = self._client.accounted(jobs)
        except HeadwaterError as error:
            log.warning("slurm.accounting_unavailable", error=str(error))
            return
        self._known |= {job: one for job, one in told.items() if one.ended}


def _over(told: Usage, measured: Usage) -> Usage:
    """Return the accounting's figures, and the runner's where it has none: it counts whole seconds, and samples memory now and then."""
    return Usage(
        wall_s=told.wall_s or measured.wall_s,
        cpu_s=told.cpu_s if told.cpu_s is not None else measured.cpu_s,
        peak_memory_gib=told.peak_memory_gib if told.peak_memory_gib is not None else measured.peak_memory_gib,
        energy_j=told.energy_j,
    )
