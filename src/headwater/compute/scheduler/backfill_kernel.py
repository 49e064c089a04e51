"""Let later jobs go ahead without harm to those in front (compiled).

EASY (Lifka 1995): the first blocked job gets a promise, the earliest time at which its units will be free; a later job
may start if it ends by then or uses only units that the promise leaves over. Conservative (Mu'alem and Feitelson 2001):
every job looked at gets a promise. A job without an estimate is taken to run for ever.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.placement_kernel import (
    CONSOLIDATED,
    fits_on_nodes,
    hold_nodes,
    leave_nodes,
    may_use,
    move_nodes,
    overhead_s,
)
from headwater.compute.scheduler.score_kernel import rate_on
from headwater.compute.scheduler.state import Floats, Ints, Rules, State

STRICT, SKIP, EASY, CONSERVATIVE = range(4)
HELD_SITE, SHADOW_S, EXTRA, HEAD, MOST_FREE = range(5)


@compiled
def no_promise() -> Floats:
    """A promise to nobody: site, time, units left over at that time, job; and the most units that one site may have free."""
    return np.array([-1.0, np.inf, 0.0, -1.0, np.inf])


@compiled
def end_s(state: State, rules: Rules, job: int, site: int, now_s: float) -> float:
    """When the job would be expected to end, started now on this site."""
    jobs = state.jobs
    estimate = jobs.estimate_s[job]
    if np.isnan(estimate):
        return np.inf
    return float(now_s + overhead_s(state, rules, job, site) + max(estimate - jobs.attained_s[job], 0.0) / rate_on(state, rules, job, site))


@compiled
def shadow_at(state: State, rules: Rules, job: int, site: int, now_s: float, latest_s: float) -> tuple[float, int]:
    """The earliest time, no later than `latest_s`, at which the job fits on the site, and the units then left.

    Infinity where there is none. The node scratch ends as the nodes are then.
    """
    jobs, sites, free = state.jobs, state.sites, state.node_scratch
    units, need = sites.free[site], jobs.units[job]
    by_node = rules.placement == CONSOLIDATED
    if by_node:
        free[:] = state.node_free
    first, count = sites.running_from[site], sites.running_count[site]
    shadow, fits, cell = np.inf, False, 0
    while cell < count:
        other = state.running[first + cell]
        moment = max(jobs.expected_end_s[other], now_s)
        if moment > (shadow if fits else latest_s):
            break
        units += jobs.units[other]
        if by_node:
            move_nodes(state, other, free, 1)
        cell += 1
        if not fits and units >= need and (not by_node or fits_on_nodes(sites, site, need, free)):
            fits, shadow = True, moment
    return shadow, units - need


@compiled
def promise(state: State, rules: Rules, job: int, now_s: float, hold: Floats) -> None:
    """Promise the job the earliest time it can start on any site; the nodes at that time go to the lane's scratch."""
    sites = state.sites
    for site in range(len(sites)):
        if may_use(state, job, site):
            shadow, extra = shadow_at(state, rules, job, site, now_s, hold[SHADOW_S])
            if hold[HELD_SITE] < 0 or shadow < hold[SHADOW_S]:
                hold[HELD_SITE], hold[SHADOW_S], hold[EXTRA], hold[HEAD] = site, shadow, extra, job
    if hold[HELD_SITE] >= 0 and rules.placement == CONSOLIDATED:
        shadow_at(state, rules, job, int(hold[HELD_SITE]), now_s, np.inf)


@compiled
def outlasts(state: State, rules: Rules, job: int, site: int, now_s: float, hold: Floats) -> bool:
    """Whether the job would still hold units on the promised site at the promised time."""
    if hold[HELD_SITE] != site:
        return False
    return bool(not (hold[SHADOW_S] < np.inf and end_s(state, rules, job, site, now_s) <= hold[SHADOW_S]))


@compiled
def delays_head(state: State, rules: Rules, job: int, site: int, now_s: float, hold: Floats) -> bool:
    """Whether starting the job here would break the promise."""
    if not outlasts(state, rules, job, site, now_s, hold):
        return False
    if state.jobs.units[job] > hold[EXTRA]:
        return True
    if rules.placement != CONSOLIDATED or hold[SHADOW_S] == np.inf:
        return False
    jobs, sites, free = state.jobs, state.sites, state.node_scratch
    hold_nodes(state, job, site)
    move_nodes(state, job, free, -1)
    broken = not fits_on_nodes(sites, site, jobs.units[int(hold[HEAD])], free)
    move_nodes(state, job, free, 1)
    leave_nodes(state, job)
    return broken


@compiled
def open_plan(state: State, site: int, now_s: float, times: Floats, free: Ints) -> int:
    """Fill the steps of a site's free units from now on, running jobs only; returns how many steps."""
    jobs, sites = state.jobs, state.sites
    times[0], free[0], steps = now_s, sites.free[site], 1
    first = sites.running_from[site]
    for cell in range(first, first + sites.running_count[site]):
        job = state.running[cell]
        moment = max(jobs.expected_end_s[job], now_s + 1e-6)
        if moment > times[steps - 1]:
            times[steps], free[steps] = moment, free[steps - 1]
            steps += 1
        free[steps - 1] += jobs.units[job]
    return steps


@compiled
def earliest_slot(times: Floats, free: Ints, steps: int, units: int, length_s: float) -> int:
    """The first step from which `units` stay free for `length_s`, or -1."""
    for begin in range(steps):
        step = begin
        while step < steps and free[step] >= units and (step == begin or times[step] < times[begin] + length_s):
            step += 1
        if step == steps or (step > begin and times[step] >= times[begin] + length_s):
            return begin
    return -1


@compiled
def split_at(times: Floats, free: Ints, steps: int, moment: float) -> int:
    """Insert a step at `moment` where there is none; returns how many steps there are."""
    cell = steps
    while cell > 0 and times[cell - 1] > moment:
        cell -= 1
    if times[cell - 1] == moment:
        return steps
    for step in range(steps, cell, -1):
        times[step], free[step] = times[step - 1], free[step - 1]
    times[cell], free[cell] = moment, free[cell - 1]
    return steps + 1


@compiled
def reserve(times: Floats, free: Ints, steps: int, begin: int, units: int, length_s: float) -> int:
    """Take `units` out of the plan from step `begin` for `length_s`; returns how many steps there are."""
    stop_s = times[begin] + length_s
    if stop_s < np.inf:
        steps = split_at(times, free, steps, stop_s)
    for step in range(begin, steps):
        if times[step] < stop_s:
            free[step] -= units
    return steps
