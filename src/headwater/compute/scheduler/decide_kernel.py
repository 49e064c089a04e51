"""One decision over one lane: order, promise, place, preempt (compiled).

The dispatcher and the digital twin both call `decide_lane`; neither decides anything itself. It changes the tables it is
given and lists what it did; it reads no clock.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.backfill_kernel import (
    CONSERVATIVE,
    EASY,
    HELD_SITE,
    MOST_FREE,
    STRICT,
    earliest_slot,
    end_s,
    no_promise,
    open_plan,
    promise,
    reserve,
)
from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.fairshare_kernel import (
    age_usage,
    candidate,
    close_queue,
    leave_queue,
    open_queues,
    over_quota,
    pick,
    queue_up,
    step_over,
)
from headwater.compute.scheduler.order_kernel import FAIR, drop_taken, learn, next_change_s, value
from headwater.compute.scheduler.placement_kernel import CONSOLIDATED, finish, fits_on_nodes, may_use, settle, start, stop
from headwater.compute.scheduler.prediction_kernel import predict_s, remember
from headwater.compute.scheduler.preemption_kernel import BY_ORDER, BY_PRIORITY, make_room, pass_preempting, return_stopped
from headwater.compute.scheduler.start_kernel import lane_free, most_free, try_start
from headwater.compute.scheduler.state import BEHIND_HEAD, NO_NODE, NO_ROOM, NOW_S, OVER_QUOTA, STARTED, WAITING, Decisions, Rules, State


@compiled
def pass_in_order(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Go through the lane's waiting jobs in order and start what may start."""
    jobs, lanes, hold = state.jobs, state.lanes, no_promise()
    cell, kept, free = lanes.begin[lane], 0, lane_free(state, lane)
    while cell < lanes.end[lane] and (free > 0 or rules.preemption == BY_PRIORITY) and kept <= rules.depth:
        job = state.order[cell]
        cell += 1
        started = try_start(state, rules, job, now_s, hold, out)
        if not started and rules.preemption == BY_PRIORITY and jobs.reason[job] != OVER_QUOTA and make_room(state, rules, job, now_s, out):
            hold[MOST_FREE] = np.inf
            started = try_start(state, rules, job, now_s, hold, out)
            free = lane_free(state, lane) + jobs.units[job]
        if started:
            free -= jobs.units[job]
            continue
        hold[MOST_FREE] = most_free(state, lane) if hold[MOST_FREE] == np.inf else hold[MOST_FREE]
        state.scratch[kept] = job
        kept += 1
        if jobs.reason[job] != OVER_QUOTA:
            if rules.backfill == STRICT:
                break
            if rules.backfill == EASY and hold[HELD_SITE] < 0:
                promise(state, rules, job, now_s, hold)
    for index in range(kept):
        state.order[cell - kept + index] = state.scratch[index]
    lanes.begin[lane] = cell - kept
    return_stopped(state, rules, lane, out)


