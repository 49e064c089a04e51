"""What to start and stop now, and why: the scheduler's decision for the dispatcher.

Pure: requests, sites and a moment in, a plan out. The compiled core that decides here is the one that the digital twin
drives over a trace (`decide_kernel.decide_lane`), with the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.policy import Placement, Policy, check_figures
from headwater.compute.scheduler.shapes import ANYTHING, Needs, QueueShape, Request, SiteShape
from headwater.compute.scheduler.state import COMING, NOT_ASKED, RESIZE, RUNNING, START, STOP, WAITING, Floats, Ints, State, Table
from headwater.compute.scheduler.tables import decisions_table, jobs_table, most_decisions, state_of
from headwater.compute.scheduler.why import Reason, explain
from headwater.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Start a job on a site, or stop it there."""

    job: str
    site: str
    start: bool
    reason: Reason
    units: int = 0
    """What the job holds from now on; 0 once stopped."""
    resize: bool = False
    """A running job keeps its place with another number of units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in order, and why each other waiting job does not start."""

    actions: tuple[Action, ...]
    waiting: tuple[Reason, ...]
    never: tuple[Reason, ...] = ()
    """Jobs that no listed site could ever run, up or down."""


def decide(
    requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape] = ()
) -> Plan:
    """Return what to do at `now_s`. Requests keep their order where the policy sees no difference.

    Raises BadInput for a site or queue that is not listed, and for more units running on a site than it has.
    """
    from headwater.compute.scheduler.snapshot_kernel import decide_all, take_in

    check_figures(policy, sites)
    state, rules = snapshot(requests, sites, queues, now_s, policy.placement), policy.rules()
    out = decisions_table(most_decisions(state))
    take_in(state, rules)
    decide_all(state, rules, float(now_s), out)
    names, site_names, queue_names = [r.name for r in requests], [s.name for s in sites], ["all", *(q.name for q in queues)]
    reasons = [explain(state, row, names, site_names, queue_names) for row in range(len(requests))]
    actions = tuple(action_of(state, row, reasons, site_names) for row in out.rows[: int(out.length[0])])
    waiting, never = (tuple(reasons[row] for row in np.flatnonzero(state.jobs.state == what)) for what in (WAITING, COMING))
    return Plan(actions=actions, waiting=waiting, never=never)


def action_of(state: State, row: Table, reasons: Sequence[Reason], sites: Sequence[str]) -> Action:
    """Return a row of the decisions in words."""
    reason, kept = reasons[int(row.job)], row.action != STOP
    units = int(state.jobs.units[row.job]) if kept else 0
    return Action(
        job=reason.job,
        site=sites[int(row.site)],
        start=bool(row.action == START),
        resize=bool(row.action == RESIZE),
        units=units,
        reason=reason,
    )


PLAIN = Placement()


def snapshot(
    requests: Sequence[Request],
    sites: Sequence[SiteShape],
    queues: Sequence[QueueShape],
    now_s: float,
    placement: Placement = PLAIN,
) -> State:
    """Return tables that hold these requests, not yet queued. Raises BadInput as `decide` does."""
    site_row = {site.name: row for row, site in enumerate(sites)}
    queue_row = {queue.name: row + 1 for row, queue in enumerate(queues)}
    for request in requests:
        check_request(request, site_row, queue_row)
    check_room(requests, sites)
    classes = {needs: row for row, needs in enumerate(dict.fromkeys(request.needs for request in requests))} or {ANYTHING: 0}
    jobs = rows_of(requests, site_row, queue_row, classes, now_s)
    packing = placement.packing_rule()
    return state_of(jobs, sites, queues, tuple(classes), placement.unknown_speed, packing)


