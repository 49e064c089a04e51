"""One decision over one lane: order, promise, place, preempt (compiled).

The dispatcher and the digital twin both call `decide_lane`; neither decides anything itself. It changes the tables it is
given and lists what it did; it reads no clock.
"""

from __future__ import annotations

import numpy as np
from headwater.compute.scheduler.compiled import compiled

from headwater.compute.scheduler.backfill_kernel import (
    CONSERVATIVE, EASY, EXTRA, HEAD, HELD_SITE, STRICT, delays_head, earliest_slot, end_s, no_promise, open_plan, outlasts, promise, reserve,
)  # fmt: skip
from headwater.compute.scheduler.fairshare_kernel import age_usage, drop_queue, gather, over_quota, pick, take_head
from headwater.compute.scheduler.order_kernel import FAIR, before, drop_taken, enqueue, learn, next_change_s, reorder, value
from headwater.compute.scheduler.placement_kernel import (
    CONSOLIDATED, finish, fits_on_nodes, may_use, move_nodes, settle, start, stop, work_at_risk,
)  # fmt: skip
from headwater.compute.scheduler.prediction_kernel import predict_s, remember
from headwater.compute.scheduler.state import (
    BACKFILLED, BEHIND_HEAD, DELAYS_HEAD, NO_NODE, NO_ROOM, OUTRANKED, OVER_QUOTA, RUNNING, STARTED, STOP, WAITING, Decisions, Floats, Ints, Rules, State,
)  # fmt: skip

NEVER, BY_PRIORITY, BY_ORDER = range(3)


@compiled
def place(state: State, rules: Rules, job: int, now_s: float, hold: Floats) -> int:
    """The best site that can take the job now and keeps the promise; else minus the reason why none can."""
    jobs, sites = state.jobs, state.sites
    home, units = jobs.home[job], jobs.units[job]
    best, lowest, verdict = -1, np.inf, -NO_ROOM
    for site in range(0 if home < 0 else home, len(sites) if home < 0 else home + 1):
        if sites.free[site] < units or not may_use(jobs, sites, job, site):
            continue
        if rules.placement == CONSOLIDATED and not fits_on_nodes(sites, site, units, state.node_free):
            verdict = min(verdict, -NO_NODE)
            continue
        score = sites.score[site] + rules.load_weight * (1.0 - sites.free[site] / sites.capacity[site])
        if score < lowest:
            if delays_head(state, rules, job, site, now_s, hold):
                verdict = -DELAYS_HEAD
            else:
                best, lowest = site, score
    return best if best >= 0 else verdict


@compiled
def try_start(state: State, rules: Rules, job: int, now_s: float, hold: Floats, out: Decisions) -> bool:
    """Start the job if it fits, is within quota and keeps the promise; write down why or why not."""
    jobs = state.jobs
    queue = over_quota(state.queues, jobs.queue[job], jobs.units[job])
    if queue >= 0:
        jobs.reason[job], jobs.because_of[job] = OVER_QUOTA, queue
        return False
    site = place(state, rules, job, now_s, hold)
    if site < 0:
        jobs.reason[job], jobs.because_of[job] = -site, int(hold[HEAD])
        return False
    held = outlasts(state, rules, job, site, now_s, hold)
    jobs.reason[job] = BACKFILLED if hold[HEAD] >= 0 else STARTED
    jobs.because_of[job] = int(hold[HEAD])
    start(state, rules, job, site, now_s, out)
    if held:
        hold[EXTRA] -= jobs.units[job]
        if rules.placement == CONSOLIDATED:
            move_nodes(state, job, state.node_scratch, -1)
    return True


@compiled
def lane_free(state: State, lane: int) -> int:
    """Units free on the lane's sites."""
    units = 0
    for site in range(len(state.sites)):
        if state.sites.lane[site] == lane and state.sites.up[site] == 1:
            units += state.sites.free[site]
    return units


