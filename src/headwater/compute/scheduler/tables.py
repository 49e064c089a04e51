"""Make the scheduler's tables from what it is told: empty sites, the queue tree, jobs still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.compute.scheduler.matching import matrix
from headwater.compute.scheduler.packing import RULES
from headwater.compute.scheduler.packing_state import WHOLE_MILLI, Nodes, mix_of, nodes_of
from headwater.compute.scheduler.shapes import ANYTHING, Needs, QueueShape, SiteShape, in_order
from headwater.compute.scheduler.speeds import UnknownSpeed
from headwater.compute.scheduler.state import (
    BAND,
    DECISION,
    HOST,
    JOB,
    LANE,
    QUEUE,
    SITE,
    SLICE,
    WINDOW,
    Decisions,
    Floats,
    Ints,
    State,
    Table,
)
from headwater.core.errors import BadInput

if TYPE_CHECKING:
    from headwater.compute.scheduler.packing_kernel import Packer

KEPT_SHAPES = 1000
"""Shapes of request for which the scores of nodes are kept."""
BOUNDLESS = 1 << 48
"""CPU or memory of a host where it is not counted."""
BAND_RATIO = 1.25
REMEMBERED = 8
HOURS = 24


def ints(count: int, value: int = 0) -> Ints:
    return np.full(count, value, np.int64)


def floats(count: int, value: float = 0.0) -> Floats:
    return np.full(count, value, np.float64)


def table(dtype: np.dtype[Any], columns: Mapping[str, Any]) -> Table:
    """Return a record array of these columns; those left out hold 0."""
    made = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, column in columns.items():
        made[name] = column
    return made.view(np.recarray)


JOB_BLANK: dict[str, Any] = {
    "estimate_s": np.nan,
    "home": -1,
    "asks_like": -1,
    "deadline_s": np.inf,
    "rate": 1.0,
    "site": -1,
    "started_s": np.nan,
    "first_start_s": np.nan,
    "expected_end_s": np.inf,
    "stale": 1,
    "slice_head": -1,
    "because_of": -1,
    "next_job": -1,
}


def jobs_table(submit_s: Floats, units: Ints, **columns: Any) -> Table:
    """Return a table of jobs still to come; columns left out hold "not said"."""
    kind = columns.get("kind", ints(len(submit_s)))
    earlier, later = neighbours(kind)
    rigid = {"nominal": units, "least": units, "most": units}
    return table(JOB, {"submit_s": submit_s, "units": units} | rigid | JOB_BLANK | columns | {"earlier": earlier, "later": later})


def neighbours(kind: Ints) -> tuple[Ints, Ints]:
    """Return for each job the one before and the one after it of the same kind, -1 where there is none."""
    earlier, later = ints(len(kind), -1), ints(len(kind), -1)
    if len(kind):
        by_kind = np.argsort(kind, kind="stable")
        same = kind[by_kind[1:]] == kind[by_kind[:-1]]
        earlier[by_kind[1:][same]] = by_kind[:-1][same]
        later[by_kind[:-1][same]] = by_kind[1:][same]
    return earlier, later


def most_running(jobs: Table, shapes: Sequence[SiteShape]) -> Ints:
    """Return how many jobs can run at once on each site."""
    capacity = np.array([sum(shape.node_units) for shape in shapes], np.int64)
    least = int(jobs.least.min(initial=1))
    return np.minimum(capacity // least, len(jobs)) if least > 0 else ints(len(shapes), len(jobs))


def sites_table(shapes: Sequence[SiteShape], blocks: Ints) -> Table:
    """Return a table of empty sites, with room for so many running jobs on each."""
    counts = np.array([len(shape.node_units) for shape in shapes], np.int64)
    capacity = np.array([sum(shape.node_units) for shape in shapes], np.int64)
    windows = np.array([len(shape.windows) for shape in shapes], np.int64)
    return table(
        SITE,
        {
            "lane": [shape.lane for shape in shapes],
            "capacity": capacity,
            "free": capacity,
            "up": ints(len(shapes), 1),
            "speed": [shape.speed for shape in shapes],
            "score": [shape.score for shape in shapes],
            "first_node": np.cumsum(counts) - counts,
            "node_count": counts,
            "node_size": [max(shape.node_units, default=0) for shape in shapes],
            "running_from": np.cumsum(blocks) - blocks,
            "host": host_rows(shapes),
            "unit_weight": [shape.unit_weight for shape in shapes],
            "device_units": [shape.device_units for shape in shapes],
            "first_window": np.cumsum(windows) - windows,
            "window_count": windows,
        },
    )


def host_rows(shapes: Sequence[SiteShape]) -> list[int]:
    """Return the row of each site's host: its own, or one that it shares by name."""
    rows: dict[str, int] = {}
    return [rows.setdefault(f"named {shape.host}" if shape.host else f"of {shape.name}", len(rows)) for shape in shapes]


