"""Put what waits and what runs into the scheduler's tables, refusing what cannot be true."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np

from headwater.compute.scheduler.policy import Placement
from headwater.compute.scheduler.shapes import ANYTHING, Needs, NodeShare, QueueShape, Request, SiteShape
from headwater.compute.scheduler.state import NOT_ASKED, RUNNING, USAGE_SETTLED_S, WAITING, Floats, Ints, Rules, State, Table
from headwater.compute.scheduler.tables import jobs_table, state_of
from headwater.core.errors import BadInput

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
    state = state_of(jobs, sites, queues, tuple(classes), placement.unknown_speed, packing)
    state.marks[USAGE_SETTLED_S] = now_s
    return state


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
    held: dict[str, int] = {}
    for request in requests:
        if request.site is not None:
            held[request.site] = held.get(request.site, 0) + units_now(request)
    for site in sites:
        mine, capacity = held.get(site.name, 0), sum(site.node_units)
        if mine > capacity:
            raise BadInput(f"{mine} units run on '{site.name}', which has {capacity}.", "Reconcile with the engine before deciding.")


def lay_out(state: State, rules: Rules, requests: Sequence[Request]) -> None:
    """Hold the nodes that running requests say they lie on, where the policy looks at nodes. Raises BadInput for a place that is taken."""
    from headwater.compute.scheduler.snapshot_kernel import lay_on

    if rules.placement == 0:
        return
    for row, request in enumerate(requests):
        for share in request.nodes if request.site is not None else ():
            site = state.sites[int(state.jobs.site[row])]
            node = int(site.first_node) + share.node
            if not 0 <= share.node < site.node_count or not has_room(state, node, share):
                what = f"'{request.name}' lies on node {share.node} of '{request.site}' with {share.units} units, which are not free there."
                raise BadInput(what, "Reconcile with the engine before deciding.")
            lay_on(state, rules, row, node, share.units, share.devices)


def has_room(state: State, node: int, share: NodeShare) -> bool:
    """Tell whether a node has the units, or the devices, that a job is said to hold there."""
    if state.packer is None:
        return bool(state.node_free[node] >= share.units)
    devices = [device for device in range(int(state.packs.devices[node])) if share.devices >> device & 1]
    return bool(share.devices >> int(state.packs.devices[node]) == 0 and (state.packs.device_free_milli[node, devices] > 0).all())
