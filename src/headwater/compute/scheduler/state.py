"""The scheduler's state as arrays: jobs, sites and queues, one row each.

Here are the tables and how to make them. The rules that read them are in the `*_kernel` modules. Named
tuples of NumPy arrays, because compiled code takes them as they are; a table is built once and its
columns change in place only inside one decision (`decide.decide` works on a copy).
Times are seconds on one clock; units are whole accelerators (or cores, where a pool counts cores).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COMING, WAITING, RUNNING, FINISHED = 0, 1, 2, 3

# Why a job is where it is; the words are in `why.py`.
NOT_ASKED, STARTED, NO_ROOM, NO_NODE, BEHIND_HEAD, DELAYS_HEAD, OVER_QUOTA, TOO_LARGE, OUTRANKED, BACKFILLED, BEYOND_DEPTH = range(11)

START, STOP = 1, 2


F, N = np.float64, np.int64

JOB = np.dtype([
    # what every pass looks at, side by side in memory: first what a job that is stepped over needs
    ("units", N), ("queue", N),
    ("next_job", N),  # the one behind it in its queue
    ("reason", N),
    ("because_of", N),  # the job or queue that the reason speaks of
    ("home", N),  # the only site allowed, or -1 for any site of the lane
    ("state", N), ("key", F),
    ("site", N),
    ("stale", N),  # 1 where the key is out of date though the job did not run
    ("served", N),  # the site that the pass under way serves the job on, or -1
    # the request
    ("lane", N), ("submit_s", F),
    ("estimate_s", F),  # what the policy may know of the run time on a speed-1 chip; NaN where it knows nothing
    ("priority", F), ("deadline_s", F),
    ("kind", N),  # class of like jobs, for what is learned from history
    ("earlier", N), ("later", N),  # the neighbours in submission order of the same kind, or -1
    ("input_gib", F), ("input_site", N),
    ("checkpoint_s", F),  # seconds of work between checkpoints; 0 = one can be taken whenever the job is stopped
    # the run so far
    ("attained_s", F),  # work done by settled_s, in seconds on a speed-1 chip
    ("settled_s", F),
    ("overhead_s", F),  # stage-in and restart time still to be spent before work goes on
    ("expected_end_s", F), ("started_s", F), ("first_start_s", F), ("starts", N), ("lost_s", F), ("slice_head", N),
    # what was learned
    ("band", N), ("index", F),
])  # fmt: skip

SITE = np.dtype([
    ("lane", N), ("capacity", N), ("free", N), ("up", N), ("speed", F),
    ("score", F),  # what a placement prefers to be low: weighted price, carbon and the like
    ("first_node", N), ("node_count", N), ("node_size", N),
    ("running_from", N), ("running_count", N),  # the site's block of State.running
    ("spare", N),  # work space
])  # fmt: skip

SLICE = np.dtype([("node", N), ("units", N), ("next", N)])
LANE = np.dtype([("begin", N), ("end", N), ("first", N), ("limit", N), ("ranked", N)])
"""`ranked`: how often the lane was ranked since every index in it was computed anew."""

QUEUE = np.dtype([
    ("parent", N), ("weight", F),
    ("quota", N),  # units that may run at once, -1 for no limit
    ("may_borrow", N), ("held", N),
    ("usage", F),  # average units held, halved every half-life
    ("head", N), ("tail", N), ("waiting", N),  # its own jobs, as a list; how many wait in its subtree
    ("looked", N), ("left", N),  # the pass under way: the last job stepped over, how many are still to look at
])  # fmt: skip

BAND = np.dtype([("edge_s", F), ("ended", F), ("entered", F)])
DECISION = np.dtype([("action", N), ("job", N), ("site", N)])

SLICE_SPARE, USAGE_SETTLED_S, NOW_S = range(3)

Table = Any
"""A record array: one row a thing, columns by attribute."""


class State(NamedTuple):
    """All tables that a decision reads."""

    jobs: Table
    sites: Table
    node_free: Ints
    node_scratch: Ints
    slices: Table
    """The nodes that running jobs hold, as linked lists; unused ones hang on marks[SLICE_SPARE]."""
    running: Ints
    """Running jobs of each site by expected end."""
    link_gib_per_s: Floats
    """[from, to]; infinite where staging costs no time."""
    lanes: Table
    """A lane is a group of sites that share one queue; lanes never lend to each other."""
    order: Ints
    """Each lane's jobs in order, in its own block."""
    scratch: Ints
    queues: Table
    """The tree of organisations, projects and users; row 0 is the root, parents come before children."""
    bands: Table
    """Bands of attained time: over all jobs, how many entered each and how many ended in it."""
    kind_ended: Floats
    kind_entered: Floats
    history_s: Floats
    """Run times of the latest finished jobs, [kind, place]; the last row is for all kinds together."""
    history_count: Ints
    marks: Floats


