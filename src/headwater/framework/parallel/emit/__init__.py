"""A plan as the configuration of a training tool. Each tool is one file here, or an entry point `headwater.plan_tools`.

A tool says which layouts it can run (`may`), so that the best of those is found, and writes one as text. What the text
cannot say exactly is said in its comments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files

from headwater.core.errors import NotFound
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Plan
from headwater.framework.parallel.predict import shard_ranks
from headwater.framework.parallel.search import PlanSet
from headwater.framework.parallel.space import Mask, Space
from headwater.framework.program.model_spec import ModelSpec

GROUP = "headwater.plan_tools"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A training tool: which layouts it can run, and how one is written for it."""

    name: str
    versions: str
    """The versions whose keys were read."""
    may: Callable[[Space], Mask]
    text: Callable[[ModelSpec, Fleet, Plan], str]


def tools() -> tuple[str, ...]:
    """Return the names of the tools."""
    here = (one.name.removesuffix(".py") for one in files(__name__).iterdir() if one.name.endswith(".py"))
    return tuple(sorted({*(name for name in here if name != "__init__"), *entry_points(group=GROUP).names}))


def tool_of(name: str) -> Tool:
    """Return a tool by name. Raises NotFound with the names that are known."""
    if name not in tools():
        raise NotFound(f"No tool '{name[:40]}' to write plans for.", f"Known: {', '.join(tools())}.")
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    tool = found.load() if found is not None else import_module(f"{__name__}.{name}").TOOL
    assert isinstance(tool, Tool)
    return tool


def emitted(plans: PlanSet, tool: Tool) -> str:
    """Return the best plan of a set that was found with `tool.may` as the tool's configuration."""
    best = plans.best
    estimate = best.estimate
    head = (
        f"# {plans.spec.name} on {best.fleet.name}: {best.plan.name}\n"
        f"# predicted {estimate.step_s:.3g} s a step [{estimate.low_s:.3g}, {estimate.high_s:.3g}], "
        f"{estimate.fullest.total_gib:.0f} of {estimate.fullest.capacity_gib:.0f} GiB; keys of {tool.name} {tool.versions}\n"
    )
    return head + tool.text(plans.spec, best.fleet, best.plan)


def shards(plan: Plan, fleet: Fleet) -> tuple[int, int]:
    """Return (replicas, ranks that share one set of states) over the data and context ranks."""
    ranks = plan.dp * plan.cp
    size = shard_ranks(ranks, plan.tp, plan.scope == "node", fleet)
    return ranks // size, size


def even(plan: Plan) -> bool:
    """Tell whether all stages hold equally many layers."""
    return len({stage.layers for stage in plan.stages}) == 1


def partly_recomputed(plan: Plan) -> bool:
    """Tell whether some layers are recomputed and others are not."""
    return 0 < sum(stage.recomputed for stage in plan.stages) < plan.layers


def chunk_layers(plan: Plan) -> list[int]:
    """Return the layers of every chunk: all stages' first virtual stages, then their second; a remainder goes to the first."""
    turns = range(plan.vp)
    return [stage.layers // plan.vp + (1 if turn < stage.layers % plan.vp else 0) for turn in turns for stage in plan.stages]
