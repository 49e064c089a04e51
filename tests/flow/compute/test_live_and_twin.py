"""What was decided live is decided again by the twin: the same inputs through the twin's own clock give the same actions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater.compute import jobs, quotas
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.history import trace_of_platform
from headwater.compute.jobs import Input, NewJob, Spec, State
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.decide import Plan, snapshot
from headwater.compute.scheduler.tables import decisions_table, floats, ints, most_decisions, table
from headwater.compute.situation import Situation
from headwater.core import identity, platform, settings
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from tests.flow.compute.graphs import ended

JOBS = 100
BY_PRIORITY = """
name = "urgent"
[order]
by = "priority"
[backfill]
kind = "easy"
[preemption]
when = "by_priority"
restart_s = 1.0
[estimates]
source = "user"
"""


def handed_in(site: Platform, chance: random.Random) -> str:
    """Submit a graph of jobs of three organisations, some after others, some with accelerators, none alike in all."""
    now = site.clock.now()
    for path in ("city/a", "city/b"):
        site.db.write(lambda connection, path=path: identity.add_organisation(connection, path, path, actor=SYSTEM, at=now))  # type: ignore[misc]
    site.db.write(lambda connection: quotas.put(connection, Quota(organisation="city/a", units=2, may_borrow=False), actor=SYSTEM, at=now))
    for owner in ("city", "city/a", "city/b"):
        graph, new = f"g-{owner.replace('/', '-')}", []
        for number in range(JOBS // 3 + 1):
            asked = Resources(
                cpus=chance.choice([0.5, 1.0, 1.5]),
                memory_gib=chance.choice([0.1, 0.5, 1.5]),
                accelerators={"h20": chance.choice([1, 2])} if chance.random() < 0.3 else {},
                wall_s=chance.choice([10.0, 60.0]),
                priority=float(chance.randrange(4)),
                checkpoint_s=0.0,
            )
            spec = Spec(argv=("sleep", f"{chance.uniform(0, 0.3):.2f}"), params={}, inputs=dict[str, Input](), resources=asked)
            needs = frozenset({f"{graph}.j{chance.randrange(number)}"} if number and chance.random() < 0.3 else ())
            new.append(NewJob(id=f"{graph}.j{number}", name=f"j{number}", spec=spec, engine="local", needs=needs))
        site.db.write(
            lambda connection, graph=graph, new=new, owner=owner: jobs.submit(  # type: ignore[misc]
                connection, graph, new, organisation=owner, actor=SYSTEM, at=now
            )
        )
    return "g-city"


def resume(state: Any, world: Any, now_s: float) -> None:
    """Note when the jobs that run now will end, and that nobody else is still to come."""
    from headwater.compute.scheduler.state import RUNNING
    from headwater.compute.twin.simulate_kernel import ARRIVED, open_segment, push

    jobs_here = state.jobs
    world.counts[ARRIVED] = len(jobs_here)
    for job in np.flatnonzero(jobs_here.state == RUNNING):
        open_segment(world, job, jobs_here.site[job], jobs_here.units[job], now_s)
        left = max(world.truth.duration_s[job] - jobs_here.attained_s[job], 0.0)
        world.truth.end_s[job] = now_s + jobs_here.overhead_s[job] + left / jobs_here.rate[job]
        push(world, world.truth.end_s[job], job)


def twin_decides(given: Situation) -> tuple[list[tuple[str, str]], set[str]]:
    """Return the starts in order, and the stops, of the twin's clock on its first moment from this situation on."""
    from headwater.compute.scheduler.snapshot_kernel import take_in
    from headwater.compute.scheduler.state import RUNNING
    from headwater.compute.twin.simulate_kernel import CHANGE, LOGGED, MOMENT, SEGMENT, TRUTH, World, advance

    state, rules, count = snapshot(given.requests, given.sites, given.queues, given.now_s), given.policy.rules(), len(given.requests)
    most = most_decisions(state)
    world = World(
        truth=table(TRUTH, {"duration_s": floats(count, 1e6), "end_s": np.nan, "segment": -1}),
        due=table(MOMENT, {"at_s": floats(8 * most + 4 * count)}),
        outages=table(CHANGE, {"at_s": floats(len(given.sites), given.now_s), "site": np.arange(len(given.sites)), "up": 1}),
        log=table(SEGMENT, {"from_s": floats(8 * most + 4 * count), "to_s": np.nan}),
        dirty=ints(len(state.lanes)),
        counts=ints(8),
        clock_s=floats(1, given.now_s),
    )
    ran = [row for row in range(count) if state.jobs.state[row] == RUNNING]
    take_in(state, rules)
    resume(state, world, float(given.now_s))
    advance(state, rules, world, 1, decisions_table(most))
    log = world.log[len(ran) : int(world.counts[LOGGED])]
    starts = [(given.requests[row.job].name, given.sites[row.site].name) for row in log]
    stops = {given.requests[row.job].name for row in world.log[: len(ran)] if not np.isnan(row.to_s)}
    return starts, stops


@pytest.mark.parametrize("policy", ["fifo", "urgent"])
def test_the_twin_decides_what_was_decided_live(tmp_path: Path, policy: str) -> None:
    if policy == "urgent":
        (tmp_path / "urgent.toml").write_text(BY_PRIORITY, encoding="utf-8")
        policy = str(tmp_path / "urgent.toml")
    heard: list[tuple[Situation, Plan]] = []
    chosen = settings.load(data_folder=tmp_path / "data", local_cpus=4, local_memory_gib=4, local_accelerators={"h20": 3}, policy=policy)
    with platform.opened(chosen) as site:
        site.found()
        dispatcher = Dispatcher(site, heard=lambda given, planned: heard.append((given, planned)))
        handed_in(site, random.Random(20261125))
        dispatcher.start()
        for graph in ("g-city", "g-city-a", "g-city-b"):
            assert {job.state for job in ended(site, graph, within_s=120).values()} == {State.DONE}
        dispatcher.stop()
        with site.db.read() as connection:
            trace = trace_of_platform(connection, name="live")

    starts = 0
    for given, planned in heard:
        live_starts = [(action.job, action.site) for action in planned.actions if action.start]
        live_stops = {action.job for action in planned.actions if not action.start and not action.resize}
        assert twin_decides(given) == (live_starts, live_stops)
        starts += len(live_starts)
    assert starts >= JOBS
    fractional = sum(fault.count for fault in trace.faults if fault.code in ("fractional_units", "no_units", "no_run_time"))
    assert len(trace) + fractional == 3 * (JOBS // 3 + 1)
