"""Stop running jobs for others: by priority or by share for one blocked job, or by order for the whole lane (compiled).

By order is the frame of SRTF, least attained service (Tiresias, Gu et al. 2019) and the learned index: at every decision the
first jobs in order that fit together are served. A job is stopped only when its place is really needed.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.backfill_kernel import no_promise, outlasts
from headwater.compute.scheduler.compiled import compiled, compiled_allocating
from headwater.compute.scheduler.fairshare_kernel import may_reclaim, over_quota, queue_up
from headwater.compute.scheduler.nodes_kernel import copy_nodes, fits_scratch, move_scratch
from headwater.compute.scheduler.order_kernel import before, drop_taken, learn, overdue, reorder, value
from headwater.compute.scheduler.placement_kernel import charge, may_use, settle, start, stop, work_at_risk
from headwater.compute.scheduler.score_kernel import site_score
from headwater.compute.scheduler.start_kernel import lacking, lane_free, try_start
from headwater.compute.scheduler.state import (
    ASKS_NONE,
    LEAST_WEIGHT,
    NOW_S,
    OUTRANKED,
    OVER_QUOTA,
    RECLAIMED,
    RUNNING,
    STARTED,
    STOP,
    WAITING,
    Decisions,
    Floats,
    Ints,
    Rules,
    State,
)
from headwater.compute.scheduler.window_kernel import kept_most

NEVER, BY_PRIORITY, BY_ORDER, BY_SHARE = range(4)
RANKED_BETWEEN = 50
"""What is learned of a whole kind drifts slowly: so often, or once per waiting job, a lane is ranked between looks at it."""


@compiled
def return_stopped(state: State, rules: Rules, lane: int, out: Decisions, first: int) -> None:
    """Put the jobs that a pass over this lane stopped, from row `first` of the decisions on, back among the waiting."""
    for row in range(first, out.length[0]):
        job = out.rows.job[row]
        if out.rows.action[row] == STOP and state.jobs.state[job] == WAITING and state.jobs.lane[job] == lane:
            state.jobs.key[job] = value(state, rules, job)
            queue_up(state, rules, job)


@compiled_allocating
def make_room(state: State, rules: Rules, job: int, now_s: float, hold: Floats, out: Decisions) -> bool:
    """Stop other jobs so that this one fits, on the site where least work is lost; False if nowhere can.

    Nobody is stopped on a site where a promise stands in the way, or for a job that would meet a window of others.
    """
    jobs, best, least = state.jobs, -1, np.inf
    for site in range(len(state.sites)):
        if may_use(state, job, site) and kept_most(state, rules, job, site, now_s) == 0:
            if outlasts(state, rules, job, site, now_s, hold):
                continue
            _, loss, enough = choose_victims(state, rules, job, site, now_s)
            if enough and loss < least:
                best, least = site, loss
    if best < 0:
        return False
    victims, _, _ = choose_victims(state, rules, job, best, now_s)
    for victim in victims:
        stop(state, rules, victim, now_s, out)
        jobs.reason[victim], jobs.because_of[victim] = RECLAIMED if rules.preemption == BY_SHARE else OUTRANKED, job
    return True


@compiled
def may_stop(state: State, rules: Rules, victim: int, job: int, site: int) -> bool:
    """Whether the policy lets the job have this one stopped, by priority or by share, as shares are now."""
    jobs, weight = state.jobs, state.sites.unit_weight[site]
    if rules.preemption == BY_PRIORITY:
        return bool(jobs.priority[victim] < jobs.priority[job])
    return may_reclaim(state.queues, jobs.queue[job], jobs.units[job] * weight, jobs.queue[victim], jobs.units[victim] * weight)


@compiled_allocating
def by_loss(state: State, rules: Rules, job: int, site: int, now_s: float) -> Ints:
    """The site's running jobs that may be stopped: by priority the lowest first, then the least work lost since the last checkpoint."""
    jobs, first, count = state.jobs, state.sites.running_from[site], state.sites.running_count[site]
    candidates, rank, found = np.empty(count, np.int64), np.empty(count), 0
    for cell in range(first, first + count):
        other = state.running[cell]
        if may_stop(state, rules, other, job, site):
            settle(jobs, other, now_s)
            candidates[found] = other
            rank[found] = work_at_risk(jobs, other) * jobs.units[other] + (
                jobs.priority[other] * 1e15 if rules.preemption == BY_PRIORITY else 0
            )
            found += 1
    return candidates[:found][np.argsort(rank[:found], kind="mergesort")]


@compiled_allocating
def choose_victims(state: State, rules: Rules, job: int, site: int, now_s: float) -> tuple[Ints, float, bool]:
    """The jobs to stop on a site for this one, the unit-seconds lost, and whether that is enough for units, nodes, host and quota."""
    jobs, sites, queues, host = state.jobs, state.sites, state.queues, state.sites.host[site]
    candidates, weight = by_loss(state, rules, job, site, now_s), sites.unit_weight[site]
    free, cpu, memory = sites.free[site], state.hosts.cpu_free[host], state.hosts.memory_free[host]
    loss, taken, enough = 0.0, 0, False
    copy_nodes(state, rules)
    for place in range(len(candidates) + 1):
        within = over_quota(queues, jobs.queue[job], jobs.units[job] * weight) < 0
        room = free >= jobs.units[job] and cpu >= jobs.cpu_milli[job] and memory >= jobs.memory_mib[job]
        enough = bool(within and room and fits_scratch(state, rules, job, site))
        if enough or place == len(candidates):
            break
        victim = candidates[place]
        if not may_stop(state, rules, victim, job, site):
            continue
        candidates[taken] = victim
        taken += 1
        free, cpu, memory = free + jobs.units[victim], cpu + jobs.cpu_milli[victim], memory + jobs.memory_mib[victim]
        loss += work_at_risk(jobs, victim) * jobs.units[victim]
        move_scratch(state, rules, victim, -1)
        charge(queues, jobs.queue[victim], -jobs.units[victim] * weight)
    for place in range(taken):
        charge(queues, jobs.queue[candidates[place]], jobs.units[candidates[place]] * weight)
    return candidates[:taken], loss, enough


