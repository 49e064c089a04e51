"""The scheduler's state as arrays: jobs, sites and queues, one row each.

Here are the tables' columns; `tables.py` makes them, and the rules that read them are in the `*_kernel` modules. Named
tuples of NumPy arrays, because compiled code takes them as they are; a table is built once and its
columns change in place only inside one decision (`decide.decide` works on a copy).
Times are seconds on one clock; a unit is the smallest amount given out, as in `shapes.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.compute.scheduler.packing_state import Nodes

if TYPE_CHECKING:
    from headwater.compute.scheduler.packing_kernel import Packer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COMING, WAITING, RUNNING, FINISHED = 0, 1, 2, 3

# Why a job is where it is; the words are in `why.py`.
NOT_ASKED, STARTED, NO_ROOM, NO_NODE, BEHIND_HEAD, DELAYS_HEAD, OVER_QUOTA, TOO_LARGE, OUTRANKED, BACKFILLED, BEYOND_DEPTH = range(11)
NOWHERE, NO_HOST_ROOM, BEFORE_WINDOW, WINDOW_OPENED, RECLAIMED, MADE_SMALLER, MADE_LARGER = range(11, 18)

START, STOP, RESIZE = 1, 2, 3


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
    ("asks_like", N),  # its number among equal requests of a node, or -1 where scores of nodes are not kept for it
    ("cls", N),  # its row of the matrix class by site
    ("cpu_milli", N), ("memory_mib", N),  # of the host
    # the request
    ("lane", N), ("submit_s", F),
    ("estimate_s", F),  # what the policy may know of the run time on a speed-1 chip; NaN where it knows nothing
    ("priority", F), ("deadline_s", F),
    ("kind", N),  # class of like jobs, for what is learned from history
    ("earlier", N), ("later", N),  # the neighbours in submission order of the same kind, or -1
    ("input_gib", F),
    ("nominal", N),  # the units that its run times are for; `units` is what it asks or holds now
    ("least", N), ("most", N),  # the range of an elastic job; equal for all others
    ("checkpoint_s", F),  # seconds of work between checkpoints; 0 = one can be taken whenever the job is stopped
    # the run so far
    ("attained_s", F),  # work done by settled_s, in seconds on a speed-1 chip
    ("settled_s", F),
    ("rate", F),  # work done in a second, as it runs now
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
    ("host", N), ("unit_weight", F), ("device_units", N),
    ("first_window", N), ("window_count", N),
])  # fmt: skip

HOST = np.dtype([("cpu_free", N), ("memory_free", N), ("cpu", N), ("memory", N)])
WINDOW = np.dtype([("from_s", F), ("to_s", F), ("units", N), ("queue", N)])  # queue -1: nobody's

SLICE = np.dtype([("node", N), ("units", N), ("devices", N), ("next", N)])
LANE = np.dtype([("begin", N), ("end", N), ("first", N), ("limit", N), ("ranked", N)])
"""`ranked`: how often the lane was ranked since every index in it was computed anew."""

QUEUE = np.dtype([
    ("parent", N), ("weight", F),
    ("quota", F),  # normalised units that may run at once, -1 for no limit
    ("may_borrow", N), ("held", F),
    ("usage", F),  # average units held, halved every half-life
    ("head", N), ("tail", N), ("waiting", N),  # its own jobs, as a list; how many wait in its subtree
    ("looked", N), ("left", N),  # the pass under way: the last job stepped over, how many are still to look at
])  # fmt: skip

BAND = np.dtype([("edge_s", F), ("ended", F), ("entered", F)])
DECISION = np.dtype([("action", N), ("job", N), ("site", N)])

SLICE_SPARE, USAGE_SETTLED_S, NOW_S, FEN_MOST, KGCO2_MOST, LEAST_WEIGHT, ASKS_NONE = range(7)

Table = Any
"""A record array: one row a thing, columns by attribute."""


class State(NamedTuple):
    """All tables that a decision reads."""

    jobs: Table
    sites: Table
    node_free: Ints
    node_scratch: Ints
    node_block: Ints
    """The rack or switch of each node, counted from 0 within its site."""
    packs: Nodes
    """The nodes with their CPU, memory and devices, where jobs are packed; else none."""
    packs_scratch: Nodes
    packer: Packer | None
    request: Ints
    """Work space: what a job asks of one node."""
    slices: Table
    """The nodes that running jobs hold, as linked lists; unused ones hang on marks[SLICE_SPARE]."""
    running: Ints
    """Running jobs of each site by expected end."""
    match: Table
    """[class, site]: who may run where, how fast, and what data costs to bring."""
    hosts: Table
    windows: Table
    """Reservations and maintenance, site by site, by opening."""
    fen_until: Floats
    """[site, hour]: what a unit costs from the clock's midnight until that hour; 24 hours."""
    kgco2_until: Floats
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
    weights: Floats
    """How much each part of a site's score counts: see `score_kernel.py`."""
    efficiency: float
    """An elastic job holding x times its nominal units works x to this power times as fast."""
    resize_s: float
    start_most: int
    grow: int
    shrink: int
    assume_s: float
    """Run time taken for a job without an estimate where a window or a price is looked at; infinity for "for ever"."""
    unplanned: int
    """1 where no part of the score but load and the site's own is weighed."""


class Decisions(NamedTuple):
    """What one decision says to do: the first `length[0]` rows, in order."""

    length: Ints
    rows: Table
