"""What to start and stop now, and why: the scheduler's decision for the dispatcher.

Pure: requests, sites and a moment in, a plan out. The compiled core that decides here is the one that the digital twin
drives over a trace (`decide_kernel.decide_lane`), with the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.state import (
    NOT_ASKED,
    RUNNING,
    START,
    WAITING,
    QueueShape,
    SiteShape,
    State,
    decisions_table,
    jobs_table,
    state_of,
)  # fmt: skip
from headwater.compute.scheduler.why import Reason, explain
from headwater.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A job that waits, or runs on `site` since `started_s` with `attained_s` of work done by now."""

    name: str
    submit_s: float
    units: int
    estimate_s: float | None = None
    kind: str = ""
    """Like jobs share it: a user and name, or a shape."""
    lane: int = 0
    queue: str | None = None
    home: str | None = None
    priority: float = 0.0
    deadline_s: float | None = None
    checkpoint_s: float = 0.0
    site: str | None = None
    started_s: float | None = None
    attained_s: float = 0.0
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Start a job on a site, or stop it there."""

    job: str
    site: str
    start: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in order, and why each other waiting job does not start."""

    actions: tuple[Action, ...]
    waiting: tuple[Reason, ...]


def decide(
    requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape] = ()
) -> Plan:
    """Return what to do at `now_s`. Requests keep their order where the policy sees no difference.

    Raises BadInput for a site or queue that is not listed, and for more units running on a site than it has.
    """
    from headwater.compute.scheduler.snapshot_kernel import decide_all, take_in

    state, rules = snapshot(requests, sites, queues, now_s), policy.rules()
    out = decisions_table(min(2 * len(requests), 2 * int(state.sites.capacity.sum())) + 2)
    take_in(state, rules)
    decide_all(state, rules, float(now_s), out)
    names, site_names, queue_names = [r.name for r in requests], [s.name for s in sites], ["all", *(q.name for q in queues)]
    reasons = [explain(state, row, names, site_names, queue_names) for row in range(len(requests))]
    rows = out.rows[: int(out.length[0])]
    actions = tuple(
        Action(job=names[row.job], site=site_names[row.site], start=bool(row.action == START), reason=reasons[row.job]) for row in rows
    )
    return Plan(actions=actions, waiting=tuple(reasons[row] for row in np.flatnonzero(state.jobs.state == WAITING)))


def snapshot(requests: Sequence[Request], sites: Sequence[SiteShape], queues: Sequence[QueueShape], now_s: float) -> State:
    """Return tables that hold these requests, not yet queued."""
    site_row = {site.name: row for row, site in enumerate(sites)}
    queue_row = {queue.name: row + 1 for row, queue in enumerate(queues)}
    for request in requests:
        if any(site is not None and site not in site_row for site in (request.site, request.home)):
            raise BadInput(f"The job '{request.name}' names a site that is not listed.", f"There are: {', '.join(site_row)}.")
        if request.queue is not None and request.queue not in queue_row:
            raise BadInput(f"The job '{request.name}' is in the queue '{request.queue}', which is not listed.", "List it, or leave it out.")
    check_room(requests, sites)
    kinds = {kind: row for row, kind in enumerate(sorted({request.kind for request in requests}))}
    running = np.array([request.site is not None for request in requests], bool)
    estimate = np.array([np.nan if r.estimate_s is None else r.estimate_s for r in requests], np.float64)
    attained = np.array([r.attained_s for r in requests], np.float64)
    at = np.array([-1 if r.site is None else site_row[r.site] for r in requests], np.int64)
    speed = np.array([1.0 if r.site is None else sites[site_row[r.site]].speed for r in requests], np.float64)
    left = np.where(np.isnan(estimate), np.inf, np.maximum(estimate - attained, 0.0)) / speed
    jobs = jobs_table(
        np.array([r.submit_s for r in requests], np.float64), np.array([r.units for r in requests], np.int64), estimate_s=estimate,
        lane=[r.lane for r in requests], queue=[0 if r.queue is None else queue_row[r.queue] for r in requests],
        home=[-1 if r.home is None else site_row[r.home] for r in requests], priority=[r.priority for r in requests],
        deadline_s=[np.inf if r.deadline_s is None else r.deadline_s for r in requests],
        kind=np.array([kinds[r.kind] for r in requests], np.int64), checkpoint_s=[r.checkpoint_s for r in requests],
        state=np.where(running, RUNNING, WAITING), site=at, started_s=[np.nan if r.started_s is None else r.started_s for r in requests],
        settled_s=now_s, attained_s=attained, starts=[r.starts for r in requests], expected_end_s=now_s + left, reason=NOT_ASKED,
    )  # fmt: skip
    return state_of(jobs, sites, queues)


def check_room(requests: Sequence[Request], sites: Sequence[SiteShape]) -> None:
    """Raise BadInput where running jobs hold more units of a site than it has."""
    for site in sites:
        held, capacity = sum(r.units for r in requests if r.site == site.name), sum(site.node_units)
        if held > capacity:
            raise BadInput(f"{held} units run on '{site.name}', which has {capacity}.", "Reconcile with the engine before deciding.")