def hosts_table(shapes: Sequence[SiteShape]) -> Table:
    """Return the hosts' CPU and memory, without bound where no row of a host states it."""
    rows = host_rows(shapes)
    cpu, memory = [BOUNDLESS] * len(set(rows)), [BOUNDLESS] * len(set(rows))
    for row, shape in reversed(list(zip(rows, shapes, strict=True))):
        cpu[row] = cpu[row] if shape.node_cpu_milli is None else sum(shape.node_cpu_milli)
        memory[row] = memory[row] if shape.node_memory_mib is None else sum(shape.node_memory_mib)
    return table(HOST, {"cpu_free": cpu, "memory_free": memory, "cpu": cpu, "memory": memory})


def windows_table(shapes: Sequence[SiteShape], queues: Sequence[QueueShape]) -> Table:
    """Return the windows of each site, by opening. Raises BadInput for one that ends before it opens, or of a queue not listed."""
    row = {None: -1} | {queue.name: index + 1 for index, queue in enumerate(queues)}
    made = []
    for shape in shapes:
        for window in in_order(shape.windows):
            if window.queue not in row or not window.from_s < window.to_s:
                what = f"A window of '{shape.name}' opens at {window.from_s:g} and ends at {window.to_s:g}, for the queue '{window.queue}'."
                raise BadInput(what, "Let it end after it opens, and name a queue that is listed.")
            units = sum(shape.node_units) if window.units is None else window.units
            made.append((window.from_s, window.to_s, units, row[window.queue]))
    return np.array(made, WINDOW).view(np.recarray)


def rates_until(shapes: Sequence[SiteShape], figure: str) -> Floats:
    """Return [site, hour] sums of an hourly rate from the clock's midnight on; 0 where a site states none."""
    until = np.zeros((len(shapes), HOURS + 1))
    for row, shape in enumerate(shapes):
        values = getattr(shape, figure) or (0.0,)
        if len(values) not in (1, HOURS):
            raise BadInput(f"'{shape.name}' gives {len(values)} values of {figure}.", "Give 1, or 24 by hour of the day.")
        until[row, 1:] = np.cumsum(np.broadcast_to(np.array(values, np.float64), HOURS))
    return until


def dearest(shapes: Sequence[SiteShape], figure: str) -> float:
    """Return the highest hourly rate of any site, 0 where none states one."""
    return max((max(getattr(shape, figure) or (0.0,)) for shape in shapes), default=0.0)


def constants(jobs: Table, shapes: Sequence[SiteShape]) -> tuple[float, float, float, float]:
    """Return the marks that do not change: the dearest hour, the dirtiest, the least unit weight, and 1 where some job asks no units."""
    fen, carbon = dearest(shapes, "fen_per_unit_h"), dearest(shapes, "kgco2_per_unit_h")
    return fen, carbon, min((shape.unit_weight for shape in shapes), default=1.0), float(jobs.least.min(initial=1) == 0)


def blocks_of(shapes: Sequence[SiteShape]) -> Ints:
    """Return the block of each node, counted from 0 within its site."""
    found = [np.unique(shape.node_block or (0,) * len(shape.node_units), return_inverse=True)[1] for shape in shapes]
    return np.concatenate([ints(0), *found]).astype(np.int64)


def packs_for(jobs: Table, shapes: Sequence[SiteShape], rule: str | None) -> tuple[Nodes, Packer | None]:
    """Return the nodes of all sites as the packing rules see them, and the rule with what it knows of the mix; none for no rule."""
    if rule is None:
        return nodes_of([], [], [], []), None
    from headwater.compute.scheduler import packing_kernel, packing_waste_kernel

    nodes = nodes_for(shapes)
    rows, jobs.asks_like[:] = shapes_asked(jobs, shapes)
    ahead = packing_waste_kernel.outlook(nodes, mix_of(rows))
    ahead = ahead._replace(order=order_by_site(nodes, shapes, rows))
    return nodes, packing_kernel.packer(RULES[rule], ahead, KEPT_SHAPES + 1, len(nodes.devices))