def rows_of(
    requests: Sequence[Request], site_row: Mapping[str, int], queue_row: Mapping[str, int], classes: Mapping[Needs, int], now_s: float
) -> Table:
    """Return the requests as rows of the jobs table, their rates still to be set."""
    kinds = {kind: row for row, kind in enumerate(sorted({request.kind for request in requests}))}
    nominal = ints_of(requests, lambda r: r.units)
    return jobs_table(
        floats_of(requests, lambda r: r.submit_s), ints_of(requests, units_now),
        nominal=nominal, least=ints_of(requests, lambda r: r.units if r.least_units is None else r.least_units),
        most=ints_of(requests, lambda r: r.units if r.most_units is None else r.most_units),
        estimate_s=floats_of(requests, lambda r: np.nan if r.estimate_s is None else r.estimate_s),
        lane=ints_of(requests, lambda r: r.lane), queue=ints_of(requests, lambda r: 0 if r.queue is None else queue_row[r.queue]),
        home=ints_of(requests, lambda r: -1 if r.home is None else site_row[r.home]), priority=floats_of(requests, lambda r: r.priority),
        deadline_s=floats_of(requests, lambda r: np.inf if r.deadline_s is None else r.deadline_s),
        kind=ints_of(requests, lambda r: kinds[r.kind]), checkpoint_s=floats_of(requests, lambda r: r.checkpoint_s),
        cls=ints_of(requests, lambda r: classes[r.needs]), input_gib=floats_of(requests, lambda r: r.input_gib),
        cpu_milli=ints_of(requests, lambda r: r.cpu_milli), memory_mib=ints_of(requests, lambda r: r.memory_mib),
        state=ints_of(requests, lambda r: WAITING if r.site is None else RUNNING),
        site=ints_of(requests, lambda r: -1 if r.site is None else site_row[r.site]),
        started_s=floats_of(requests, lambda r: np.nan if r.started_s is None else r.started_s), settled_s=now_s,
        attained_s=floats_of(requests, lambda r: r.attained_s), overhead_s=floats_of(requests, lambda r: r.overhead_s),
        starts=ints_of(requests, lambda r: r.starts), reason=NOT_ASKED,
    )  # fmt: skip


def units_now(request: Request) -> int:
    """Return the units that a running job holds, and a waiting one asks at least."""
    if request.site is None:
        return request.units if request.least_units is None else request.least_units
    return request.units if request.held_units is None else request.held_units


def floats_of(requests: Sequence[Request], value: Callable[[Request], float]) -> Floats:
    return np.array([value(request) for request in requests], np.float64)


def ints_of(requests: Sequence[Request], value: Callable[[Request], int]) -> Ints:
    return np.array([value(request) for request in requests], np.int64)


def check_request(request: Request, sites: Container[str], queues: Container[str]) -> None:
    """Raise BadInput for a request that names what is not listed, or whose range of units is none."""
    if any(site is not None and site not in sites for site in (request.site, request.home)):
        raise BadInput(f"The job '{request.name}' names a site that is not listed.", "List it, or leave it out.")
    if request.queue is not None and request.queue not in queues:
        raise BadInput(f"The job '{request.name}' is in the queue '{request.queue}', which is not listed.", "List it, or leave it out.")
    least, most = request.least_units, request.most_units
    if (least is None) != (most is None) or (least is not None and most is not None and not 1 <= least <= request.units <= most):
        what = f"The job '{request.name}' asks {request.units} units in a range from {least} to {most}."
        raise BadInput(what, "Give both ends, from 1 up, with the nominal units between them.")
    if request.units < 0 or request.cpu_milli < 0 or request.memory_mib < 0 or not request.units + request.cpu_milli + request.memory_mib:
        raise BadInput(f"The job '{request.name}' asks for nothing, or less.", "Ask for units, CPU or memory.")


def check_room(requests: Sequence[Request], sites: Sequence[SiteShape]) -> None:
    """Raise BadInput where running jobs hold more units of a site than it has."""
    for site in sites:
        held, capacity = sum(units_now(r) for r in requests if r.site == site.name), sum(site.node_units)
        if held > capacity:
            raise BadInput(f"{held} units run on '{site.name}', which has {capacity}.", "Reconcile with the engine before deciding.")
