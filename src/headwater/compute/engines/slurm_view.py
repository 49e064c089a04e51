"""What a Slurm's controller told last of its jobs and nodes, asked no more often than it is worth."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from headwater.compute.engines.silence import Silence
from headwater.compute.engines.slurm_client import SlurmClient, SlurmJob, SlurmNode
from headwater.compute.work import Capacity
from headwater.core.errors import HeadwaterError

LIST_S = 0.2
LIST_SHARE = 20
"""Jobs are not listed again before this many times the time that the last list took: a long one is work for the controller."""
CAPACITY_S = 5.0
FORGOTTEN = "FORGOTTEN"
"""State of a job that the controller does not know, or no more."""

log = structlog.get_logger("headwater.compute")


class View:
    """Jobs and nodes as last told. Safe for several threads: at worst two ask at once."""

    def __init__(self, client: SlurmClient, *, partition: str, engine: str) -> None:
        """Ask what nodes there are. Raises Unavailable where Slurm does not answer."""
        self._client = client
        self._partition = partition
        self._engine = engine
        self._seen: dict[str, SlurmJob] = {}
        self._list_again_s = -math.inf
        self._silence = Silence()
        self._nodes = client.nodes()
        self._nodes_s = time.monotonic()

    def capacity(self) -> Capacity:
        """Return what the nodes that are up have in all, as last known while the controller does not answer."""
        if time.monotonic() - self._nodes_s > CAPACITY_S:
            self._nodes_s = time.monotonic()
            try:
                with self._silence.asking():
                    self._nodes = self._client.nodes()
            except HeadwaterError as error:
                log.warning("slurm.unavailable", engine=self._engine, error=str(error))
        return capacity_of(self._nodes, self._partition)

    def gres_names(self) -> Mapping[str, str]:
        """Return Slurm's `name:type` of each chip, which is the type."""
        return {name.rpartition(":")[2]: name for node in self._nodes for name in node.gres}

    def look_again(self) -> None:
        """List the jobs anew when the next is asked for: something was changed."""
        self._list_again_s = -math.inf

    def silent_s(self) -> float:
        """Return for how many seconds Slurm has answered nothing."""
        return self._silence.lasts_s()

    def job(self, number: str, name: str) -> SlurmJob | None:
        """Return a job as Slurm tells it, FORGOTTEN in state where it knows it no more; None while the controller does not answer.

        A controller that was killed before it had saved its state forgets its last jobs, and gives their numbers to others.
        """
        if time.monotonic() > self._list_again_s:
            began_s = time.monotonic()
            try:
                with self._silence.asking():
                    self._seen = {job.id: job for job in self._client.jobs()}
            except HeadwaterError as error:
                log.warning("slurm.unavailable", engine=self._engine, error=str(error))
                return None
            self._list_again_s = time.monotonic() + max(LIST_S, LIST_SHARE * (time.monotonic() - began_s))
        rest = self._seen.get(f"{number.partition('_')[0]}_*")
        found = self._seen.get(number) or (replace(rest, id=number) if rest is not None else None)
        return found if found is not None and found.name == name else SlurmJob(id=number, name="", state=FORGOTTEN)


def capacity_of(nodes: Sequence[SlurmNode], partition: str) -> Capacity:
    """Return the sum over the nodes that are up, of one partition where it is named; accelerators by the type in Slurm's `name:type`."""
    usable = [node for node in nodes if node.up and (not partition or partition in node.partitions)]
    accelerators: dict[str, int] = {}
    for node in usable:
        for name, count in node.gres.items():
            chip = name.rpartition(":")[2]
            accelerators[chip] = accelerators.get(chip, 0) + count
    return Capacity(cpus=sum(n.cpus for n in usable), memory_gib=sum(n.memory_gib for n in usable), accelerators=accelerators)
