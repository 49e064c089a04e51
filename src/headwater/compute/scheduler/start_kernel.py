"""Start one job if it may, and say why not if it may not (compiled)."""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.backfill_kernel import HEAD, MOST_FREE, delays_head, outlasts, use_up
from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.fairshare_kernel import over_quota
from headwater.compute.scheduler.nodes_kernel import fits_nodes, node_score
from headwater.compute.scheduler.placement_kernel import host_has, may_use, start
from headwater.compute.scheduler.score_kernel import site_score
from headwater.compute.scheduler.state import (
    ASKS_NONE,
    BACKFILLED,
    BEFORE_WINDOW,
    DELAYS_HEAD,
    LEAST_WEIGHT,
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
from headwater.compute.scheduler.window_kernel import runs_into_window, window_ahead


@compiled
def lacking(state: State, rules: Rules, job: int, site: int, now_s: float) -> int:
    """What else than units keeps the job from starting on the site now: the reason, or 0."""
    if not host_has(state, job, site):
        return NO_HOST_ROOM
    if runs_into_window(state, rules, job, site, now_s):
        return BEFORE_WINDOW
    if state.sites.unit_weight[site] > state.marks[LEAST_WEIGHT]:
        asked = state.jobs.units[job] * state.sites.unit_weight[site]
        if over_quota(state.queues, state.jobs.queue[job], asked) >= 0:
            return OVER_QUOTA
    return 0 if fits_nodes(state, rules, job, site) else NO_NODE


@compiled
def place(state: State, rules: Rules, job: int, now_s: float, hold: Floats) -> int:
    """The best site that can take the job now and keeps the promise; else minus the reason why none can."""
    jobs, sites = state.jobs, state.sites
    home, units = jobs.home[job], jobs.units[job]
    best, lowest, verdict = -1, np.inf, -NO_ROOM
    for site in range(0 if home < 0 else home, len(sites) if home < 0 else home + 1):
        if sites.free[site] < units or not may_use(state, job, site):
            continue
        lacks = lacking(state, rules, job, site, now_s)
        if lacks > 0:
            verdict = -lacks if verdict == -NO_ROOM else verdict
            continue
        score = site_score(state, rules, job, site, now_s, sites.free[site]) + node_score(state, rules, job, site)
        if score < lowest:
            if delays_head(state, rules, job, site, now_s, hold):
                verdict = -DELAYS_HEAD
            else:
                best, lowest = site, score
    return best if best >= 0 else verdict


@compiled
def enlarge(state: State, rules: Rules, job: int, site: int, now_s: float, hold: Floats) -> None:
    """Let a job about to start ask for as many of its range as are free, within quota, windows and the promise."""
    jobs, least, step = state.jobs, state.jobs.units[job], state.sites.device_units[site]
    units = min(jobs.most[job], state.sites.free[site])
    units -= units % step
    while units > least:
        jobs.units[job] = units
        within = over_quota(state.queues, jobs.queue[job], units * state.sites.unit_weight[site]) < 0
        if within and lacking(state, rules, job, site, now_s) == 0 and not delays_head(state, rules, job, site, now_s, hold):
            return
        units -= step
    jobs.units[job] = least


@compiled
def try_start(state: State, rules: Rules, job: int, now_s: float, hold: Floats, out: Decisions) -> bool:
    """Start the job if it fits, is within quota and keeps the promise; write down why or why not."""
    jobs = state.jobs
    queue = over_quota(state.queues, jobs.queue[job], jobs.units[job] * state.marks[LEAST_WEIGHT])
    if queue >= 0:
        jobs.reason[job], jobs.because_of[job] = OVER_QUOTA, queue
        return False
    site = place(state, rules, job, now_s, hold) if jobs.units[job] <= hold[MOST_FREE] else -NO_ROOM
    if site < 0:
        jobs.reason[job], jobs.because_of[job] = -site, because(state, job, -site, int(hold[HEAD]), now_s)
        return False
    hold[MOST_FREE] = np.inf
    if jobs.most[job] > jobs.units[job] and rules.start_most == 1:
        enlarge(state, rules, job, site, now_s, hold)
    held = outlasts(state, rules, job, site, now_s, hold)
    jobs.reason[job] = BACKFILLED if hold[HEAD] >= 0 else STARTED
    jobs.because_of[job] = int(hold[HEAD])
    start(state, rules, job, site, now_s, out)
    if held:
        use_up(state, rules, job, hold)
    return True


@compiled
def because(state: State, job: int, reason: int, head: int, now_s: float) -> int:
    """What the reason speaks of: the promised head, a window, or a queue over its quota."""
    if reason == OVER_QUOTA:
        return int(state.jobs.queue[job])
    if reason != BEFORE_WINDOW:
        return head
    for site in range(len(state.sites)):
        window = window_ahead(state, job, site, now_s)
        if window >= 0 and may_use(state, job, site):
            return window
    return -1


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
    """Units free on the lane's sites; one more where some job asks no units, so that it is looked at though none are free."""
    units = int(state.marks[ASKS_NONE])
    for site in range(len(state.sites)):
        if state.sites.lane[site] == lane and state.sites.up[site] == 1:
            units += state.sites.free[site]
    return units
