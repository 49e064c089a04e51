"""Hierarchical weighted fair share over a tree of queues, with decay, quotas and borrowing (compiled).

A queue's share is what it holds now plus its decayed average use, over its weight. The pick goes down the tree, at
each level to the child with the lowest share that has a job to look at. A queue over its quota may borrow what its
parent's quota leaves, where its parent has one and it may borrow at all.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.state import USAGE_SETTLED_S, State, Table


@compiled
def age_usage(state: State, now_s: float, half_life_s: float) -> None:
    """Bring every queue's average use up to now."""
    queues = state.queues
    passed = now_s - state.marks[USAGE_SETTLED_S]
    state.marks[USAGE_SETTLED_S] = now_s
    if half_life_s <= 0 or passed <= 0:
        return
    keep = 0.5 ** (passed / half_life_s)
    for queue in range(len(queues)):
        queues.usage[queue] = queues.usage[queue] * keep + queues.held[queue] * (1.0 - keep)


@compiled
def over_quota(queues: Table, queue: int, units: int) -> int:
    """The queue whose quota forbids `units` more, or -1."""
    while queue >= 0:
        if queues.quota[queue] >= 0 and queues.held[queue] + units > queues.quota[queue]:
            parent = queues.parent[queue]
            if queues.may_borrow[queue] == 0 or parent < 0 or not bounded(queues, parent):
                return queue
        queue = queues.parent[queue]
    return -1


@compiled
def bounded(queues: Table, queue: int) -> bool:
    """Whether some quota at or above this queue bounds what its children may borrow."""
    while queue >= 0:
        if queues.quota[queue] >= 0:
            return True
        queue = queues.parent[queue]
    return False


@compiled
def gather(state: State, lane: int) -> None:
    """Hang the lane's waiting jobs on their queues, in order."""
    jobs, lanes, queues = state.jobs, state.lanes, state.queues
    queues.head[:] = -1
    queues.waiting[:] = 0
    for cell in range(lanes.end[lane] - 1, lanes.begin[lane] - 1, -1):
        job = state.order[cell]
        queue = jobs.queue[job]
        jobs.next_job[job] = queues.head[queue]
        queues.head[queue] = job
        queues.waiting[queue] += 1
    for queue in range(len(queues) - 1, 0, -1):
        queues.waiting[queues.parent[queue]] += queues.waiting[queue]


@compiled
def share(queues: Table, queue: int) -> float:
    return float((queues.usage[queue] + queues.held[queue]) / queues.weight[queue])


@compiled
def pick(queues: Table) -> int:
    """The queue whose turn it is: the lowest share from the root down to one with jobs of its own; -1 when none is left."""
    if queues.waiting[0] == 0:
        return -1
    here = 0
    while queues.head[here] < 0:
        best, lowest = -1, np.inf
        for queue in range(here + 1, len(queues)):
            if queues.parent[queue] == here and queues.waiting[queue] > 0:
                value = share(queues, queue)
                if value < lowest:
                    best, lowest = queue, value
        here = best
    return here


@compiled
def take_head(jobs: Table, queues: Table, queue: int) -> int:
    """The queue's next job, taken off it."""
    job = queues.head[queue]
    queues.head[queue] = jobs.next_job[job]
    while queue >= 0:
        queues.waiting[queue] -= 1
        queue = queues.parent[queue]
    return int(job)


@compiled
def drop_queue(queues: Table, queue: int) -> None:
    """Leave the rest of a queue's jobs for another pass."""
    left = queues.waiting[queue]
    queues.head[queue] = -1
    while queue >= 0:
        queues.waiting[queue] -= left
        queue = queues.parent[queue]
