"""Replay a trace through the scheduler's own decision, on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headwater.compute.scheduler.policy import Policy, check_figures
from headwater.compute.scheduler.shapes import QueueShape, SiteShape
from headwater.compute.scheduler.state import Decisions, Floats, Ints, Rules, State
from headwater.compute.scheduler.tables import decisions_table, floats, ints, jobs_table, most_decisions, state_of, table
from headwater.compute.twin.asks import Texts
from headwater.compute.twin.fragmentation import Sampler, sampler
from headwater.compute.twin.serving import Served, classes_of
from headwater.compute.twin.trace import Trace
from headwater.core.errors import BadInput

if TYPE_CHECKING:
    from headwater.compute.twin.simulate_kernel import World

Progress = Callable[[int, int], None]
Watch = Callable[[State, "World"], None]
MOMENTS_A_CALL = 20_000
LOOKS = 400
"""About how often a replay is looked at, for what is sampled over time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A site lost at a moment, or back."""

    at_s: float
    site: str
    up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a trace is replayed.

    `pools` maps a trace's pool names to lanes; a job whose pool is not named goes to lane 0. Lanes never lend.
    """

    sites: tuple[SiteShape, ...]
    policy: Policy
    queues: tuple[QueueShape, ...] = ()
    pools: tuple[tuple[str, int], ...] = ()
    outages: tuple[Outage, ...] = ()
    checkpoint_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What happened to each job of a trace; NaN where it did not happen."""

    trace: Trace
    setting: Setting
    first_start_s: Floats
    end_s: Floats
    starts: Ints
    lost_s: Floats
    refused: Ints
    estimate_s: Floats
    segment_from_s: Floats
    segment_to_s: Floats
    segment_job: Ints
    segment_site: Ints
    segment_units: Ints
    served: Served
    fragmentation: tuple[Floats, Floats]
    """Moments, and the share of free units that a job drawn from the trace could not use."""
    decisions: int
    clock_s: float
    complete: bool


def numbered(texts: Texts) -> Ints:
    """Return a number for each text, the same for the same; None is a text of its own."""
    known: dict[str | None, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts], np.int64)


def kinds_of(trace: Trace, alike: str) -> Ints:
    """Return a class number for each job: same pool and size to the next power of two, and where asked same tenant and label."""
    size = np.ceil(np.log2(np.maximum(trace.units, 1))).astype(np.int64)
    kind = numbered(trace.pool) * 64 + size
    if alike == "user_and_name":
        for names in (numbered(trace.tenant), numbered(trace.label)):
            kind = np.unique(kind * (int(names.max(initial=0)) + 1) + names, return_inverse=True)[1]
    return np.asarray(np.unique(kind, return_inverse=True)[1], np.int64)


def estimates_for(trace: Trace, policy: Policy) -> Floats:
    """Return what the policy is told about run times."""
    if policy.estimates.source == "exact":
        return trace.duration_s.copy()
    if policy.estimates.source == "user":
        return trace.walltime_s.copy()
    return np.full(len(trace), np.nan)


def queue_rows(trace: Trace, queues: Sequence[QueueShape]) -> Ints:
    """Return each job's row in the queue tree, by tenant name; the root for tenants without a queue."""
    row = {shape.name: index + 1 for index, shape in enumerate(queues)}
    return np.array([row.get(tenant, 0) for tenant in trace.tenant], np.int64)


def lanes_of(trace: Trace, setting: Setting) -> Ints:
    """Return the lane of each job."""
    lane = dict(setting.pools)
    return np.array([lane.get("all" if pool is None else pool, 0) for pool in trace.pool], np.int64)


def state_for(trace: Trace, setting: Setting) -> State:
    """Return the scheduler's tables at the beginning of a replay.

    Raises BadInput for what does not go together, and for a policy that weighs what a site does not state.
    """
    check_figures(setting.policy, setting.sites)
    lanes = lanes_of(trace, setting)
    if trace.submit_s.size and (np.diff(trace.submit_s) < 0).any():
        raise BadInput("The trace is not sorted by submission.", "Read it with a reader of headwater.compute.twin.", where=trace.name)
    if setting.policy.order.by == "fair_share" and lanes.max(initial=0) > 0:
        raise BadInput("fair_share shares all sites, and these keep to themselves.", "Leave out --silos, or choose another policy.")
    klass, classes = classes_of(trace.asks, setting.sites)
    asks = trace.asks
    jobs = jobs_table(
        trace.submit_s,
        whole(asks.least_units, trace.units),
        nominal=trace.units,
        least=whole(asks.least_units, trace.units),
        most=whole(asks.most_units, trace.units),
        estimate_s=estimates_for(trace, setting.policy),
        lane=lanes,
        kind=kinds_of(trace, setting.policy.order.alike),
        queue=queue_rows(trace, setting.queues),
        checkpoint_s=np.where(np.isnan(asks.checkpoint_s), setting.checkpoint_s, asks.checkpoint_s),
        deadline_s=np.where(np.isnan(asks.deadline_s), np.inf, asks.deadline_s),
        input_gib=np.nan_to_num(asks.input_gib),
        cls=klass,
    )
    placement = setting.policy.placement
    return state_of(jobs, setting.sites, setting.queues, classes, placement.unknown_speed, packing=placement.packing_rule())


