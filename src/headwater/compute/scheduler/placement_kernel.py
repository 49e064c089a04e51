"""Put a job on a site's units or nodes, and take it off again (compiled).

Two rules. Count: a site is a bag of units. Consolidated: a job that fits on one node goes on one, the fullest
that can take it; a larger one takes whole empty nodes and its remainder on the fullest other node that can.
A gang is whole or not at all, and never spans sites.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.state import FINISHED, RUNNING, SLICE_SPARE, START, STOP, WAITING, Decisions, Ints, Rules, State, Table

COUNT, CONSOLIDATED = 0, 1


@compiled
def fits_on_nodes(sites: Table, site: int, units: int, free: Ints) -> bool:
    """Whether `units` could be placed consolidated, were the nodes as free as `free` says."""
    size = sites.node_size[site]
    whole, rest = (0, units) if units <= size else (units // size, units % size)
    empty = 0
    partial = rest == 0
    for node in range(sites.first_node[site], sites.first_node[site] + sites.node_count[site]):
        if free[node] == size:
            empty += 1
        elif free[node] >= rest:
            partial = True
    return bool(empty >= whole and (partial or empty > whole))


@compiled
def best_node(state: State, site: int, units: int) -> int:
    """The fullest node with room for `units`, or -1; the first among equals."""
    sites = state.sites
    best, best_free = -1, np.int64(1) << 60
    for node in range(sites.first_node[site], sites.first_node[site] + sites.node_count[site]):
        free = state.node_free[node]
        if units <= free < best_free:
            best, best_free = node, free
    return best


@compiled
def hold_node(state: State, job: int, node: int, units: int) -> None:
    slices, jobs = state.slices, state.jobs
    cell = int(state.marks[SLICE_SPARE])
    state.marks[SLICE_SPARE] = slices.next[cell]
    slices.node[cell] = node
    slices.units[cell] = units
    slices.next[cell] = jobs.slice_head[job]
    jobs.slice_head[job] = cell
    state.node_free[node] -= units


@compiled
def hold_nodes(state: State, job: int, site: int) -> None:
    """Take the nodes for a job; `fits_on_nodes` said yes."""
    sites = state.sites
    size, units = sites.node_size[site], state.jobs.units[job]
    left = units
    if units > size:
        for node in range(sites.first_node[site], sites.first_node[site] + sites.node_count[site]):
            if left < size:
                break
            if state.node_free[node] == size:
                hold_node(state, job, node, size)
                left -= size
    if left > 0:
        hold_node(state, job, best_node(state, site, left), left)


@compiled
def leave_nodes(state: State, job: int) -> None:
    slices, jobs = state.slices, state.jobs
    cell = jobs.slice_head[job]
    while cell >= 0:
        following = slices.next[cell]
        state.node_free[slices.node[cell]] += slices.units[cell]
        slices.next[cell] = int(state.marks[SLICE_SPARE])
        state.marks[SLICE_SPARE] = cell
        cell = following
    jobs.slice_head[job] = -1


@compiled
def move_nodes(state: State, job: int, free: Ints, sign: int) -> None:
    """Add (sign 1) or take away (sign -1) a job's slices in a copy of the nodes' free units."""
    cell = state.jobs.slice_head[job]
    while cell >= 0:
        free[state.slices.node[cell]] += sign * state.slices.units[cell]
        cell = state.slices.next[cell]


@compiled
def may_use(jobs: Table, sites: Table, job: int, site: int) -> bool:
    """Whether the job could ever run on this site."""
    home = jobs.home[job]
    return bool(
        sites.up[site] == 1 and sites.lane[site] == jobs.lane[job] and home in (-1, site) and jobs.units[job] <= sites.capacity[site]
    )


@compiled
def list_running(state: State, job: int, site: int) -> None:
    """Insert the job among the site's running jobs, by expected end."""
    jobs, sites = state.jobs, state.sites
    first = sites.running_from[site]
    cell = first + sites.running_count[site]
    while cell > first and jobs.expected_end_s[state.running[cell - 1]] > jobs.expected_end_s[job]:
        state.running[cell] = state.running[cell - 1]
        cell -= 1
    state.running[cell] = job
    sites.running_count[site] += 1


