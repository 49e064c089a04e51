"""A scheduling policy: a TOML file of named parts, checked whole, and what it means to the kernels.

    name = "easy"
    about = "First come, first served; later jobs fill gaps that cost the head nothing."
    [order]
    by = "fifo"
    [backfill]
    kind = "easy"
    [estimates]
    source = "user"

Every table may be left out. Unknown keys and contradictions are refused, all of them at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.compute.scheduler.shapes import SiteShape
from headwater.compute.scheduler.speeds import UnknownSpeed
from headwater.compute.scheduler.state import Floats, Rules
from headwater.core.errors import BadFile, BadInput, NotFound, Problem

OrderName = Literal[
    "fifo",
    "shortest",
    "smallest_area",
    "earliest_deadline",
    "priority",
    "least_attained",
    "shortest_remaining",
    "learned_index",
    "fair_share",
]
NodesName = Literal["count", "consolidated", "packed"]
PackingName = Literal["best-fit", "first-fit", "dot-product", "clustering", "packing", "fragmentation-gradient", "least-waste"]
BackfillName = Literal["none", "skip", "easy", "conservative"]
PreemptionName = Literal["never", "by_priority", "by_order", "by_share"]
EstimateSource = Literal["nothing", "user", "history", "exact"]
KIND = "policy"
PARTS = ("best_fit", "price", "carbon", "data", "time", "lateness", "topology", "fragmentation")
"""Weighed parts of a placement, in the order of `score_kernel`."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Order(_Part):
    """Which job goes first."""

    by: OrderName = "fifo"
    exponent: NotNegative = 1.0
    """How much a job's units count beside its time, in the orders that weigh both: 0 = time only, 1 = area."""
    levels_unit_s: tuple[Positive, ...] = ()
    """For `least_attained`: the service, in unit-seconds, at which a job falls to the next level."""
    hysteresis: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    """How many times better a waiting job must be than the running one it replaces."""
    siblings: Annotated[int, Field(ge=0, le=1000)] = 16
    most_slowdown: NotNegative = 0.0
    """Where jobs are stopped by order: one whose time since submission passes this many times its work so far (ten minutes at
    least) goes before all others, until it has fallen to half of that. Nobody starves. 0 = never."""
    alike: Literal["shape", "user_and_name"] = "user_and_name"
    """Which jobs speak for each other in what is learned: of the same pool and size, or also of the same tenant and name."""
    sibling_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    sibling_window_s: Positive = 1000.0
    prior: Positive = 0.1
    """For `learned_index`: how many like jobs, and how near in submission, speak for a job, against its whole kind."""


class Placement(_Part):
    """Where a job goes: how it lies on nodes, and which site is preferred: the lowest weighted sum, the first listed among equals."""

    nodes: NodesName = "count"
    packing: PackingName = "least-waste"
    """Where nodes are packed: the rule that chooses a node and its devices."""
    load_weight: float = 0.0
    """The part of the site in use: positive spreads jobs over sites, negative fills one after the other."""
    best_fit_weight: NotNegative = 0.0
    """The part of the site that would stay free."""
    price_weight: NotNegative = 0.0
    """What the units cost while the job stages and runs, over the same work at the dearest price: cheapest first."""
    carbon_weight: NotNegative = 0.0
    """The same for carbon."""
    data_weight: NotNegative = 0.0
    """Data gravity: the share of the job's time spent staging, and egress over the work at the dearest price."""
    time_weight: NotNegative = 0.0
    """Seconds from start to end for each second of the job's work: fast chips and near data first."""
    lateness_weight: NotNegative = 0.0
    """1 where the job would end after its deadline."""
    topology_weight: NotNegative = 0.0
    """Blocks (racks, switches) that the job would lie on beyond the first; on nodes it takes the fewest."""
    fragmentation_weight: NotNegative = 0.0
    """Where nodes matter: the units that its place would leave stranded, over those it asks."""
    unknown_speed: UnknownSpeed = "declared"
    """Where a job's speed on a chip is neither measured nor to be had from figures: the site's declared speed, or refuse the site."""

    def packing_rule(self) -> str | None:
        """Return the rule by which nodes are packed, or None where they are not."""
        return self.packing if self.nodes == "packed" else None

    def weights(self) -> Floats:
        """Return the weights in the order of `score_kernel`."""
        return np.array([getattr(self, f"{part}_weight") for part in PARTS], np.float64)


class Backfill(_Part):
    """Who may go ahead of a blocked job."""

    kind: BackfillName = "none"
    depth: Annotated[int, Field(ge=1)] = 1_000_000
    """How many blocked jobs one pass looks at."""


