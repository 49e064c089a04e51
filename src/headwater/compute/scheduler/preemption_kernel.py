"""Stop running jobs for others: by priority for one blocked job, or by order for the whole lane (compiled).

By order is the frame of SRTF, least attained service (Tiresias, Gu et al. 2019) and the learned index: at every decision the
first jobs in order that fit together are served. A job is stopped only when its place is really needed.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.backfill_kernel import no_promise
from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.fairshare_kernel import over_quota
from headwater.compute.scheduler.order_kernel import before, drop_taken, enqueue, learn, overdue, reorder, value
from headwater.compute.scheduler.placement_kernel import CONSOLIDATED, fits_on_nodes, may_use, move_nodes, settle, start, stop, work_at_risk
from headwater.compute.scheduler.score_kernel import site_score
from headwater.compute.scheduler.start_kernel import lane_free, try_start
from headwater.compute.scheduler.state import NOW_S, OUTRANKED, OVER_QUOTA, RUNNING, STARTED, STOP, WAITING, Decisions, Ints, Rules, State

NEVER, BY_PRIORITY, BY_ORDER = range(3)
RANKED_BETWEEN = 50
"""What is learned of a whole kind drifts slowly: so often, or once per waiting job, a lane is ranked between looks at it."""


@compiled
def return_stopped(state: State, rules: Rules, lane: int, out: Decisions) -> None:
    """Put the jobs that a pass over this lane stopped back among the waiting."""
    for row in range(out.length[0]):
        job = out.rows.job[row]
        if out.rows.action[row] == STOP and state.jobs.state[job] == WAITING and state.jobs.lane[job] == lane:
            state.jobs.key[job] = value(state, rules, job)
            enqueue(state, job)


@compiled
def make_room(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> bool:
    """Stop lower-priority jobs so that this one fits, on the site where least work is lost; False if nowhere can."""
    jobs, sites = state.jobs, state.sites
    best, least = -1, np.inf
    for site in range(len(sites)):
        if may_use(state, job, site):
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
            settle(jobs, other, now_s)
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
    jobs, sites = state.jobs, state.sites
    units = jobs.units[job]
    if jobs.state[job] == RUNNING:
        return int(jobs.site[job]) if sites.spare[jobs.site[job]] >= units else -1
    if over_quota(state.queues, jobs.queue[job], units) >= 0:
        return -1
    best, lowest = -1, np.inf
    for site in range(len(sites)):
        if sites.spare[site] >= units and may_use(state, job, site):
            score = site_score(state, rules, job, site, state.marks[NOW_S], sites.spare[site])
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
        if jobs.state[job] != WAITING or jobs.served[job] < 0:
            continue
        queue = over_quota(state.queues, jobs.queue[job], jobs.units[job])
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