@compiled
def pass_fair(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Serve the queues by share: after each start the queue with the lowest share has its turn."""
    jobs, queues, hold = state.jobs, state.queues, no_promise()
    free, looked = lane_free(state, lane), 0
    open_queues(queues)
    queue = pick(jobs, queues)
    while queue >= 0 and free > 0 and looked <= rules.depth:
        job = candidate(jobs, queues, queue)
        if try_start(state, rules, job, now_s, hold, out):
            free -= jobs.units[job]
            leave_queue(jobs, queues, queue, job)
            queue = pick(jobs, queues)
            continue
        looked += 1
        hold[MOST_FREE] = most_free(state, lane) if hold[MOST_FREE] == np.inf else hold[MOST_FREE]
        if jobs.reason[job] == OVER_QUOTA or rules.backfill == STRICT:
            close_queue(queues, queue)
        else:
            step_over(queues, queue, job)
            if rules.backfill == EASY and hold[HELD_SITE] < 0:
                promise(state, rules, job, now_s, hold)
        if candidate(jobs, queues, queue) < 0:
            queue = pick(jobs, queues)


@compiled
def pass_conservative(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Give every job looked at the earliest slot that moves no job before it; start those whose slot is now.

    Slots count units. A job whose nodes are not free at its slot waits, and keeps it.
    """
    jobs, sites, lanes = state.jobs, state.sites, state.lanes
    looked = min(lanes.end[lane] - lanes.begin[lane], rules.depth + 1)
    most = int(sites.running_count.max()) + 2 * looked + 2
    times, free = np.empty((len(sites), most)), np.empty((len(sites), most), np.int64)
    steps = np.zeros(len(sites), np.int64)
    for site in range(len(sites)):
        if sites.lane[site] == lane and sites.up[site] == 1:
            steps[site] = open_plan(state, site, now_s, times[site], free[site])
    for cell in range(lanes.begin[lane], lanes.begin[lane] + looked):
        job = state.order[cell]
        best, slot, soonest = -1, -1, np.inf
        for site in range(len(sites)):
            if may_use(state, job, site):
                length = end_s(state, rules, job, site, now_s) - now_s
                begin = earliest_slot(times[site], free[site], steps[site], jobs.units[job], length)
                if begin >= 0 and times[site, begin] < soonest:
                    best, slot, soonest = site, begin, times[site, begin]
        if best < 0:
            jobs.reason[job], jobs.because_of[job] = NO_ROOM, -1
            continue
        length = end_s(state, rules, job, best, now_s) - now_s
        steps[best] = reserve(times[best], free[best], steps[best], slot, jobs.units[job], length)
        if soonest > now_s or sites.free[best] < jobs.units[job]:
            jobs.reason[job], jobs.because_of[job] = BEHIND_HEAD, -1
        else:
            start_in_slot(state, rules, job, best, now_s, out)
    drop_taken(state, lane, 0)


@compiled
def start_in_slot(state: State, rules: Rules, job: int, site: int, now_s: float, out: Decisions) -> None:
    """Start the job, whose slot is now, if the quota and the nodes allow."""
    jobs, sites = state.jobs, state.sites
    queue = over_quota(state.queues, jobs.queue[job], jobs.units[job])
    jobs.because_of[job] = queue
    if queue >= 0:
        jobs.reason[job] = OVER_QUOTA
    elif rules.placement == CONSOLIDATED and not fits_on_nodes(sites, site, jobs.units[job], state.node_free):
        jobs.reason[job] = NO_NODE
    else:
        jobs.reason[job] = STARTED
        start(state, rules, job, site, now_s, out)


@compiled
def admit(state: State, rules: Rules, job: int) -> None:
    """Put an arriving job in its lane, with an estimate from history where the policy predicts."""
    state.jobs.state[job] = WAITING
    if rules.predict == 1:
        state.jobs.estimate_s[job] = predict_s(state, state.jobs.kind[job])
    state.jobs.stale[job] = 1
    state.jobs.key[job] = value(state, rules, job)
    queue_up(state, rules, job)


@compiled
def complete(state: State, rules: Rules, job: int, now_s: float) -> None:
    """Take a job that ended off its site and learn from it."""
    finish(state, job, now_s)
    learn(state, rules, job)
    remember(state, state.jobs.kind[job], state.jobs.attained_s[job])


@compiled
def look_again(state: State, rules: Rules, job: int, now_s: float) -> float:
    """Book a running job's work so far; returns when its rank will next jump."""
    settle(state.jobs, job, now_s)
    learn(state, rules, job)
    return next_change_s(state, rules, job, now_s)


@compiled
def bring_back(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> None:
    """Stop a job whose site was lost and let it wait again."""
    stop(state, job, now_s, out)
    if rules.preemption != BY_ORDER or rules.order == FAIR:
        state.jobs.key[job] = value(state, rules, job)
        queue_up(state, rules, job)
    state.jobs.stale[job] = 1


@compiled
def decide_lane(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Decide for one lane; what is done is added to `out`."""
    state.marks[NOW_S] = now_s
    if rules.order == FAIR:
        age_usage(state, now_s, rules.half_life_s)
        pass_fair(state, rules, lane, now_s, out)
    elif rules.preemption == BY_ORDER:
        pass_preempting(state, rules, lane, now_s, out)
    elif rules.backfill == CONSERVATIVE:
        pass_conservative(state, rules, lane, now_s, out)
    else:
        pass_in_order(state, rules, lane, now_s, out)
