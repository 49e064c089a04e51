"""Start one job if it may, and say why not if it may not (compiled)."""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.backfill_kernel import EXTRA, HEAD, MOST_FREE, delays_head, outlasts
from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.fairshare_kernel import over_quota
from headwater.compute.scheduler.placement_kernel import CONSOLIDATED, fits_on_nodes, host_has, may_use, move_nodes, start
from headwater.compute.scheduler.score_kernel import site_score
from headwater.compute.scheduler.state import (
    BACKFILLED,
    DELAYS_HEAD,
    NO_HOST_ROOM,
    NO_NODE,
    NO_ROOM,
    OVER_QUOTA,
    STARTED,
    Decisions,
    Floats,
    Rules,
    State,
)


@compiled
def place(state: State, rules: Rules, job: int, now_s: float, hold: Floats) -> int:
    """The best site that can take the job now and keeps the promise; else minus the reason why none can."""
    jobs, sites = state.jobs, state.sites
    home, units = jobs.home[job], jobs.units[job]
    best, lowest, verdict = -1, np.inf, -NO_ROOM
    for site in range(0 if home < 0 else home, len(sites) if home < 0 else home + 1):
        if sites.free[site] < units or not may_use(state, job, site):
            continue
        if rules.placement == CONSOLIDATED and not fits_on_nodes(sites, site, units, state.node_free):
            verdict = min(verdict, -NO_NODE)
            continue
        if not host_has(state, job, site):
            verdict = min(verdict, -NO_HOST_ROOM)
            continue
        score = site_score(state, rules, job, site, now_s, sites.free[site])
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
    site = place(state, rules, job, now_s, hold) if jobs.units[job] <= hold[MOST_FREE] else -NO_ROOM
    if site < 0:
        jobs.reason[job], jobs.because_of[job] = -site, int(hold[HEAD])
        return False
    hold[MOST_FREE] = np.inf
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
def most_free(state: State, lane: int) -> int:
    """The most units free on one of the lane's sites."""
    most = 0
    for site in range(len(state.sites)):
        if state.sites.lane[site] == lane and state.sites.up[site] == 1:
            most = max(most, state.sites.free[site])
    return most


@compiled
def lane_free(state: State, lane: int) -> int:
    """Units free on the lane's sites."""
    units = 0
    for site in range(len(state.sites)):
        if state.sites.lane[site] == lane and state.sites.up[site] == 1:
            units += state.sites.free[site]
    return units
