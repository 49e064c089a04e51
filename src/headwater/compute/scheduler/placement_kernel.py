"""Put a job on a site, and take it off again (compiled). A gang is whole or not at all, and never spans sites."""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.nodes_kernel import COUNT, PACKED, hold_nodes, leave_nodes
from headwater.compute.scheduler.pack_kernel import could_lie
from headwater.compute.scheduler.score_kernel import rate_on, stage_s
from headwater.compute.scheduler.state import (
    FINISHED,
    NOWHERE,
    RUNNING,
    START,
    STOP,
    TOO_LARGE,
    WAITING,
    Decisions,
    Rules,
    State,
    Table,
)


@compiled
def may_use(state: State, job: int, site: int) -> bool:
    """Whether the job could ever run on this site, which must be up."""
    sites = state.sites
    return bool(sites.up[site] == 1 and could_use(state, job, site))


@compiled
def could_use(state: State, job: int, site: int) -> bool:
    """The same, were the site up: its lane, its size, its host, and the rules between the job's class and it."""
    jobs, sites, hosts = state.jobs, state.sites, state.hosts
    host, home = sites.host[site], jobs.home[job]
    return bool(
        sites.lane[site] == jobs.lane[job]
        and home in (-1, site)
        and jobs.least[job] <= sites.capacity[site]
        and (jobs.least[job] < sites.device_units[site] or jobs.least[job] % sites.device_units[site] == 0)
        and state.match.rule[jobs.cls[job], site] == 0
        and jobs.cpu_milli[job] <= hosts.cpu[host]
        and jobs.memory_mib[job] <= hosts.memory[host]
    )


@compiled
def could_run(state: State, rules: Rules, job: int) -> int:
    """0 where some site, up or down, could run the job; else the reason why none can."""
    verdict = NOWHERE
    for site in range(len(state.sites)):
        if could_use(state, job, site) and (rules.placement != PACKED or could_lie(state.packer, state, job, site)):
            return 0
        if state.match.rule[state.jobs.cls[job], site] == 0:
            verdict = TOO_LARGE
    return verdict


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
def charge(queues: Table, queue: int, units: float) -> None:
    """Count normalised units held by a queue and by all above it; negative to give back."""
    while queue >= 0:
        queues.held[queue] += units
        queue = queues.parent[queue]


@compiled
def take_room(state: State, job: int, site: int, sign: int) -> None:
    """Take (sign 1) or give back (-1) a job's units, host room and share, nodes apart."""
    jobs, sites, host = state.jobs, state.sites, state.sites.host[site]
    sites.free[site] -= sign * jobs.units[job]
    state.hosts.cpu_free[host] -= sign * jobs.cpu_milli[job]
    state.hosts.memory_free[host] -= sign * jobs.memory_mib[job]
    charge(state.queues, jobs.queue[job], sign * jobs.units[job] * sites.unit_weight[site])


@compiled
def host_has(state: State, job: int, site: int) -> bool:
    """Whether the site's host has the job's CPU and memory free."""
    host = state.sites.host[site]
    return bool(state.jobs.cpu_milli[job] <= state.hosts.cpu_free[host] and state.jobs.memory_mib[job] <= state.hosts.memory_free[host])


@compiled
def settle(jobs: Table, job: int, now_s: float) -> None:
    """Book the time since the last settlement: first against overhead, then as work."""
    passed = now_s - jobs.settled_s[job]
    paid = min(passed, jobs.overhead_s[job])
    jobs.overhead_s[job] -= paid
    jobs.attained_s[job] += (passed - paid) * jobs.rate[job]
    jobs.settled_s[job] = now_s


@compiled
def overhead_s(state: State, rules: Rules, job: int, site: int) -> float:
    """Seconds to stage in and to restart before work goes on, were the job started there."""
    return stage_s(state, job, site) + (rules.restart_s if state.jobs.starts[job] > 0 else 0.0)


@compiled
def expect_end(jobs: Table, job: int) -> None:
    """Set when a running, settled job is expected to end: never, where nothing is known of its run time."""
    estimate = jobs.estimate_s[job]
    left = np.inf if np.isnan(estimate) else max(estimate - jobs.attained_s[job], 0.0)
    jobs.expected_end_s[job] = jobs.settled_s[job] + jobs.overhead_s[job] + left / jobs.rate[job]


@compiled
def start(state: State, rules: Rules, job: int, site: int, now_s: float, out: Decisions) -> None:
    """Start a job on a site where it fits."""
    jobs = state.jobs
    jobs.overhead_s[job] = overhead_s(state, rules, job, site)
    jobs.state[job], jobs.site[job], jobs.rate[job] = RUNNING, site, rate_on(state, rules, job, site)
    jobs.started_s[job] = jobs.settled_s[job] = now_s
    if jobs.starts[job] == 0:
        jobs.first_start_s[job] = now_s
    jobs.starts[job] += 1
    expect_end(jobs, job)
    if rules.placement != COUNT:
        hold_nodes(state, rules, job, site)
    list_running(state, job, site)
    take_room(state, job, site, 1)
    note(out, START, job, site)


@compiled
def vacate(state: State, rules: Rules, job: int, now_s: float) -> None:
    """Free what a running job holds, its work booked."""
    jobs = state.jobs
    settle(jobs, job, now_s)
    site = jobs.site[job]
    leave_nodes(state, rules, job)
    unlist_running(state, job, site)
    take_room(state, job, site, -1)


@compiled
def stop(state: State, rules: Rules, job: int, now_s: float, out: Decisions) -> None:
    """Stop a running job and send it back to wait; work since its last checkpoint is lost."""
    jobs = state.jobs
    vacate(state, rules, job, now_s)
    lost = work_at_risk(jobs, job)
    jobs.attained_s[job] -= lost
    jobs.lost_s[job] += lost
    jobs.state[job], jobs.units[job] = WAITING, jobs.least[job]
    note(out, STOP, job, jobs.site[job])


@compiled
def finish(state: State, rules: Rules, job: int, now_s: float) -> None:
    vacate(state, rules, job, now_s)
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
