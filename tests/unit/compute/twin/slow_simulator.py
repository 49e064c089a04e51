"""A slow and obvious simulator: whole lists scanned at every moment, nothing kept between. The twin must equal it to the second.

It shares no code with the twin. Every rule is written out from its definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Job:
    number: int
    submit: float
    length: float
    units: int
    estimate: float
    left: float = 0.0
    started: float | None = None
    ended: float | None = None
    nodes: dict[int, int] = field(default_factory=dict)


@dataclass
class Pool:
    """One pool of equal nodes; `consolidated` decides whether nodes matter or only their sum."""

    nodes: list[int]
    node_size: int
    consolidated: bool

    def free(self) -> int:
        return sum(self.nodes)

    def where(self, units: int) -> dict[int, int] | None:
        """Nodes for a job of this size, or None."""
        if not self.consolidated:
            return {} if units <= self.free() else None
        chosen: dict[int, int] = {}
        for node, free in enumerate(self.nodes):
            if units >= self.node_size and free == self.node_size and units > self.node_size:
                chosen[node] = self.node_size
                units -= self.node_size
                if units < self.node_size:
                    break
        if units > self.node_size:
            return None
        if units:
            rest = [(free, node) for node, free in enumerate(self.nodes) if free >= units and node not in chosen]
            if not rest:
                return None
            chosen[min(rest)[1]] = units
        return chosen

    def take(self, job: Job) -> bool:
        chosen = self.where(job.units)
        if chosen is None:
            return False
        job.nodes = dict(chosen) if self.consolidated else self._anywhere(job.units)
        for node, units in job.nodes.items():
            self.nodes[node] -= units
        return True

    def _anywhere(self, units: int) -> dict[int, int]:
        chosen: dict[int, int] = {}
        for node, free in enumerate(self.nodes):
            part = min(free, units)
            if part:
                chosen[node] = part
                units -= part
        return chosen

    def give_back(self, job: Job) -> None:
        for node, units in job.nodes.items():
            self.nodes[node] += units
        job.nodes = {}


Key = Callable[[Job], tuple[float, int]]


def strict(waiting: list[Job], running: list[Job], pool: Pool, now: float) -> list[Job]:
    """Start from the head until one does not fit."""
    started = []
    for job in waiting:
        if not pool.take(job):
            break
        started.append(job)
    return started


def step_over(waiting: list[Job], running: list[Job], pool: Pool, now: float) -> list[Job]:
    """Start every job that fits, in order."""
    return [job for job in waiting if pool.take(job)]


def easy(waiting: list[Job], running: list[Job], pool: Pool, now: float) -> list[Job]:
    """Start from the head; then whatever does not delay the first blocked job, by the estimates."""
    started: list[Job] = []
    head: Job | None = None
    shadow, extra = 0.0, 0
    for job in waiting:
        if head is None:
            if pool.take(job):
                started.append(job)
                continue
            head = job
            ends = sorted(
                (max(r.started + r.estimate if r.started is not None else now + r.estimate, now), r.units) for r in running + started
            )
            free = pool.free()
            shadow = next(end for end, _ in ends if free + sum(units for other, units in ends if other <= end) >= head.units)
            extra = free + sum(units for end, units in ends if end <= shadow) - head.units
        elif job.units <= pool.free() and (now + job.estimate <= shadow or job.units <= extra):
            if now + job.estimate > shadow:
                extra -= job.units
            pool.take(job)
            started.append(job)
    return started


def simulate_slowly(jobs: list[Job], pool: Pool, key: Key, choose: Callable[..., list[Job]]) -> list[float]:
    """End times without preemption: ends, then arrivals, then one pass, at every moment."""
    running: list[Job] = []
    waiting: list[Job] = []
    moments = {job.submit for job in jobs}
    while moments:
        now = min(moments)
        moments.remove(now)
        for job in [job for job in running if job.ended is not None and job.ended <= now]:
            running.remove(job)
            pool.give_back(job)
        waiting += [job for job in jobs if job.submit == now]
        waiting.sort(key=key)
        for job in choose(waiting, running, pool, now):
            waiting.remove(job)
            running.append(job)
            job.started, job.ended = now, now + job.length
            moments.add(job.ended)
    return [job.ended if job.ended is not None else float("nan") for job in jobs]


def simulate_preempting_slowly(jobs: list[Job], capacity: int, key: Key) -> list[float]:
    """End times with free preemption: at every moment the first jobs by key that fit together run."""
    for job in jobs:
        job.left = job.length
    now, running = 0.0, list[Job]()
    while any(job.ended is None for job in jobs):
        ahead = [job.submit for job in jobs if job.submit > now] + [now + job.left for job in running]
        then = min(ahead) if now > 0 or running or not any(j.submit <= now for j in jobs) else now
        for job in running:
            job.left -= then - now
            if job.left <= 1e-7:
                job.ended = then
        now, free, running = then, capacity, []
        for job in sorted((j for j in jobs if j.submit <= now and j.ended is None), key=key):
            if job.units <= free:
                free -= job.units
                running.append(job)
        if not running and not any(job.submit > now for job in jobs):
            break
    return [job.ended if job.ended is not None else float("nan") for job in jobs]
