"""The twin's clock: what happens next, and what the scheduler's own decision makes of it (compiled).

Jobs end before others arrive, and both before one decision for each lane they touch. The true run times live here and
are never shown to the decision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headwater.compute.scheduler.compiled import compiled, compiled_entry
from headwater.compute.scheduler.decide_kernel import admit, bring_back, complete, decide_lane, look_again
from headwater.compute.scheduler.order_kernel import next_change_s
from headwater.compute.scheduler.placement_kernel import could_run
from headwater.compute.scheduler.state import NOT_ASKED, RUNNING, START, STOP, Decisions, Floats, Ints, Rules, State, Table
from headwater.compute.scheduler.window_kernel import next_edge_s

DONE, MORE, FULL = range(3)

TRUTH = np.dtype([("duration_s", np.float64), ("end_s", np.float64), ("version", np.int64), ("segment", np.int64)])
MOMENT = np.dtype([("at_s", np.float64), ("job", np.int64), ("version", np.int64)])
CHANGE = np.dtype([("at_s", np.float64), ("site", np.int64), ("up", np.int64)])
SEGMENT = np.dtype([("from_s", np.float64), ("to_s", np.float64), ("job", np.int64), ("site", np.int64), ("units", np.int64)])


class World(NamedTuple):
    """What is true, what is due, and what has happened."""

    truth: Table
    due: Table
    """A heap of moments at which a job ends or its rank changes."""
    outages: Table
    log: Table
    """Runs from a start to the stop or end after it."""
    dirty: Ints
    counts: Ints
    clock_s: Floats


DUE, ARRIVED, OUTAGES, LOGGED, ENDED, REFUSED, DECIDED, MOST_WAITING = range(8)


@compiled
def push(world: World, time_s: float, job: int) -> None:
    """Put a moment on the heap."""
    cell = world.counts[DUE]
    world.counts[DUE] += 1
    while cell > 0 and world.due.at_s[(cell - 1) // 2] > time_s:
        above = (cell - 1) // 2
        world.due.at_s[cell], world.due.job[cell], world.due.version[cell] = (
            world.due.at_s[above],
            world.due.job[above],
            world.due.version[above],
        )
        cell = above
    world.due.at_s[cell], world.due.job[cell], world.due.version[cell] = time_s, job, world.truth.version[job]


@compiled
def pop(world: World) -> None:
    """Take the first moment off the heap."""
    world.counts[DUE] -= 1
    count = world.counts[DUE]
    time_s, job, version = world.due.at_s[count], world.due.job[count], world.due.version[count]
    cell = 0
    while 2 * cell + 1 < count:
        below = 2 * cell + 1
        if below + 1 < count and world.due.at_s[below + 1] < world.due.at_s[below]:
            below += 1
        if world.due.at_s[below] >= time_s:
            break
        world.due.at_s[cell], world.due.job[cell], world.due.version[cell] = (
            world.due.at_s[below],
            world.due.job[below],
            world.due.version[below],
        )
        cell = below
    world.due.at_s[cell], world.due.job[cell], world.due.version[cell] = time_s, job, version


@compiled
def drop_outdated(world: World) -> None:
    while world.counts[DUE] > 0 and world.due.version[0] != world.truth.version[world.due.job[0]]:
        pop(world)


@compiled
def next_moment(state: State, world: World) -> float:
    """When anything next happens, infinity when nothing will."""
    drop_outdated(world)
    moment = world.due.at_s[0] if world.counts[DUE] > 0 else np.inf
    if world.counts[ARRIVED] < len(state.jobs):
        moment = min(moment, state.jobs.submit_s[world.counts[ARRIVED]])
    if world.counts[ENDED] + world.counts[REFUSED] < len(state.jobs):
        moment = min(moment, next_edge_s(state, world.clock_s[0]))
    if world.counts[OUTAGES] < len(world.outages):
        moment = min(moment, world.outages.at_s[world.counts[OUTAGES]])
    return float(moment)


@compiled
def end_jobs(state: State, rules: Rules, world: World, now_s: float) -> None:
    jobs = state.jobs
    while world.counts[DUE] > 0 and world.due.at_s[0] <= now_s:
        job, current = world.due.job[0], world.due.version[0] == world.truth.version[world.due.job[0]]
        pop(world)
        if not current:
            continue
        world.dirty[jobs.lane[job]] = 1
        if world.truth.end_s[job] <= now_s:
            complete(state, rules, job, now_s)
            close_segment(world, job, now_s)
            world.counts[ENDED] += 1
        else:
            change = look_again(state, rules, job, now_s)
            if change < world.truth.end_s[job]:
                push(world, change, job)


@compiled
def close_segment(world: World, job: int, now_s: float) -> None:
    world.log.to_s[world.truth.segment[job]] = now_s
    world.truth.version[job] += 1


@compiled
def open_segment(world: World, job: int, site: int, units: int, now_s: float) -> None:
    cell = world.counts[LOGGED]
    world.counts[LOGGED] += 1
    world.log.from_s[cell], world.log.job[cell], world.log.site[cell], world.log.units[cell] = now_s, job, site, units
    world.truth.segment[job] = cell


@compiled
def apply_outages(state: State, rules: Rules, world: World, now_s: float, out: Decisions) -> None:
    """Take sites away or bring them back; their jobs wait again."""
    sites = state.sites
    while world.counts[OUTAGES] < len(world.outages) and world.outages.at_s[world.counts[OUTAGES]] <= now_s:
        site, up = world.outages.site[world.counts[OUTAGES]], world.outages.up[world.counts[OUTAGES]]
        world.counts[OUTAGES] += 1
        sites.up[site] = up
        world.dirty[sites.lane[site]] = 1
        while up == 0 and sites.running_count[site] > 0:
            out.length[0] = 0
            job = state.running[sites.running_from[site]]
            bring_back(state, rules, job, now_s, out)
            close_segment(world, job, now_s)


@compiled
def mark_edges(state: State, world: World, now_s: float) -> None:
    """Have the lanes decided whose sites' windows open or end now."""
    sites, windows = state.sites, state.windows
    for site in range(len(sites)):
        for window in range(sites.first_window[site], sites.first_window[site] + sites.window_count[site]):
            if windows.from_s[window] == now_s or windows.to_s[window] == now_s:
                world.dirty[sites.lane[site]] = 1


