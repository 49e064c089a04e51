"""Jobs that run on a range of units: how many they start with, and how they grow and shrink (compiled).

The policy says when. A change of size costs `resize_s`, and the work done in a second follows the units held. Sizes change in whole
devices, and only where a site is a bag of units: on nodes a job keeps the place it has.
"""

from __future__ import annotations

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.fairshare_kernel import over_quota
from headwater.compute.scheduler.order_kernel import FAIR
from headwater.compute.scheduler.placement_kernel import expect_end, list_running, may_use, note, settle, take_room, unlist_running
from headwater.compute.scheduler.score_kernel import rate_on
from headwater.compute.scheduler.state import MADE_LARGER, MADE_SMALLER, RESIZE, WAITING, Decisions, Rules, State
from headwater.compute.scheduler.window_kernel import kept_most


@compiled
def resize(state: State, rules: Rules, job: int, units: int, now_s: float, out: Decisions) -> None:
    """Give a running job another number of units on its site."""
    jobs, site = state.jobs, state.jobs.site[job]
    settle(jobs, job, now_s)
    unlist_running(state, job, site)
    take_room(state, job, site, -1)
    jobs.units[job] = units
    jobs.rate[job] = rate_on(state, rules, job, site)
    jobs.overhead_s[job] += rules.resize_s
    expect_end(jobs, job)
    take_room(state, job, site, 1)
    list_running(state, job, site)
    note(out, RESIZE, job, site)


@compiled
def to_spare(state: State, site: int) -> int:
    """Units that the site's elastic jobs hold beyond their fewest."""
    jobs, spare, first = state.jobs, 0, state.sites.running_from[site]
    for cell in range(first, first + state.sites.running_count[site]):
        spare += max(jobs.units[state.running[cell]] - jobs.least[state.running[cell]], 0)
    return int(spare)


@compiled
def shrink_for(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> bool:
    """Take elastic jobs down, the largest surplus first and no further than needed, so that the job fits; False if nowhere can.

    The site is the one that needs least taken.
    """
    jobs, sites, best, fewest = state.jobs, state.sites, -1, 1 << 60
    for site in range(len(sites)):
        lack = jobs.units[job] - sites.free[site]
        enough = may_use(state, job, site) and 0 < lack < fewest and lack <= to_spare(state, site)
        if enough and kept_most(state, rules, job, site, now_s) == 0:
            best, fewest = site, lack
    if best < 0:
        return False
    while sites.free[best] < jobs.units[job]:
        largest, surplus = -1, 0
        for cell in range(sites.running_from[best], sites.running_from[best] + sites.running_count[best]):
            other = state.running[cell]
            if jobs.units[other] - jobs.least[other] > surplus:
                largest, surplus = other, jobs.units[other] - jobs.least[other]
        step = sites.device_units[best]
        give = -(-min(surplus, jobs.units[job] - sites.free[best]) // step) * step
        resize(state, rules, largest, max(jobs.units[largest] - give, jobs.least[largest]), now_s, out)
        jobs.reason[largest], jobs.because_of[largest] = MADE_SMALLER, job
    return True


@compiled
def anyone_waits(state: State, rules: Rules, lane: int) -> bool:
    """Whether a job of the lane waits."""
    if rules.order == FAIR:
        return bool(state.queues.waiting[0] > 0)
    waiting = 0
    for cell in range(state.lanes.begin[lane], state.lanes.end[lane]):
        waiting += state.jobs.state[state.order[cell]] == WAITING
    return bool(waiting > 0)


@compiled
def grow(state: State, rules: Rules, lane: int, now_s: float, out: Decisions) -> None:
    """Let running elastic jobs take up free units, the smallest first, while nobody of the lane waits."""
    jobs, sites = state.jobs, state.sites
    if anyone_waits(state, rules, lane):
        return
    for site in range(len(sites)):
        while sites.lane[site] == lane and sites.up[site] == 1 and sites.free[site] > 0:
            smallest = -1
            for cell in range(sites.running_from[site], sites.running_from[site] + sites.running_count[site]):
                job = state.running[cell]
                if room_to_grow(state, rules, job, site, now_s) > 0 and (smallest < 0 or jobs.units[job] < jobs.units[smallest]):
                    smallest = job
            if smallest < 0:
                break
            resize(state, rules, smallest, jobs.units[smallest] + room_to_grow(state, rules, smallest, site, now_s), now_s, out)
            jobs.reason[smallest], jobs.because_of[smallest] = MADE_LARGER, -1


@compiled
def room_to_grow(state: State, rules: Rules, job: int, site: int, now_s: float) -> int:
    """Units that a running job may take more: its range, the site, the quota, and nothing that a window keeps."""
    jobs, step = state.jobs, state.sites.device_units[site]
    more = min(jobs.most[job] - jobs.units[job], state.sites.free[site] - kept_most(state, rules, job, site, now_s))
    more -= more % step
    while more > 0 and over_quota(state.queues, jobs.queue[job], more * state.sites.unit_weight[site]) >= 0:
        more -= step
    return int(max(more, 0))
