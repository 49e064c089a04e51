"""Let later jobs go ahead without harm to those in front (compiled).

EASY (Lifka 1995): the first blocked job gets a promise, the earliest time at which its units will be free; a later job
may start if it ends by then or uses only units that the promise leaves over. Conservative (Mu'alem and Feitelson 2001):
every job looked at gets a promise. A job without an estimate is taken to run for ever.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled, compiled_allocating
from headwater.compute.scheduler.nodes_kernel import COUNT, copy_nodes, fits_scratch, hold_nodes, leave_nodes, move_scratch
from headwater.compute.scheduler.placement_kernel import may_use, overhead_s
from headwater.compute.scheduler.score_kernel import rate_on
from headwater.compute.scheduler.state import Floats, Ints, Rules, State
from headwater.compute.scheduler.window_kernel import kept_for_others, planned_end_s, room_over

STRICT, SKIP, EASY, CONSERVATIVE = range(4)
HELD_SITE, SHADOW_S, EXTRA, HEAD, MOST_FREE, EXTRA_CPU, EXTRA_MEMORY = range(7)
OVERRUN_S = 1e-6
"""After now: when a job that has outlived its estimate is expected to end."""


@compiled_allocating
def no_promise() -> Floats:
    """A promise to nobody: site, time, units left over then, job; the most units one site may have free; CPU and memory left over."""
    return np.array([-1.0, np.inf, 0.0, -1.0, np.inf, 0.0, 0.0])


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
    jobs, sites = state.jobs, state.sites
    units, need = sites.free[site], jobs.units[job]
    copy_nodes(state, rules)
    first, count = sites.running_from[site], sites.running_count[site]
    shadow, fits, cell = np.inf, False, 0
    while cell < count:
        other = state.running[first + cell]
        moment = max(jobs.expected_end_s[other], now_s)
        if moment > (shadow if fits else latest_s):
            break
        units += jobs.units[other]
        move_scratch(state, rules, other, -1)
        cell += 1
        if not fits and units >= need and fits_scratch(state, rules, job, site):
            fits, shadow = True, moment
    return shadow, units - need


@compiled
def host_left(state: State, job: int, site: int, moment_s: float, now_s: float) -> tuple[int, int]:
    """CPU and memory that the job would leave on the site's host at a moment, were nothing more started; negative where it lacks."""
    jobs, sites, host = state.jobs, state.sites, state.sites.host[site]
    cpu = state.hosts.cpu_free[host] - jobs.cpu_milli[job]
    memory = state.hosts.memory_free[host] - jobs.memory_mib[job]
    for row in range(len(sites)):
        if sites.host[row] == host:
            for cell in range(sites.running_from[row], sites.running_from[row] + sites.running_count[row]):
                other = state.running[cell]
                if max(jobs.expected_end_s[other], now_s + OVERRUN_S) <= moment_s:
                    cpu += jobs.cpu_milli[other]
                    memory += jobs.memory_mib[other]
    return int(cpu), int(memory)


@compiled
def next_change_after(state: State, site: int, moment_s: float, now_s: float) -> float:
    """The next moment at which a job on the site's host is expected to end, or a window of the site ends."""
    jobs, sites, change = state.jobs, state.sites, np.inf
    for row in range(len(sites)):
        if sites.host[row] == sites.host[site]:
            for cell in range(sites.running_from[row], sites.running_from[row] + sites.running_count[row]):
                ends = max(jobs.expected_end_s[state.running[cell]], now_s + OVERRUN_S)
                change = ends if moment_s < ends < change else change
    for window in range(sites.first_window[site], sites.first_window[site] + sites.window_count[site]):
        ends = state.windows.to_s[window]
        change = ends if moment_s < ends < change else change
    return float(change)


@compiled
def shadow_among_limits(state: State, rules: Rules, job: int, site: int, now_s: float, latest_s: float) -> tuple[float, int]:
    """The same as `shadow_at` where windows, or a host's CPU and memory, are to be kept too: slower."""
    jobs, sites = state.jobs, state.sites
    moment = next_change_after(state, site, now_s, now_s)
    while moment <= latest_s and moment < np.inf:
        ends = planned_end_s(state, rules, job, site, moment)
        room = room_over(state, job, site, moment, ends, now_s)
        cpu, memory = host_left(state, job, site, moment, now_s)
        copy_nodes(state, rules)
        for cell in range(sites.running_from[site], sites.running_from[site] + sites.running_count[site]):
            if max(jobs.expected_end_s[state.running[cell]], now_s + OVERRUN_S) <= moment:
                move_scratch(state, rules, state.running[cell], -1)
        if room >= jobs.units[job] and cpu >= 0 and memory >= 0 and fits_scratch(state, rules, job, site):
            return moment, room - jobs.units[job]
        moment = next_change_after(state, site, moment, now_s)
    return np.inf, 0