@compiled
def take_arrivals(state: State, rules: Rules, world: World, now_s: float) -> None:
    jobs = state.jobs
    while world.counts[ARRIVED] < len(jobs) and jobs.submit_s[world.counts[ARRIVED]] <= now_s:
        job = world.counts[ARRIVED]
        world.counts[ARRIVED] += 1
        jobs.reason[job] = could_run(state, rules, job)
        if jobs.reason[job] == NOT_ASKED:
            admit(state, rules, job)
            world.dirty[jobs.lane[job]] = 1
        else:
            world.counts[REFUSED] += 1


@compiled
def carry_out(state: State, rules: Rules, world: World, now_s: float, out: Decisions) -> None:
    """Do what a decision said: open and close run segments, and note when jobs will end."""
    jobs = state.jobs
    for row in range(out.length[0]):
        job = out.rows.job[row]
        if out.rows.action[row] != START:
            close_segment(world, job, now_s)
        if out.rows.action[row] == STOP:
            continue
        open_segment(world, job, out.rows.site[row], jobs.units[job], now_s)
        if jobs.state[job] == RUNNING:
            left = max(world.truth.duration_s[job] - jobs.attained_s[job], 0.0)
            world.truth.end_s[job] = now_s + jobs.overhead_s[job] + left / jobs.rate[job]
            push(world, world.truth.end_s[job], job)
            change = next_change_s(state, rules, job, now_s)
            if change < world.truth.end_s[job]:
                push(world, change, job)


@compiled
def room_left(world: World, out: Decisions) -> bool:
    """Whether one more moment's decisions are sure to fit the heap and the log."""
    most = len(out.rows)
    return bool(world.counts[DUE] + 3 * most < len(world.due) and world.counts[LOGGED] + most < len(world.log))


@compiled_entry
def advance(state: State, rules: Rules, world: World, moments: int, out: Decisions) -> int:
    """Live through up to `moments` moments; returns whether all is done, there is more, or a table is full."""
    for _ in range(moments):
        if not room_left(world, out):
            return FULL
        now_s = next_moment(state, world)
        if now_s == np.inf:
            return DONE
        world.clock_s[0] = now_s
        end_jobs(state, rules, world, now_s)
        apply_outages(state, rules, world, now_s, out)
        mark_edges(state, world, now_s)
        take_arrivals(state, rules, world, now_s)
        for lane in range(len(world.dirty)):
            if world.dirty[lane] == 1:
                world.dirty[lane] = 0
                out.length[0] = 0
                decide_lane(state, rules, lane, now_s, out)
                world.counts[DECIDED] += out.length[0]
                carry_out(state, rules, world, now_s, out)
    return MORE