@compiled
def pass_in_order(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Go through the lane's waiting jobs in order and start what may start."""
    jobs, lanes, hold = state.jobs, state.lanes, no_promise()
    cell, kept, free, blocked = lanes.begin[lane], 0, lane_free(state, lane), False
    while cell < lanes.end[lane] and (free > 0 or rules.preemption == BY_PRIORITY) and kept <= rules.depth:
        job = state.order[cell]
        cell += 1
        started = try_start(state, rules, job, now_s, hold, out)
        if not started and rules.preemption == BY_PRIORITY and jobs.reason[job] != OVER_QUOTA and make_room(state, rules, job, now_s, out):
            started = try_start(state, rules, job, now_s, hold, out)
            free = lane_free(state, lane) + jobs.units[job]
        if started:
            free -= jobs.units[job]
            continue
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
    return_stopped(state, rules, out)


@compiled
def return_stopped(state: State, rules: Rules, out: Decisions) -> None:
    """Put the jobs that a pass stopped back among the waiting."""
    for row in range(out.count[0]):
        job = out.rows.job[row]
        if out.rows.action[row] == STOP and state.jobs.state[job] == WAITING:
            state.jobs.key[job] = value(state, rules, job)
            enqueue(state, job)


@compiled
def make_room(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> bool:
    """Stop lower-priority jobs so that this one fits, on the site where least work is lost; False if nowhere can."""
    jobs, sites = state.jobs, state.sites
    best, least = -1, np.inf
    for site in range(len(sites)):
        if may_use(jobs, sites, job, site):
            _, loss, enough = choose_victims(state, rules, job, site, now_s)
            if enough and loss < least:
                best, least = site, loss
    if best < 0:
        return False
    victims, _, _ = choose_victims(state, rules, job, best, now_s)
    for victim in victims:
        stop(state, victim, now_s, out)
        jobs.reason[victim], jobs.because_of[victim] = OUTRANKED, job
    return True


@compiled
def choose_victims(state: State, rules: Rules, job: int, site: int, now_s: float) -> tuple[Ints, float, bool]:
    """The jobs to stop on a site for this one, the unit-seconds lost, and whether that is enough.

    Only jobs of lower priority; the lowest priority first, then the least work lost since its last checkpoint.
    """
    jobs, sites, free_nodes = state.jobs, state.sites, state.node_scratch
    first, count = sites.running_from[site], sites.running_count[site]
    candidates = np.empty(count, np.int64)
    rank = np.empty(count)
    found = 0
    for cell in range(first, first + count):
        other = state.running[cell]
        if jobs.priority[other] < jobs.priority[job]:
            settle(jobs, sites, other, now_s)
            candidates[found] = other
            rank[found] = jobs.priority[other] * 1e15 + work_at_risk(jobs, other) * jobs.units[other]
            found += 1
    candidates = candidates[:found][np.argsort(rank[:found])]
    free, loss, taken = sites.free[site], 0.0, 0
    free_nodes[:] = state.node_free
    by_node = rules.placement == CONSOLIDATED
    need = jobs.units[job]
    while not (free >= need and (not by_node or fits_on_nodes(sites, site, need, free_nodes))):
        if taken == found:
            return candidates[:0], np.inf, False
        victim = candidates[taken]
        free += jobs.units[victim]
        move_nodes(state, victim, free_nodes, 1)
        loss += work_at_risk(jobs, victim) * jobs.units[victim]
        taken += 1
    return candidates[:taken], loss, True


@compiled
def pass_fair(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Serve the queues by share: after each start the queue with the lowest share has its turn."""
    jobs, queues, hold = state.jobs, state.queues, no_promise()
    free, looked = lane_free(state, lane), 0
    gather(state, lane)
    queue = pick(queues)
    while queue >= 0 and free > 0 and looked <= rules.depth:
        job = take_head(jobs, queues, queue)
        if try_start(state, rules, job, now_s, hold, out):
            free -= jobs.units[job]
            queue = pick(queues)
            continue
        looked += 1
        if jobs.reason[job] == OVER_QUOTA or rules.backfill == STRICT:
            drop_queue(queues, queue)
            queue = pick(queues)
            continue
        if rules.backfill == EASY and hold[HELD_SITE] < 0:
            promise(state, rules, job, now_s, hold)
        if queues.head[queue] < 0:
            queue = pick(queues)
    drop_taken(state, lane, 0)


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
            if may_use(jobs, sites, job, site):
                length = end_s(state, rules, job, site, now_s) - now_s
                begin = earliest_slot(times[site], free[site], steps[site], jobs.units[job], length)
                if begin >= 0 and times[site, begin] < soonest:
                    best, slot, soonest = site, begin, times[site, begin]
        if best < 0:
            jobs.reason[job], jobs.because_of[job] = NO_ROOM, -1
            continue
        length = end_s(state, rules, job, best, now_s) - now_s
        steps[best] = reserve(times[best], free[best], steps[best], slot, jobs.units[job], length)
        start_in_slot(state, rules, job, best, soonest, now_s, out)
    drop_taken(state, lane, 0)


@compiled
def start_in_slot(state: State, rules: Rules, job: int, site: int, slot_s: float, now_s: float, out: Decisions) -> None:
    """Start the job if its slot is now, the units are free and the quota allows."""
    jobs, sites = state.jobs, state.sites
    queue = over_quota(state.queues, jobs.queue[job], jobs.units[job])
    jobs.because_of[job] = queue
    if queue >= 0:
        jobs.reason[job] = OVER_QUOTA
    elif slot_s > now_s or sites.free[site] < jobs.units[job]:
        jobs.reason[job] = BEHIND_HEAD
    elif rules.placement == CONSOLIDATED and not fits_on_nodes(sites, site, jobs.units[job], state.node_free):
        jobs.reason[job] = NO_NODE
    else:
        jobs.reason[job] = STARTED
        start(state, rules, job, site, now_s, out)


@compiled
def rank_active(state: State, rules: Rules, lane: int, now_s: float) -> None:
    """Settle the lane's running jobs, learn from them, and sort all its jobs by their value now."""
    jobs, lanes = state.jobs, state.lanes
    drop_taken(state, lane, 1)
    for cell in range(lanes.begin[lane], lanes.end[lane]):
        job = state.order[cell]
        if jobs.state[job] == RUNNING:
            settle(jobs, state.sites, job, now_s)
            learn(state, rules, job)
    for cell in range(lanes.begin[lane], lanes.end[lane]):
        job = state.order[cell]
        if jobs.state[job] == RUNNING or jobs.stale[job] == 1:
            jobs.key[job] = value(state, rules, job)
            jobs.stale[job] = 0
    reorder(state, lane)


@compiled
def serve(state: State, rules: Rules, job: int) -> int:
    """The site that should serve the job with what the jobs before it left, or -1. A running job stays where it is."""
    jobs, sites = state.jobs, state.sites
    units = jobs.units[job]
    if jobs.state[job] == RUNNING:
        return int(jobs.site[job]) if sites.spare[jobs.site[job]] >= units else -1
    if over_quota(state.queues, jobs.queue[job], units) >= 0:
        return -1
    best, lowest = -1, np.inf
    for site in range(len(sites)):
        if sites.spare[site] >= units and may_use(jobs, sites, job, site):
            score = sites.score[site] + rules.load_weight * (1.0 - sites.spare[site] / sites.capacity[site])
            if score < lowest:
                best, lowest = site, score
    return best


@compiled
def choose_served(state: State, rules: Rules, lane: int) -> int:
    """Mark, from the first in order, the jobs that fit together and where; returns the cell after the last one looked at."""
    jobs, sites, left = state.jobs, state.sites, 0
    for site in range(len(sites)):
        sites.spare[site] = sites.capacity[site] if sites.lane[site] == lane and sites.up[site] == 1 else 0
        left += sites.spare[site]
        for cell in range(sites.running_from[site], sites.running_from[site] + sites.running_count[site]):
            jobs.served[state.running[cell]] = -1
    cell = state.lanes.begin[lane]
    while cell < state.lanes.end[lane] and left > 0:
        job = state.order[cell]
        best = serve(state, rules, job)
        jobs.served[job] = best
        if best >= 0:
            sites.spare[best] -= jobs.units[job]
            left -= jobs.units[job]
        cell += 1
    return int(cell)


@compiled
def fits_now(state: State, rules: Rules, job: int, site: int, free: Ints, units: int) -> bool:
    """Whether the job fits on the site, were `units` units and the nodes in `free` free."""
    need = state.jobs.units[job]
    return bool(units >= need and (rules.placement != CONSOLIDATED or fits_on_nodes(state.sites, site, need, free)))


@compiled
def last_unserved(state: State, site: int) -> int:
    """The running job of the site that comes last in order among those not served, or -1."""
    jobs, last = state.jobs, -1
    first = state.sites.running_from[site]
    for cell in range(first, first + state.sites.running_count[site]):
        job = state.running[cell]
        if jobs.served[job] < 0 and (last < 0 or before(jobs, last, job)):
            last = job
    return last


@compiled
def can_fit(state: State, rules: Rules, job: int, site: int) -> bool:
    """Whether the job would fit with all unserved jobs of the site stopped."""
    jobs, sites, free = state.jobs, state.sites, state.node_scratch
    units, first = sites.free[site], sites.running_from[site]
    free[:] = state.node_free
    for cell in range(first, first + sites.running_count[site]):
        if jobs.served[state.running[cell]] < 0:
            units += jobs.units[state.running[cell]]
            move_nodes(state, state.running[cell], free, 1)
    return fits_now(state, rules, job, site, free, units)


@compiled
def evict_for(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> bool:
    """Stop unserved jobs of the site that should serve this one, last in order first, until it fits; none if that cannot do."""
    jobs, sites = state.jobs, state.sites
    site = jobs.served[job]
    if fits_now(state, rules, job, site, state.node_free, sites.free[site]):
        return True
    if not can_fit(state, rules, job, site):
        return False
    while not fits_now(state, rules, job, site, state.node_free, sites.free[site]):
        other = last_unserved(state, site)
        stop(state, other, now_s, out)
        jobs.stale[other] = 1
        jobs.reason[other], jobs.because_of[other] = OUTRANKED, job
    return True


@compiled
def pass_preempting(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Serve the first jobs in order that fit together, stopping others only as far as their places need."""
    jobs, lanes, hold = state.jobs, state.lanes, no_promise()
    rank_active(state, rules, lane, now_s)
    looked = choose_served(state, rules, lane)
    for cell in range(lanes.begin[lane], looked):
        job = state.order[cell]
        if jobs.state[job] == WAITING and jobs.served[job] >= 0 and evict_for(state, rules, job, now_s, out):
            jobs.reason[job], jobs.because_of[job] = STARTED, -1
            start(state, rules, job, jobs.served[job], now_s, out)
    free = lane_free(state, lane)
    for cell in range(lanes.begin[lane], lanes.end[lane]):
        if free <= 0:
            break
        job = state.order[cell]
        if jobs.state[job] == WAITING and jobs.units[job] <= free and try_start(state, rules, job, now_s, hold, out):
            free -= jobs.units[job]


@compiled
def admit(state: State, rules: Rules, job: int) -> None:
    """Put an arriving job in its lane, with an estimate from history where the policy predicts."""
    state.jobs.state[job] = WAITING
    if rules.predict == 1:
        state.jobs.estimate_s[job] = predict_s(state, state.jobs.kind[job])
    state.jobs.stale[job] = 1
    state.jobs.key[job] = value(state, rules, job)
    enqueue(state, job)


@compiled
def complete(state: State, rules: Rules, job: int, now_s: float) -> None:
    """Take a job that ended off its site and learn from it."""
    finish(state, job, now_s)
    learn(state, rules, job)
    remember(state, state.jobs.kind[job], state.jobs.attained_s[job])


@compiled
def look_again(state: State, rules: Rules, job: int, now_s: float) -> float:
    """Book a running job's work so far; returns when its rank will next jump."""
    settle(state.jobs, state.sites, job, now_s)
    learn(state, rules, job)
    return next_change_s(state, rules, job, now_s)


@compiled
def bring_back(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> None:
    """Stop a job whose site was lost and let it wait again."""
    stop(state, job, now_s, out)
    if rules.preemption != BY_ORDER or rules.order == FAIR:
        state.jobs.key[job] = value(state, rules, job)
        enqueue(state, job)
    state.jobs.stale[job] = 1


@compiled
def decide_lane(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Decide for one lane; what is done is added to `out`."""
    if rules.order == FAIR:
        age_usage(state, now_s, rules.half_life_s)
        pass_fair(state, rules, lane, now_s, out)
    elif rules.preemption == BY_ORDER:
        pass_preempting(state, rules, lane, now_s, out)
    elif rules.backfill == CONSERVATIVE:
        pass_conservative(state, rules, lane, now_s, out)
    else:
        pass_in_order(state, rules, lane, now_s, out)
