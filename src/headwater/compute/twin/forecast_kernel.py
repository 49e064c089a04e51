"""Take running jobs over into the twin's clock (compiled)."""

from __future__ import annotations

from headwater.compute.scheduler.compiled import compiled_entry
from headwater.compute.scheduler.state import RUNNING, State
from headwater.compute.twin.simulate_kernel import ARRIVED, World, open_segment, push


@compiled_entry
def resume(state: State, world: World, now_s: float) -> None:
    """Note when the jobs that run now will end, and that nobody else is still to come."""
    jobs = state.jobs
    world.counts[ARRIVED] = len(jobs)
    for job in range(len(jobs)):
        if jobs.state[job] == RUNNING:
            open_segment(world, job, jobs.site[job], jobs.units[job], now_s)
            left = max(world.truth.duration_s[job] - jobs.attained_s[job], 0.0)
            world.truth.end_s[job] = now_s + jobs.overhead_s[job] + left / jobs.rate[job]
            push(world, world.truth.end_s[job], job)