def whole(asked: Floats, otherwise: Ints) -> Ints:
    """Return the counts that are asked, and the others where nothing is."""
    return np.where(np.isnan(asked), otherwise, asked).astype(np.int64)


def world_for(trace: Trace, setting: Setting, state: State, most: int) -> World:
    """Return the true run times and an empty clock; `most` decisions at most come at one moment."""
    from headwater.compute.twin.simulate_kernel import CHANGE, MOMENT, SEGMENT, TRUTH, World

    count, room = len(trace), 2 * len(trace) + 8 * most
    site_row = {site.name: index for index, site in enumerate(setting.sites)}
    unknown = [outage.site for outage in setting.outages if outage.site not in site_row]
    if unknown:
        raise BadInput(f"There is no site '{unknown[0]}' to lose.", f"There are: {', '.join(site_row)}.")
    changes = sorted((outage.at_s, site_row[outage.site], int(outage.up)) for outage in setting.outages)
    return World(
        truth=table(TRUTH, {"duration_s": trace.duration_s, "end_s": np.nan, "segment": -1}),
        due=table(MOMENT, {"at_s": floats(room)}),
        outages=np.array(changes, CHANGE).view(np.recarray),
        log=table(SEGMENT, {"from_s": floats(room), "to_s": np.nan}),
        dirty=ints(len(state.lanes)),
        counts=ints(8),
        clock_s=floats(1, trace.submit_s[0] if count else 0.0),
    )


def grown(world: World) -> World:
    """Return the same world with its heap and log twice as long."""
    due, log = (np.concatenate([old, np.zeros_like(old)]).view(np.recarray) for old in (world.due, world.log))
    return world._replace(due=due, log=log)


def simulate(trace: Trace, setting: Setting, progress: Progress | None = None) -> Run:
    """Return what happens to the trace under the setting. On Ctrl-C the run so far, marked not complete."""
    from headwater.compute.twin.simulate_kernel import ENDED

    state, rules = state_for(trace, setting), setting.policy.rules()
    most = most_decisions(state)
    out, seen = decisions_table(most), sampler(state, by_node=setting.policy.placement.nodes != "count")

    def watch(state: State, world: World) -> None:
        seen.look(state, float(world.clock_s[0]))
        if progress is not None:
            progress(int(world.counts[ENDED]), len(trace))

    world, complete = _live(state, rules, world_for(trace, setting, state, most), out, watch)
    return run_of(trace, setting, state, world, seen, complete=complete)


def _live(state: State, rules: Rules, world: World, out: Decisions, watch: Watch) -> tuple[World, bool]:
    from headwater.compute.twin.simulate_kernel import DONE, FULL, advance

    moments = min(max(2 * len(state.jobs) // LOOKS, 1), MOMENTS_A_CALL)
    try:
        while (outcome := advance(state, rules, world, moments, out)) != DONE:
            if outcome == FULL:
                world = grown(world)
            watch(state, world)
    except KeyboardInterrupt:
        return world, False
    return world, True


def run_of(trace: Trace, setting: Setting, state: State, world: World, seen: Sampler, *, complete: bool) -> Run:
    """Return the outcome in a world that has been lived through."""
    from headwater.compute.scheduler.state import FINISHED, NOWHERE, TOO_LARGE
    from headwater.compute.twin.simulate_kernel import DECIDED, LOGGED

    logged = slice(0, int(world.counts[LOGGED]))
    jobs = state.jobs
    return Run(
        trace=trace,
        setting=setting,
        first_start_s=jobs.first_start_s,
        end_s=np.where(jobs.state == FINISHED, world.truth.end_s, np.nan),
        starts=jobs.starts,
        lost_s=jobs.lost_s,
        refused=np.flatnonzero((jobs.reason == TOO_LARGE) | (jobs.reason == NOWHERE)),
        estimate_s=jobs.estimate_s,
        segment_from_s=world.log.from_s[logged],
        segment_to_s=world.log.to_s[logged],
        segment_job=world.log.job[logged],
        segment_site=world.log.site[logged],
        segment_units=world.log.units[logged],
        served=Served(klass=state.jobs.cls.copy(), matrix=state.match),
        fragmentation=seen.series(),
        decisions=int(world.counts[DECIDED]),
        clock_s=float(world.clock_s[0]),
        complete=complete,
    )
