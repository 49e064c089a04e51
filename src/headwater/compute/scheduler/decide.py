"""What to start and stop now, and why: the scheduler's decision for the dispatcher.

Pure: requests, sites and a moment in, a plan out. The compiled core that decides here is the one that the digital twin
drives over a trace (`decide_kernel.decide_lane`), with the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.compiled import at_hand
from headwater.compute.scheduler.policy import Policy, check_figures
from headwater.compute.scheduler.shapes import NodeShare, QueueShape, Request, SiteShape
from headwater.compute.scheduler.snapshot import lay_out, snapshot
from headwater.compute.scheduler.state import COMING, RESIZE, START, STOP, WAITING, Decisions, Rules, State
from headwater.compute.scheduler.tables import decisions_table, most_decisions
from headwater.compute.scheduler.why import NO_CODES, Considered, Explainer, Reason, considered
from headwater.core.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Start a job on a site, or stop it there."""

    job: str
    site: str
    start: bool
    reason: Reason
    units: int = 0
    """What the job holds from now on; 0 once stopped."""
    nodes: tuple[NodeShare, ...] = ()
    """Where it lies, if the policy looks at nodes."""
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
    requests: Sequence[Request],
    sites: Sequence[SiteShape],
    policy: Policy,
    now_s: float,
    queues: Sequence[QueueShape] = (),
    *,
    wordless: frozenset[str] = NO_CODES,
) -> Plan:
    """Return what to do at `now_s`. Requests keep their order where the policy sees no difference.

    Reasons of the codes in `wordless` are given without words, for those that nobody reads.
    Raises BadInput for a site or queue that is not listed, and for more units running on a site than it has.
    """
    state, _, out = decided(requests, sites, policy, now_s, queues)
    state = at_hand(state)
    names, site_names, queue_names = [r.name for r in requests], [s.name for s in sites], ["all", *(q.name for q in queues)]
    table, rows = Explainer(state, names, sites, queue_names, wordless), out.rows[: int(out.length[0])]
    told = zip(rows.job.tolist(), rows.site.tolist(), rows.action.tolist(), strict=True)
    actions = tuple(action_of(state, job, site_names[site], action, table.explain(job)) for job, site, action in told)
    waiting, never = (tuple(table.explain(int(row)) for row in np.flatnonzero(state.jobs.state == what)) for what in (WAITING, COMING))
    return Plan(actions=actions, waiting=waiting, never=never)


def examine(
    job: str, requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape] = ()
) -> tuple[Reason, tuple[Considered, ...]]:
    """Return why one job runs or waits after the decision at `now_s`, and every site of its lane as that decision saw it.

    Raises NotFound for a job that is not among the requests, BadInput as `decide` does.
    """
    row = next((row for row, request in enumerate(requests) if request.name == job), None)
    if row is None:
        raise NotFound(f"There is no job '{job[:80]}' here.", "Give the name of one that waits or runs.")
    state, rules, _ = decided(requests, sites, policy, now_s, queues)
    reason = Explainer(state, [r.name for r in requests], sites, ["all", *(q.name for q in queues)]).explain(row)
    return reason, considered(state, rules, row, sites, now_s)


def decided(
    requests: Sequence[Request], sites: Sequence[SiteShape], policy: Policy, now_s: float, queues: Sequence[QueueShape]
) -> tuple[State, Rules, Decisions]:
    """Return the state after the decision, and what was decided."""
    from headwater.compute.scheduler.snapshot_kernel import decide_all, take_in

    check_figures(policy, sites)
    state, rules = snapshot(requests, sites, queues, now_s, policy.placement), policy.rules()
    out = decisions_table(most_decisions(state))
    lay_out(state, rules, requests)
    take_in(state, rules)
    decide_all(state, rules, float(now_s), out)
    return state, rules, out


def places(state: State, row: int) -> tuple[NodeShare, ...]:
    """Return the nodes of its site that a job holds, the lowest first; none where nodes do not matter."""
    found, cell = [], int(state.jobs.slice_head[row])
    while cell >= 0:
        part = state.slices[cell]
        first = int(state.sites.first_node[state.jobs.site[row]])
        found.append(NodeShare(node=int(part.node) - first, units=int(part.units), devices=int(part.devices)))
        cell = int(part.next)
    return tuple(sorted(found, key=lambda share: share.node))


def action_of(state: State, row: int, site: str, action: int, reason: Reason) -> Action:
    """Return a decision about the job in a row in words."""
    kept = action != STOP
    return Action(
        job=reason.job,
        site=site,
        start=action == START,
        resize=action == RESIZE,
        units=int(state.jobs.units[row]) if kept else 0,
        nodes=places(state, row) if kept else (),
        reason=reason,
    )