@compiled
def rank_active(state: State, rules: Rules, lane: int, now_s: float) -> None:
    """Settle the lane's running jobs, learn from them, and sort all its jobs by their value now."""
    jobs, lanes = state.jobs, state.lanes
    drop_taken(state, lane, 1)
    for cell in range(lanes.begin[lane], lanes.end[lane]):
        job = state.order[cell]
        if jobs.state[job] == RUNNING:
            settle(jobs, job, now_s)
            learn(state, rules, job)
    lanes.ranked[lane] += 1
    anew = lanes.ranked[lane] >= max(RANKED_BETWEEN, lanes.end[lane] - lanes.begin[lane])
    if anew:
        lanes.ranked[lane] = 0
    for cell in range(lanes.begin[lane], lanes.end[lane]):
        job = state.order[cell]
        if anew:
            jobs.stale[job] = 1
        late = rules.most_slowdown > 0 and jobs.key[job] > -np.inf and overdue(state, rules, job)
        if jobs.state[job] == RUNNING or jobs.stale[job] == 1 or late:
            jobs.key[job] = value(state, rules, job)
            jobs.stale[job] = 0
    reorder(state, lane)


@compiled
def serve(state: State, rules: Rules, job: int) -> int:
    """The site that should serve the job with what the jobs before it left, or -1. A running job stays where it is."""
    jobs, sites, now_s = state.jobs, state.sites, state.marks[NOW_S]
    units = jobs.units[job]
    if jobs.state[job] == RUNNING:
        return int(jobs.site[job]) if sites.spare[jobs.site[job]] >= units else -1
    if over_quota(state.queues, jobs.queue[job], units * state.marks[LEAST_WEIGHT]) >= 0:
        return -1
    best, lowest = -1, np.inf
    for site in range(len(sites)):
        if sites.spare[site] >= units and may_use(state, job, site):
            score = site_score(state, rules, job, site, now_s, sites.spare[site])
            if score < lowest and sites.spare[site] - units >= kept_most(state, rules, job, site, now_s):
                best, lowest = site, score
    return best


@compiled
def choose_served(state: State, rules: Rules, lane: int) -> int:
    """Mark, from the first in order, the jobs that fit together and where; returns the cell after the last one looked at."""
    jobs, sites, left = state.jobs, state.sites, int(state.marks[ASKS_NONE])
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
def fits_now(state: State, rules: Rules, job: int, site: int) -> bool:
    """Whether the job may start on the site as it is."""
    return bool(state.sites.free[site] >= state.jobs.units[job] and lacking(state, rules, job, site, state.marks[NOW_S]) == 0)


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
    jobs, sites, host = state.jobs, state.sites, state.sites.host[site]
    units, cpu, memory = sites.free[site], state.hosts.cpu_free[host], state.hosts.memory_free[host]
    first = sites.running_from[site]
    copy_nodes(state, rules)
    for cell in range(first, first + sites.running_count[site]):
        other = state.running[cell]
        if jobs.served[other] < 0:
            units, cpu, memory = units + jobs.units[other], cpu + jobs.cpu_milli[other], memory + jobs.memory_mib[other]
            move_scratch(state, rules, other, -1)
    room = units - kept_most(state, rules, job, site, state.marks[NOW_S]) >= jobs.units[job]
    return bool(room and cpu >= jobs.cpu_milli[job] and memory >= jobs.memory_mib[job] and fits_scratch(state, rules, job, site))


@compiled
def evict_for(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> bool:
    """Stop unserved jobs of the site that should serve this one, last in order first, until it fits; none if that cannot do."""
    jobs, site = state.jobs, state.jobs.served[job]
    if fits_now(state, rules, job, site):
        return True
    if not can_fit(state, rules, job, site):
        return False
    while not fits_now(state, rules, job, site):
        other = last_unserved(state, site)
        if other < 0:
            return False
        stop(state, rules, other, now_s, out)
        jobs.stale[other] = 1
        jobs.reason[other], jobs.because_of[other] = OUTRANKED, job
    return True


@compiled_allocating
def pass_preempting(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Serve the first jobs in order that fit together, stopping others only as far as their places need."""
    jobs, lanes, hold = state.jobs, state.lanes, no_promise()
    rank_active(state, rules, lane, now_s)
    looked = choose_served(state, rules, lane)
    for cell in range(lanes.begin[lane], looked):
        job = state.order[cell]
        if jobs.state[job] != WAITING or jobs.served[job] < 0:
            continue
        queue = over_quota(state.queues, jobs.queue[job], jobs.units[job] * state.marks[LEAST_WEIGHT])
        if queue >= 0:
            jobs.reason[job], jobs.because_of[job] = OVER_QUOTA, queue
        elif evict_for(state, rules, job, now_s, out):
            jobs.reason[job], jobs.because_of[job] = STARTED, -1
            start(state, rules, job, jobs.served[job], now_s, out)
    free = lane_free(state, lane)
    for cell in range(lanes.begin[lane], lanes.end[lane]):
        if free <= 0:
            break
        job = state.order[cell]
        if jobs.state[job] == WAITING and jobs.units[job] <= free and try_start(state, rules, job, now_s, hold, out):
            free -= jobs.units[job]