def nodes_for(shapes: Sequence[SiteShape]) -> Nodes:
    """Return the sites' nodes, one site after the other; what a site does not count is without bound."""
    cpu: list[int] = []
    memory: list[int] = []
    devices: list[int] = []
    for shape in shapes:
        count = len(shape.node_units)
        cpu += shape.node_cpu_milli or (BOUNDLESS,) * count
        memory += shape.node_memory_mib or (BOUNDLESS,) * count
        devices += [units // shape.device_units for units in shape.node_units]
    return nodes_of(cpu, memory, devices, [0] * len(devices))


def shapes_asked(jobs: Table, shapes: Sequence[SiteShape]) -> tuple[Ints, Ints]:
    """Return what each job asks of a node as rows of a packing mix, and each job's shape: the commonest ones have a number."""
    device = max((shape.device_units for shape in shapes), default=1)
    asked = np.zeros((len(jobs), 5), np.int64)
    asked[:, 0], asked[:, 1], asked[:, 4] = jobs.cpu_milli, jobs.memory_mib, -1
    asked[:, 2] = np.where((jobs.units > 0) & (jobs.units < device), 1, jobs.units // device)
    asked[:, 3] = np.minimum(jobs.units * WHOLE_MILLI // device, WHOLE_MILLI)
    _, row, counts = np.unique(asked, axis=0, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")[row.reshape(-1)]
    return asked, np.where(rank < KEPT_SHAPES, rank, -1)


def order_by_site(nodes: Nodes, shapes: Sequence[SiteShape], rows: Ints) -> Ints:
    """Return the order in which equal nodes are taken, site by site."""
    from headwater.compute.scheduler.packing_waste_kernel import tie_order

    mix, order, first = mix_of(rows), [ints(0)], 0
    for shape in shapes:
        part = nodes.reordered(np.arange(first, first + len(shape.node_units)))
        order.append(first + tie_order(part, mix))
        first += len(shape.node_units)
    return np.concatenate(order)


def lanes_table(jobs: Table, sites: Table) -> Table:
    """Return empty lanes, each with room for all its jobs."""
    count = int(max(jobs.lane.max(initial=0), sites.lane.max(initial=0))) + 1
    room = np.bincount(jobs.lane, minlength=count).astype(np.int64)
    first = np.cumsum(room) - room
    return table(LANE, {"begin": first, "end": first, "first": first, "limit": first + room})


def queues_table(shapes: Sequence[QueueShape]) -> Table:
    """Return the queue tree; row 0 is a root that holds all. Raises BadInput where a parent does not come before its children."""
    row: dict[str | None, int] = {None: 0}
    for index, shape in enumerate(shapes):
        if shape.parent not in row or shape.name in row:
            raise BadInput(f"The queue '{shape.name}' is listed twice, or before its parent '{shape.parent}'.", "List parents first.")
        row[shape.name] = index + 1
    return table(
        QUEUE,
        {
            "parent": [-1] + [row[shape.parent] for shape in shapes],
            "weight": [1.0] + [shape.weight for shape in shapes],
            "quota": [-1.0] + [-1.0 if shape.quota is None else shape.quota for shape in shapes],
            "may_borrow": [0] + [int(shape.may_borrow) for shape in shapes],
            "usage": [0.0] + [shape.usage for shape in shapes],
            "head": ints(len(shapes) + 1, -1),
            "tail": ints(len(shapes) + 1, -1),
        },
    )


def band_edges_s() -> Floats:
    """Return the bands of attained time: they grow by a quarter from 10 s to 10 million s; the last edge only closes the last band."""
    steps = int(np.log(1e6) / np.log(BAND_RATIO)) + 1
    return np.concatenate([[0.0], 10.0 * BAND_RATIO ** np.arange(steps), [1e12]])


def decisions_table(most: int) -> Decisions:
    return Decisions(length=ints(1), rows=table(DECISION, {"action": ints(most)}))


def most_decisions(state: State) -> int:
    """Return how many decisions one moment can bring: every place freed and taken again, and elastic jobs resized."""
    elastic = int((state.jobs.most > state.jobs.least).sum())
    return 2 * len(state.running) + 2 * elastic + 2


def state_of(
    jobs: Table,
    shapes: Sequence[SiteShape],
    queues: Sequence[QueueShape] = (),
    classes: Sequence[Needs] = (ANYTHING,),
    unknown_speed: UnknownSpeed = "declared",
    packing: str | None = None,
) -> State:
    """Return a state with empty lanes and nothing learned; a job's `cls` is its row in `classes`.

    `packing` names the rule by which nodes are chosen, where the policy packs.
    """
    blocks = most_running(jobs, shapes) + 1
    sites, nodes = sites_table(shapes, blocks), [units for shape in shapes for units in shape.node_units]
    kinds, edges = int(jobs.kind.max(initial=0)) + 1, band_edges_s()
    slices = int(min(sites.capacity.sum() + blocks.sum(), len(jobs) * int(sites.node_count.max(initial=1)))) + 1
    packs, packer = packs_for(jobs, shapes, packing)
    return State(
        jobs=jobs,
        sites=sites,
        node_free=np.array(nodes, np.int64),
        node_scratch=ints(len(nodes)),
        node_block=blocks_of(shapes),
        packs=packs,
        packs_scratch=packs.copy(),
        packer=packer,
        request=ints(5),
        slices=table(SLICE, {"next": np.append(np.arange(1, slices), -1)}),
        running=ints(int(blocks.sum()), -1),
        match=matrix(classes, shapes, unknown_speed=unknown_speed),
        hosts=hosts_table(shapes),
        windows=windows_table(shapes, queues),
        fen_until=rates_until(shapes, "fen_per_unit_h"),
        kgco2_until=rates_until(shapes, "kgco2_per_unit_h"),
        lanes=lanes_table(jobs, sites),
        order=ints(len(jobs), -1),
        scratch=ints(len(jobs) + 1),
        queues=queues_table(queues),
        bands=table(BAND, {"edge_s": edges}),
        kind_ended=np.zeros((kinds, len(edges) - 1)),
        kind_entered=np.zeros((kinds, len(edges) - 1)),
        history_s=np.zeros((kinds + 1, REMEMBERED)),
        history_count=ints(kinds + 1),
        marks=np.array([0.0, 0.0, 0.0, *constants(jobs, shapes)]),
    )
