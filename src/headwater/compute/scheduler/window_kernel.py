"""Reservations and maintenance: units that a site keeps for one queue, or for nobody, in a span of time (compiled).

A job of another queue starts only where, by its expected run time, it never holds what a window keeps; where a job outlives its
estimate it is stopped when the window opens. So a window holds whatever the estimates were worth. A queue's own jobs use up what is
kept for it first. A job without an estimate is taken to run `assume_s`.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.placement_kernel import overhead_s
from headwater.compute.scheduler.score_kernel import rate_on
from headwater.compute.scheduler.state import Rules, State, Table


@compiled
def belongs(queues: Table, queue: int, owner: int) -> bool:
    """Whether a queue is the owner or below it; nobody is -1."""
    while queue >= 0 and owner >= 0:
        if queue == owner:
            return True
        queue = queues.parent[queue]
    return False


@compiled
def held_at(state: State, owner: int, site: int, moment_s: float, now_s: float) -> int:
    """Units of the site that the owner's jobs are expected to hold at a moment."""
    jobs, held = state.jobs, 0
    first = state.sites.running_from[site]
    for cell in range(first, first + state.sites.running_count[site]):
        job = state.running[cell]
        if (moment_s <= now_s or jobs.expected_end_s[job] > moment_s) and belongs(state.queues, jobs.queue[job], owner):
            held += jobs.units[job]
    return held


@compiled
def is_open(windows: Table, window: int, moment_s: float) -> bool:
    return bool(windows.from_s[window] <= moment_s < windows.to_s[window])


@compiled
def kept_for_others(state: State, job: int, site: int, moment_s: float, now_s: float) -> int:
    """Units that windows open at a moment keep from the job's queue, beyond what their owners then hold."""
    windows, first = state.windows, state.sites.first_window[site]
    kept = 0
    for window in range(first, first + state.sites.window_count[site]):
        owner = windows.queue[window]
        if not is_open(windows, window, moment_s) or belongs(state.queues, state.jobs.queue[job], owner):
            continue
        reserved, told = 0, False
        for other in range(first, first + state.sites.window_count[site]):
            if windows.queue[other] == owner and is_open(windows, other, moment_s):
                told = told or other < window
                reserved += windows.units[other]
        if not told:
            kept += max(reserved - held_at(state, owner, site, moment_s, now_s), 0)
    return kept


@compiled
def free_at(state: State, site: int, moment_s: float, now_s: float) -> int:
    """Units of the site expected to be free at a moment, were nothing more started."""
    jobs, free = state.jobs, state.sites.free[site]
    first = state.sites.running_from[site]
    for cell in range(first, first + state.sites.running_count[site]):
        if moment_s > now_s and jobs.expected_end_s[state.running[cell]] <= moment_s:
            free += jobs.units[state.running[cell]]
    return int(free)


@compiled
def room_over(state: State, job: int, site: int, from_s: float, to_s: float, now_s: float) -> int:
    """Units that the job may hold on the site through a span: what is free at its start and at each opening in it, less what is kept."""
    windows, first = state.windows, state.sites.first_window[site]
    room = free_at(state, site, from_s, now_s) - kept_for_others(state, job, site, from_s, now_s)
    for window in range(first, first + state.sites.window_count[site]):
        opens_s = windows.from_s[window]
        if from_s < opens_s < to_s:
            room = min(room, free_at(state, site, opens_s, now_s) - kept_for_others(state, job, site, opens_s, now_s))
    return int(room)


@compiled
def planned_end_s(state: State, rules: Rules, job: int, site: int, start_s: float) -> float:
    """When the job is taken to end, started there then. An estimate that was outlived is doubled until it is not."""
    jobs = state.jobs
    estimate = rules.assume_s if np.isnan(jobs.estimate_s[job]) else jobs.estimate_s[job]
    while estimate < jobs.attained_s[job] and estimate > 0:
        estimate = max(2.0 * estimate, 1.0)
    left = max(estimate - jobs.attained_s[job], 0.0)
    return float(start_s + overhead_s(state, rules, job, site) + left / rate_on(state, rules, job, site))


@compiled
def runs_into_window(state: State, rules: Rules, job: int, site: int, now_s: float) -> bool:
    """Whether the job, started now, would hold what a window keeps for others."""
    if state.sites.window_count[site] == 0:
        return False
    end_s = planned_end_s(state, rules, job, site, now_s)
    return bool(room_over(state, job, site, now_s, end_s, now_s) < state.jobs.units[job])


@compiled
def kept_most(state: State, rules: Rules, job: int, site: int, now_s: float) -> int:
    """The most units that windows keep from the job's queue at one moment of its run, started now."""
    windows, first = state.windows, state.sites.first_window[site]
    if state.sites.window_count[site] == 0:
        return 0
    end_s, most = planned_end_s(state, rules, job, site, now_s), kept_for_others(state, job, site, now_s, now_s)
    for window in range(first, first + state.sites.window_count[site]):
        if now_s < windows.from_s[window] < end_s:
            most = max(most, kept_for_others(state, job, site, windows.from_s[window], now_s))
    return int(most)


@compiled
def window_ahead(state: State, job: int, site: int, now_s: float) -> int:
    """The first window of the site, open or to come, that is not the job's own; -1 for none."""
    windows, first = state.windows, state.sites.first_window[site]
    for window in range(first, first + state.sites.window_count[site]):
        if windows.to_s[window] > now_s and not belongs(state.queues, state.jobs.queue[job], windows.queue[window]):
            return int(window)
    return -1


@compiled
def next_edge_s(state: State, now_s: float) -> float:
    """When a window next opens or ends after now; infinity for never."""
    edge, windows = np.inf, state.windows
    for window in range(len(windows)):
        if windows.from_s[window] > now_s:
            edge = min(edge, windows.from_s[window])
        elif windows.to_s[window] > now_s:
            edge = min(edge, windows.to_s[window])
    return float(edge)
