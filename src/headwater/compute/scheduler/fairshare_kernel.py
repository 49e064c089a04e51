"""Hierarchical weighted fair share over a tree of queues, with decay, quotas and borrowing (compiled).

A queue's share is what it holds now plus its decayed average use, over its weight. The pick goes down the tree, at
each level to the child with the lowest share that has a job to look at. A queue over its quota may borrow what its
parent's quota leaves, where its parent has one and it may borrow at all.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.order_kernel import FAIR, before, enqueue
from headwater.compute.scheduler.state import USAGE_SETTLED_S, Rules, State, Table

SLACK = 1e-9


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
def over_quota(queues: Table, queue: int, units: float) -> int:
    """The queue whose quota forbids so many normalised units more, or -1."""
    while queue >= 0:
        if exceeds(queues, queue, units):
            parent = queues.parent[queue]
            if queues.may_borrow[queue] == 0 or parent < 0 or not bounded(queues, parent):
                return queue
        queue = queues.parent[queue]
    return -1


@compiled
def exceeds(queues: Table, queue: int, units: float) -> bool:
    """Whether the queue would hold more than its own quota."""
    return bool(queues.quota[queue] >= 0 and queues.held[queue] + units > queues.quota[queue] + SLACK)


@compiled
def side_of(queues: Table, queue: int, other: int) -> int:
    """The queue at or above `queue` that stands just below where its way up meets that of `other`; -1 where one holds the other."""
    while queue > 0:
        above = other
        while above >= 0 and above != queues.parent[queue]:
            above = queues.parent[above]
        if above >= 0:
            return int(queue) if above != other else -1
        queue = queues.parent[queue]
    return -1


@compiled
def may_reclaim(queues: Table, queue: int, units: float, victim: int, victim_units: float) -> bool:
    """Whether a job of `queue` may have a job of `victim` stopped, at the level where their queues part.

    Where the victim's side holds more than its quota and the job's side stays within its own, what was borrowed goes back. Else the
    victim's side must keep the larger share even afterwards: so the two never stop each other in turn.
    A job without units holds no share to take back.
    """
    ours, theirs = side_of(queues, queue, victim), side_of(queues, victim, queue)
    if ours < 0 or theirs < 0 or ours == theirs or victim_units <= 0:
        return False
    if queues.quota[ours] >= 0 and not exceeds(queues, ours, units) and exceeds(queues, theirs, 0.0):
        return True
    after = (queues.usage[ours] + queues.held[ours] + units) / queues.weight[ours]
    return bool((queues.usage[theirs] + queues.held[theirs] - victim_units) / queues.weight[theirs] >= after)


@compiled
def bounded(queues: Table, queue: int) -> bool:
    """Whether some quota at or above this queue bounds what its children may borrow."""
    while queue >= 0:
        if queues.quota[queue] >= 0:
            return True
        queue = queues.parent[queue]
    return False


@compiled
def join_queue(state: State, job: int) -> None:
    """Put a waiting job in its queue, in order of key; nearly always at the end."""
    jobs, queues, queue = state.jobs, state.queues, state.jobs.queue[job]
    tail = queues.tail[queue]
    if tail < 0 or before(jobs, tail, job):
        after = tail
    else:
        after, following = -1, queues.head[queue]
        while following >= 0 and before(jobs, following, job):
            after, following = following, jobs.next_job[following]
    jobs.next_job[job] = queues.head[queue] if after < 0 else jobs.next_job[after]
    if after < 0:
        queues.head[queue] = job
    else:
        jobs.next_job[after] = job
    if after == tail:
        queues.tail[queue] = job
    while queue >= 0:
        queues.waiting[queue] += 1
        queue = queues.parent[queue]


@compiled
def queue_up(state: State, rules: Rules, job: int) -> None:
    """Put a job with its key among the waiting: in its own queue where queues take turns, else in its lane."""
    if rules.order == FAIR:
        join_queue(state, job)
    else:
        enqueue(state, job)


@compiled
def open_queues(queues: Table) -> None:
    """Begin a pass: every queue is looked at from its head."""
    for queue in range(len(queues)):
        queues.looked[queue] = -1
        queues.left[queue] = queues.waiting[queue]


@compiled
def candidate(jobs: Table, queues: Table, queue: int) -> int:
    """The queue's next job to look at in this pass, or -1."""
    looked = queues.looked[queue]
    return int(queues.head[queue] if looked < 0 else jobs.next_job[looked])


@compiled
def share(queues: Table, queue: int) -> float:
    return float((queues.usage[queue] + queues.held[queue]) / queues.weight[queue])


@compiled
def pick(jobs: Table, queues: Table) -> int:
    """The queue whose turn it is: the lowest share from the root down to one with jobs of its own; -1 when none is left."""
    if queues.left[0] == 0:
        return -1
    here = 0
    while candidate(jobs, queues, here) < 0:
        best, lowest = -1, np.inf
        for queue in range(here + 1, len(queues)):
            if queues.parent[queue] == here and queues.left[queue] > 0:
                value = share(queues, queue)
                if value < lowest:
                    best, lowest = queue, value
        here = best
    return here


@compiled
def leave_queue(jobs: Table, queues: Table, queue: int, job: int) -> None:
    """Take the candidate of a queue, which was started, off it."""
    looked = queues.looked[queue]
    if looked < 0:
        queues.head[queue] = jobs.next_job[job]
    else:
        jobs.next_job[looked] = jobs.next_job[job]
    if queues.tail[queue] == job:
        queues.tail[queue] = looked
    while queue >= 0:
        queues.waiting[queue] -= 1
        queues.left[queue] -= 1
        queue = queues.parent[queue]


@compiled
def step_over(queues: Table, queue: int, job: int) -> None:
    """Leave the candidate of a queue where it is and go on to the one behind it."""
    queues.looked[queue] = job
    while queue >= 0:
        queues.left[queue] -= 1
        queue = queues.parent[queue]


@compiled
def close_queue(queues: Table, queue: int) -> None:
    """Look at no more of a queue's own jobs in this pass."""
    own = queues.left[queue]
    for below in range(queue + 1, len(queues)):
        if queues.parent[below] == queue:
            own -= queues.left[below]
    queues.looked[queue] = queues.tail[queue]
    while queue >= 0:
        queues.left[queue] -= own
        queue = queues.parent[queue]