class Preemption(_Part):
    """Who may be stopped, and what a stop costs."""

    when: PreemptionName = "never"
    restart_s: NotNegative = 0.0
    """Seconds that a stopped job spends, units held, before its work goes on."""


class Estimates(_Part):
    """Where run times come from. `exact` needs a trace that knows them: the twin's yardstick, never production."""

    source: EstimateSource = "nothing"
    assume_s: Positive | None = None
    """Taken for a job without an estimate where a reservation, maintenance or a price lies ahead. None: it runs for ever; but where
    the policy stops jobs anyway it may start, and is stopped when a window opens."""


class Elastic(_Part):
    """What jobs that can run on a range of units get: whole ranges only change here, never by a job's own wish."""

    start: Literal["least", "most"] = "least"
    """A job starts with the fewest units it can use, or with as many of its range as are free."""
    grow: bool = False
    """Running jobs take up free units while nobody of their lane waits."""
    shrink: bool = False
    """Running jobs go down to their fewest units where that lets a blocked job start."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Holding x times its nominal units, a job works x to this power times as fast."""
    resize_s: NotNegative = 0.0
    """Seconds that a change of size costs a running job."""


class FairShare(_Part):
    half_life_s: NotNegative = 604800.0


class Policy(_Part):
    """A whole policy."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    about: str = ""
    order: Order = Order()
    placement: Placement = Placement()
    backfill: Backfill = Backfill()
    preemption: Preemption = Preemption()
    estimates: Estimates = Estimates()
    fair_share: FairShare = FairShare()
    elastic: Elastic = Elastic()

    def assumed_s(self) -> float:
        """Return the run time taken where none is known and something lies ahead: none at all where jobs can be stopped anyway."""
        if self.estimates.assume_s is not None:
            return float(self.estimates.assume_s)
        return np.inf if self.preemption.when == "never" else 0.0

    def rules(self) -> Rules:
        """Return the policy as the numbers that the kernels branch on."""
        order = self.order
        return Rules(
            order=get_args(OrderName).index(order.by),
            placement=get_args(NodesName).index(self.placement.nodes),
            backfill=get_args(BackfillName).index(self.backfill.kind),
            preemption=get_args(PreemptionName).index(self.preemption.when),
            depth=self.backfill.depth,
            load_weight=float(self.placement.load_weight),
            half_life_s=float(self.fair_share.half_life_s),
            exponent=float(order.exponent),
            hysteresis=float(order.hysteresis),
            siblings=order.siblings,
            sibling_decay=float(order.sibling_decay),
            sibling_window_s=float(order.sibling_window_s),
            prior=float(order.prior),
            most_slowdown=float(order.most_slowdown),
            predict=int(self.estimates.source == "history"),
            restart_s=float(self.preemption.restart_s),
            levels=np.array(order.levels_unit_s, np.float64),
            weights=self.placement.weights(),
            efficiency=float(self.elastic.efficiency),
            resize_s=float(self.elastic.resize_s),
            start_most=int(self.elastic.start == "most"),
            grow=int(self.elastic.grow),
            shrink=int(self.elastic.shrink),
            assume_s=self.assumed_s(),
            unplanned=int(not self.placement.weights().any()),
        )


class BadPolicy(BadFile):
    """A policy file is wrong; all its problems are listed at once."""

    code = "compute.bad_policy"


def check_figures(policy: Policy, sites: Sequence[SiteShape]) -> None:
    """Raise BadInput where the policy weighs a figure that a site does not state."""
    for part, figure in (("price", "fen_per_unit_h"), ("carbon", "kgco2_per_unit_h")):
        lacking = [site.name for site in sites if getattr(site, figure) is None]
        if lacking and getattr(policy.placement, f"{part}_weight") > 0:
            raise BadInput(f"The policy weighs {part}, and {figure} is not known for {', '.join(lacking[:5])}.", "State it, or weigh it 0.")
    shared = [site.name for site in sites if site.device_units > 1]
    if shared and policy.placement.nodes != "packed":
        what = f"{', '.join(shared[:5])} gives out shares of devices, and the policy does not look at devices."
        raise BadInput(what, 'Set placement.nodes to "packed", or count whole devices.')
    unpriced = [f"{link.place} to {site.name}" for site in sites for link in site.inbound if link.gib_per_s and link.fen_per_gib is None]
    if unpriced and policy.placement.data_weight > 0:
        raise BadInput(f"The policy weighs egress, and its price is not known from {unpriced[0]}.", "State it, or set data_weight to 0.")


def contradictions(policy: Policy) -> list[Problem]:
    """Return what no single key shows: parts that do not go together."""
    order, found = policy.order.by, []
    needs_estimate = order in ("shortest", "smallest_area", "shortest_remaining") or policy.backfill.kind in ("easy", "conservative")
    if needs_estimate and policy.estimates.source == "nothing":
        what = f"order '{order}' with backfill '{policy.backfill.kind}' needs run times, and the source is 'nothing'."
        found.append(Problem(where="estimates.source", what=what, hint="Use user, history or (in the twin) exact."))
    if order == "least_attained" and not policy.order.levels_unit_s:
        found.append(Problem(where="order.levels_unit_s", what="the order 'least_attained' needs levels.", hint="Try [3600.0, 36000.0]."))
    if list(policy.order.levels_unit_s) != sorted(set(policy.order.levels_unit_s)):
        found.append(Problem(where="order.levels_unit_s", what="levels do not rise.", hint="List them from the lowest up, each once."))
    if policy.preemption.when == "by_order" and policy.backfill.kind in ("easy", "conservative"):
        what = f"a policy that preempts by order makes no promises, so backfill '{policy.backfill.kind}' means nothing."
        found.append(Problem(where="backfill.kind", what=what, hint="Use skip."))
    if policy.order.most_slowdown > 0 and policy.preemption.when != "by_order":
        what = "most_slowdown works only where jobs are stopped by order."
        found.append(Problem(where="order.most_slowdown", what=what, hint="Set preemption.when to by_order, or leave it out."))
    if order == "fair_share" and (policy.preemption.when not in ("never", "by_share") or policy.backfill.kind == "conservative"):
        what = "fair_share goes with preemption 'never' or 'by_share' and backfill none, skip or easy."
        found.append(Problem(where="order.by", what=what, hint="Choose those, or another order."))
    when, on_nodes = policy.preemption.when, policy.placement.nodes != "count"
    if when in ("by_priority", "by_share") and policy.backfill.kind == "easy" and on_nodes:
        what = f"{when} with easy backfill keeps its promises in units, not on nodes."
        found.append(Problem(where="preemption.when", what=what, hint="Count units, or choose another backfill."))
    if (when in ("by_priority", "by_share") or policy.elastic.shrink) and policy.backfill.kind == "conservative":
        what = f"conservative backfill goes neither with preemption '{when}' nor with shrinking."
        found.append(Problem(where="preemption.when" if when != "never" else "elastic.shrink", what=what, hint="Use easy."))
    if (policy.elastic.grow or policy.elastic.shrink) and on_nodes:
        what = "a job keeps its place on nodes, so it neither grows nor shrinks there."
        found.append(Problem(where="placement.nodes", what=what, hint="Count units, or leave out elastic.grow and elastic.shrink."))
    if policy.elastic.shrink and when == "by_order":
        what = "a policy that preempts by order makes room by stopping."
        found.append(Problem(where="elastic.shrink", what=what, hint="Leave it out."))
    return found


def parse(text: str, where: str) -> Policy:
    """Return the policy in a TOML text. Raises BadPolicy with every problem in it."""
    try:
        return check(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise BadPolicy([Problem(where=where, what=f"not TOML: {error}.")], KIND) from error


def check(table: Mapping[str, Any], where: str) -> Policy:
    """Return the policy in a parsed table. Raises BadPolicy with every problem in it."""
    try:
        policy = Policy.model_validate(table)
    except ValidationError as error:
        problems = [Problem(where=f"{where}: {'.'.join(map(str, e['loc'])) or 'policy'}", what=f"{e['msg']}.") for e in error.errors()]
        raise BadPolicy(problems, KIND) from error
    if found := contradictions(policy):
        raise BadPolicy(found, KIND)
    return policy


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the names of the policies that come with Headwater."""
    folder = files("headwater.compute.scheduler") / "policies"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(name_or_path: str) -> Policy:
    """Return a shipped policy by name, or the one in a file. Raises NotFound, BadPolicy."""
    if name_or_path in shipped_names():
        text = (files("headwater.compute.scheduler") / "policies" / f"{name_or_path}.toml").read_text("utf-8")
        return parse(text, f"{name_or_path}.toml")
    path = Path(name_or_path)
    if not path.is_file():
        raise NotFound(f"There is no policy '{name_or_path}'.", f"Give a file, or one of: {', '.join(shipped_names())}.")
    return parse(path.read_text("utf-8"), str(path))