class Rules(NamedTuple):
    """A policy as numbers: what the kernels branch on. Made by `policy.Policy.rules`."""

    order: int
    placement: int
    backfill: int
    preemption: int
    depth: int
    load_weight: float
    half_life_s: float
    exponent: float
    hysteresis: float
    siblings: int
    sibling_decay: float
    sibling_window_s: float
    prior: float
    predict: int
    """1 where estimates come from history when a job arrives."""
    restart_s: float
    most_slowdown: float
    """0 for none; else a job past this slowdown goes first, from the longest waiting on."""
    levels: Floats
    """Unit-seconds of service at which a job falls to the next level."""


class Decisions(NamedTuple):
    """What one decision says to do: the first `length[0]` rows, in order."""

    length: Ints
    rows: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteShape:
    """A site as the scheduler sees it: nodes by size, a lane, a speed and a placement score."""

    name: str
    node_units: tuple[int, ...]
    lane: int = 0
    speed: float = 1.0
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueShape:
    """A node of the queue tree. `parent` names another queue, or None for the root."""

    name: str
    parent: str | None = None
    weight: float = 1.0
    quota: int | None = None
    may_borrow: bool = True


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
    "deadline_s": np.inf,
    "input_site": -1,
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
    return table(JOB, {"submit_s": submit_s, "units": units} | JOB_BLANK | columns | {"earlier": earlier, "later": later})


def neighbours(kind: Ints) -> tuple[Ints, Ints]:
    """Return for each job the one before and the one after it of the same kind, -1 where there is none."""
    earlier, later = ints(len(kind), -1), ints(len(kind), -1)
    if len(kind):
        by_kind = np.argsort(kind, kind="stable")
        same = kind[by_kind[1:]] == kind[by_kind[:-1]]
        earlier[by_kind[1:][same]] = by_kind[:-1][same]
        later[by_kind[:-1][same]] = by_kind[1:][same]
    return earlier, later


def sites_table(shapes: Sequence[SiteShape], most_jobs: int) -> Table:
    """Return a table of empty sites, with room for `most_jobs` running jobs on each."""
    counts = np.array([len(shape.node_units) for shape in shapes], np.int64)
    capacity = np.array([sum(shape.node_units) for shape in shapes], np.int64)
    blocks = np.minimum(capacity, most_jobs) + 1
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
        },
    )


def lanes_table(jobs: Table, sites: Table) -> Table:
    """Return empty lanes, each with room for all its jobs."""
    count = int(max(jobs.lane.max(initial=0), sites.lane.max(initial=0))) + 1
    room = np.bincount(jobs.lane, minlength=count).astype(np.int64)
    first = np.cumsum(room) - room
    return table(LANE, {"begin": first, "end": first, "first": first, "limit": first + room})


def queues_table(shapes: Sequence[QueueShape]) -> Table:
    """Return the queue tree; row 0 is a root that holds all. Parents must come before children."""
    row = {shape.name: index + 1 for index, shape in enumerate(shapes)}
    return table(
        QUEUE,
        {
            "parent": [-1] + [row[shape.parent] if shape.parent is not None else 0 for shape in shapes],
            "weight": [1.0] + [shape.weight for shape in shapes],
            "quota": [-1] + [-1 if shape.quota is None else shape.quota for shape in shapes],
            "may_borrow": [0] + [int(shape.may_borrow) for shape in shapes],
            "head": ints(len(shapes) + 1, -1),
            "tail": ints(len(shapes) + 1, -1),
        },
    )


BAND_RATIO = 1.25
REMEMBERED = 8


def band_edges_s() -> Floats:
    """Return the bands of attained time: they grow by a quarter from 10 s to 10 million s; the last edge only closes the last band."""
    steps = int(np.log(1e6) / np.log(BAND_RATIO)) + 1
    return np.concatenate([[0.0], 10.0 * BAND_RATIO ** np.arange(steps), [1e12]])


def decisions_table(most: int) -> Decisions:
    return Decisions(length=ints(1), rows=table(DECISION, {"action": ints(most)}))


def state_of(jobs: Table, shapes: Sequence[SiteShape], queues: Sequence[QueueShape] = ()) -> State:
    """Return a state with empty lanes and nothing learned."""
    sites, nodes = sites_table(shapes, len(jobs)), [units for shape in shapes for units in shape.node_units]
    kinds, edges = int(jobs.kind.max(initial=0)) + 1, band_edges_s()
    slices = int(min(sites.capacity.sum(), len(jobs) * int(sites.node_count.max(initial=1)))) + 1
    return State(
        jobs=jobs,
        sites=sites,
        node_free=np.array(nodes, np.int64),
        node_scratch=ints(len(nodes)),
        slices=table(SLICE, {"next": np.append(np.arange(1, slices), -1)}),
        running=ints(int((np.minimum(sites.capacity, len(jobs)) + 1).sum()), -1),
        link_gib_per_s=np.full((len(sites), len(sites)), np.inf),
        lanes=lanes_table(jobs, sites),
        order=ints(len(jobs), -1),
        scratch=ints(len(jobs) + 1),
        queues=queues_table(queues),
        bands=table(BAND, {"edge_s": edges}),
        kind_ended=np.zeros((kinds, len(edges) - 1)),
        kind_entered=np.zeros((kinds, len(edges) - 1)),
        history_s=np.zeros((kinds + 1, REMEMBERED)),
        history_count=ints(kinds + 1),
        marks=floats(3),
    )
