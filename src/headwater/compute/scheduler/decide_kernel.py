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
    less_kept,
    no_promise,
    open_plan,
    promise,
    reserve,
)
from headwater.compute.scheduler.compiled import compiled, compiled_allocating
from headwater.compute.scheduler.elastic_kernel import grow, shrink_for
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
from headwater.compute.scheduler.placement_kernel import finish, may_use, settle, start, stop, work_at_risk
from headwater.compute.scheduler.prediction_kernel import predict_s, remember
from headwater.compute.scheduler.preemption_kernel import BY_ORDER, BY_PRIORITY, BY_SHARE, make_room, pass_preempting, return_stopped
from headwater.compute.scheduler.start_kernel import lacking, lane_free, most_free, try_start
from headwater.compute.scheduler.state import (
    BEHIND_HEAD,
    NO_ROOM,
    NOW_S,
    OVER_QUOTA,
    STARTED,
    WAITING,
    WINDOW_OPENED,
    Decisions,
    Floats,
    Rules,
    State,
)
from headwater.compute.scheduler.window_kernel import kept_for_others, window_ahead


@compiled
def start_with_force(state: State, rules: Rules, job: int, now_s: float, hold: Floats, out: Decisions) -> bool:
    """Start a job that does not fit by making elastic jobs smaller, or else by stopping others, as far as the policy does either."""
    over = state.jobs.reason[job] == OVER_QUOTA
    helped = rules.shrink == 1 and not over and shrink_for(state, rules, job, now_s, out)
    if not helped and (rules.preemption == BY_SHARE or (rules.preemption == BY_PRIORITY and not over)):
        helped = make_room(state, rules, job, now_s, hold, out)
    if not helped:
        return False
    hold[MOST_FREE] = np.inf
    return try_start(state, rules, job, now_s, hold, out)


@compiled
def uses_force(rules: Rules) -> bool:
    return bool(rules.preemption in (BY_PRIORITY, BY_SHARE) or rules.shrink == 1)


@compiled_allocating
def pass_in_order(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Go through the lane's waiting jobs in order and start what may start."""
    jobs, lanes, hold, first = state.jobs, state.lanes, no_promise(), out.length[0]
    cell, kept, free, force = lanes.begin[lane], 0, lane_free(state, lane), uses_force(rules)
    while cell < lanes.end[lane] and (free > 0 or force) and kept <= rules.depth:
        job = state.order[cell]
        cell += 1
        if try_start(state, rules, job, now_s, hold, out):
            free -= jobs.units[job]
            continue
        if force and start_with_force(state, rules, job, now_s, hold, out):
            free = lane_free(state, lane)
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
    return_stopped(state, rules, lane, out, first)


@compiled_allocating
def pass_fair(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Serve the queues by share: after each start the queue with the lowest share has its turn."""
    jobs, queues, hold, first = state.jobs, state.queues, no_promise(), out.length[0]
    free, looked, force = lane_free(state, lane), 0, uses_force(rules)
    open_queues(queues)
    queue = pick(jobs, queues)
    while queue >= 0 and (free > 0 or force) and looked <= rules.depth:
        job = candidate(jobs, queues, queue)
        started = try_start(state, rules, job, now_s, hold, out)
        free -= jobs.units[job] if started else 0
        if not started and force:
            started = start_with_force(state, rules, job, now_s, hold, out)
            free = lane_free(state, lane)
        if started:
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
    return_stopped(state, rules, lane, out, first)


@compiled_allocating
def pass_conservative(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Give every job looked at the earliest slot that moves no job before it; start those whose slot is now.

    Slots count units. A job whose nodes are not free at its slot waits, and keeps it.
    """
    jobs, sites, lanes = state.jobs, state.sites, state.lanes
    looked = min(lanes.end[lane] - lanes.begin[lane], rules.depth + 1)
    most = int(sites.running_count.max()) + 2 * looked + 2 * len(state.windows) + 2
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
                left = less_kept(state, job, site, times[site], free[site], steps[site], now_s)
                begin = earliest_slot(times[site], left, steps[site], jobs.units[job], length)
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
    queue = over_quota(state.queues, jobs.queue[job], jobs.units[job] * sites.unit_weight[site])
    lacks = OVER_QUOTA if queue >= 0 else lacking(state, rules, job, site, now_s)
    jobs.because_of[job] = queue
    jobs.reason[job] = lacks if lacks > 0 else STARTED
    if lacks == 0:
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
    finish(state, rules, job, now_s)
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
    stop(state, rules, job, now_s, out)
    if rules.preemption != BY_ORDER or rules.order == FAIR:
        state.jobs.key[job] = value(state, rules, job)
        queue_up(state, rules, job)
    state.jobs.stale[job] = 1


@compiled
def least_lost(state: State, site: int, now_s: float) -> int:
    """Of the running jobs that hold what a window keeps for others, the one with the least work lost; -1 where none does."""
    jobs, best, least = state.jobs, -1, np.inf
    first = state.sites.running_from[site]
    for cell in range(first, first + state.sites.running_count[site]):
        job = state.running[cell]
        if kept_for_others(state, job, site, now_s, now_s) > state.sites.free[site]:
            settle(jobs, job, now_s)
            loss = work_at_risk(jobs, job) * jobs.units[job]
            if loss < least:
                best, least = job, loss
    return best


@compiled
def clear_windows(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Stop jobs that outlived their estimates into a window which is now open, as far as its units are not free."""
    sites, jobs = state.sites, state.jobs
    for site in range(len(sites)):
        if sites.lane[site] != lane or sites.window_count[site] == 0:
            continue
        victim = least_lost(state, site, now_s)
        while victim >= 0:
            bring_back(state, rules, victim, now_s, out)
            jobs.reason[victim], jobs.because_of[victim] = WINDOW_OPENED, window_ahead(state, victim, site, now_s)
            victim = least_lost(state, site, now_s)


@compiled
def decide_lane(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Decide for one lane; what is done is added to `out`."""
    state.marks[NOW_S] = now_s
    if len(state.windows) > 0:
        clear_windows(state, rules, lane, now_s, out)
    if rules.order == FAIR:
        age_usage(state, now_s, rules.half_life_s)
        pass_fair(state, rules, lane, now_s, out)
    elif rules.preemption == BY_ORDER:
        pass_preempting(state, rules, lane, now_s, out)
    elif rules.backfill == CONSERVATIVE:
        pass_conservative(state, rules, lane, now_s, out)
    else:
        pass_in_order(state, rules, lane, now_s, out)
    if rules.grow == 1:
        grow(state, rules, lane, now_s, out)
