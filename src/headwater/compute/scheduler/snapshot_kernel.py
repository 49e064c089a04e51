"""Put what is already waiting and running into fresh tables, and decide for all lanes (compiled)."""

from __future__ import annotations

from headwater.compute.scheduler.compiled import compiled_entry
from headwater.compute.scheduler.decide_kernel import complete, decide_lane
from headwater.compute.scheduler.fairshare_kernel import queue_up
from headwater.compute.scheduler.nodes_kernel import COUNT, fits_nodes, hold_node, hold_nodes, node_score
from headwater.compute.scheduler.order_kernel import learn, value
from headwater.compute.scheduler.placement_kernel import could_run, expect_end, list_running, take_room
from headwater.compute.scheduler.preemption_kernel import BY_ORDER
from headwater.compute.scheduler.score_kernel import rate_on, site_score
from headwater.compute.scheduler.state import COMING, RUNNING, WAITING, Decisions, Ints, Rules, State


@compiled_entry
def take_in(state: State, rules: Rules) -> None:
    """Hold the units of running jobs, and queue the waiting ones."""
    jobs = state.jobs
    for job in range(len(jobs)):
        if jobs.state[job] == RUNNING:
            site = jobs.site[job]
            if rules.placement != COUNT and jobs.slice_head[job] < 0 and fits_nodes(state, rules, job, site):
                hold_nodes(state, rules, job, site)
            jobs.rate[job] = rate_on(state, rules, job, site)
            expect_end(jobs, job)
            list_running(state, job, site)
            take_room(state, job, site, 1)
            learn(state, rules, job)
    for job in range(len(jobs)):
        if jobs.state[job] == WAITING and could_run(state, rules, job) > 0:
            jobs.reason[job], jobs.state[job] = could_run(state, rules, job), COMING
        if jobs.state[job] == WAITING or (jobs.state[job] == RUNNING and rules.preemption == BY_ORDER):
            jobs.key[job] = value(state, rules, job)
            queue_up(state, rules, job)


@compiled_entry
def lay_on(state: State, rules: Rules, job: int, node: int, units: int, devices: int) -> None:
    """Note that a running job holds units of a node."""
    hold_node(state, rules, job, state.jobs.site[job], node, units, devices)


@compiled_entry
def decide_all(state: State, rules: Rules, now_s: float, out: Decisions) -> None:
    """Decide for each lane in turn; `out` then holds what was decided."""
    out.length[0] = 0
    for lane in range(len(state.lanes)):
        decide_lane(state, rules, lane, now_s, out)


@compiled_entry
def end_listed(state: State, rules: Rules, rows: Ints, now_s: float) -> None:
    """Take jobs that ended off their sites."""
    for job in rows:
        complete(state, rules, job, now_s)


@compiled_entry
def score_of(state: State, rules: Rules, job: int, site: int, now_s: float) -> float:
    """What placement weighs of a site for a job."""
    return site_score(state, rules, job, site, now_s, state.sites.free[site]) + node_score(state, rules, job, site)