@compiled
def unlist_running(state: State, job: int, site: int) -> None:
    sites = state.sites
    first = sites.running_from[site]
    last = first + sites.running_count[site] - 1
    cell = first
    while state.running[cell] != job:
        cell += 1
    while cell < last:
        state.running[cell] = state.running[cell + 1]
        cell += 1
    sites.running_count[site] -= 1


@compiled
def charge(queues: Table, queue: int, units: int) -> None:
    """Count units held by a queue and by all above it; negative to give back."""
    while queue >= 0:
        queues.held[queue] += units
        queue = queues.parent[queue]


@compiled
def settle(jobs: Table, sites: Table, job: int, now_s: float) -> None:
    """Book the time since the last settlement: first against overhead, then as work."""
    passed = now_s - jobs.settled_s[job]
    paid = min(passed, jobs.overhead_s[job])
    jobs.overhead_s[job] -= paid
    jobs.attained_s[job] += (passed - paid) * sites.speed[jobs.site[job]]
    jobs.settled_s[job] = now_s


@compiled
def start(state: State, rules: Rules, job: int, site: int, now_s: float, out: Decisions) -> None:
    """Start a job on a site where it fits."""
    jobs, sites = state.jobs, state.sites
    jobs.state[job], jobs.site[job] = RUNNING, site
    jobs.started_s[job] = jobs.settled_s[job] = now_s
    if jobs.starts[job] == 0:
        jobs.first_start_s[job] = now_s
    jobs.overhead_s[job] = rules.restart_s if jobs.starts[job] > 0 else 0.0
    if jobs.input_site[job] >= 0:
        jobs.overhead_s[job] += jobs.input_gib[job] / state.link_gib_per_s[jobs.input_site[job], site]
    jobs.starts[job] += 1
    estimate = jobs.estimate_s[job]
    left = np.inf if np.isnan(estimate) else max(estimate - jobs.attained_s[job], 0.0)
    jobs.expected_end_s[job] = now_s + jobs.overhead_s[job] + left / sites.speed[site]
    sites.free[site] -= jobs.units[job]
    if rules.placement == CONSOLIDATED:
        hold_nodes(state, job, site)
    list_running(state, job, site)
    charge(state.queues, jobs.queue[job], jobs.units[job])
    note(out, START, job, site)


@compiled
def vacate(state: State, job: int, now_s: float) -> None:
    """Free what a running job holds, its work booked."""
    jobs, sites = state.jobs, state.sites
    settle(jobs, sites, job, now_s)
    site = jobs.site[job]
    sites.free[site] += jobs.units[job]
    leave_nodes(state, job)
    unlist_running(state, job, site)
    charge(state.queues, jobs.queue[job], -jobs.units[job])


@compiled
def stop(state: State, job: int, now_s: float, out: Decisions) -> None:
    """Stop a running job and send it back to wait; work since its last checkpoint is lost."""
    jobs = state.jobs
    vacate(state, job, now_s)
    lost = work_at_risk(jobs, job)
    jobs.attained_s[job] -= lost
    jobs.lost_s[job] += lost
    jobs.state[job] = WAITING
    note(out, STOP, job, jobs.site[job])


@compiled
def finish(state: State, job: int, now_s: float) -> None:
    vacate(state, job, now_s)
    state.jobs.state[job] = FINISHED


@compiled
def work_at_risk(jobs: Table, job: int) -> float:
    """Seconds of settled work that stopping the job now would lose."""
    every = jobs.checkpoint_s[job]
    return float(jobs.attained_s[job] - np.floor(jobs.attained_s[job] / every) * every) if every > 0 else 0.0


@compiled
def note(out: Decisions, action: int, job: int, site: int) -> None:
    row = out.length[0]
    out.rows.action[row], out.rows.job[row], out.rows.site[row] = action, job, site
    out.length[0] = row + 1