@compiled
def is_limited(state: State, job: int, site: int) -> bool:
    """Whether more than units and nodes bounds the job on this site."""
    return bool(state.sites.window_count[site] > 0 or state.jobs.cpu_milli[job] > 0 or state.jobs.memory_mib[job] > 0)


@compiled
def earliest_at(state: State, rules: Rules, job: int, site: int, now_s: float, latest_s: float) -> tuple[float, int]:
    if is_limited(state, job, site):
        return shadow_among_limits(state, rules, job, site, now_s, latest_s)
    return shadow_at(state, rules, job, site, now_s, latest_s)


@compiled
def promise(state: State, rules: Rules, job: int, now_s: float, hold: Floats) -> None:
    """Promise the job the earliest time it can start on any site; the nodes at that time go to the scratch copy."""
    for site in range(len(state.sites)):
        if may_use(state, job, site):
            shadow, extra = earliest_at(state, rules, job, site, now_s, hold[SHADOW_S])
            if hold[HELD_SITE] < 0 or shadow < hold[SHADOW_S]:
                hold[HELD_SITE], hold[SHADOW_S], hold[EXTRA], hold[HEAD] = site, shadow, extra, job
    if hold[HELD_SITE] >= 0:
        held = int(hold[HELD_SITE])
        hold[EXTRA_CPU], hold[EXTRA_MEMORY] = host_left(state, job, held, hold[SHADOW_S], now_s)
        if rules.placement != COUNT:
            earliest_at(state, rules, job, held, now_s, np.inf)


@compiled
def outlasts(state: State, rules: Rules, job: int, site: int, now_s: float, hold: Floats) -> bool:
    """Whether the job would still hold something of the promised host at the promised time."""
    if hold[HELD_SITE] < 0 or state.sites.host[int(hold[HELD_SITE])] != state.sites.host[site]:
        return False
    return bool(not (hold[SHADOW_S] < np.inf and end_s(state, rules, job, site, now_s) <= hold[SHADOW_S]))


@compiled
def delays_head(state: State, rules: Rules, job: int, site: int, now_s: float, hold: Floats) -> bool:
    """Whether starting the job here would break the promise."""
    if not outlasts(state, rules, job, site, now_s, hold):
        return False
    if state.jobs.cpu_milli[job] > hold[EXTRA_CPU] or state.jobs.memory_mib[job] > hold[EXTRA_MEMORY]:
        return True
    if hold[HELD_SITE] != site:
        return False
    if state.jobs.units[job] > hold[EXTRA]:
        return True
    if rules.placement == COUNT or hold[SHADOW_S] == np.inf:
        return False
    before = state.jobs.site[job]
    state.jobs.site[job] = site
    hold_nodes(state, rules, job, site)
    move_scratch(state, rules, job, 1)
    broken = not fits_scratch(state, rules, int(hold[HEAD]), site)
    move_scratch(state, rules, job, -1)
    leave_nodes(state, rules, job)
    state.jobs.site[job] = before
    return broken


@compiled
def use_up(state: State, rules: Rules, job: int, hold: Floats) -> None:
    """Take what a started job, which outlasts the promise, uses of what the promise leaves over."""
    jobs = state.jobs
    hold[EXTRA_CPU] -= jobs.cpu_milli[job]
    hold[EXTRA_MEMORY] -= jobs.memory_mib[job]
    if hold[HELD_SITE] == jobs.site[job]:
        hold[EXTRA] -= jobs.units[job]
        if rules.placement != COUNT:
            move_scratch(state, rules, job, 1)


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
    for window in range(sites.first_window[site], sites.first_window[site] + sites.window_count[site]):
        for edge in (state.windows.from_s[window], state.windows.to_s[window]):
            if edge > now_s:
                steps = split_at(times, free, steps, edge)
    return steps


@compiled_allocating
def less_kept(state: State, job: int, site: int, times: Floats, free: Ints, steps: int, now_s: float) -> Ints:
    """The plan's free units less what windows keep from the job's queue at each step."""
    left = free[:steps].copy()
    if state.sites.window_count[site] > 0:
        for step in range(steps):
            left[step] -= kept_for_others(state, job, site, times[step], now_s)
    return left


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
