"""Where a job can run on the nodes of a Ray: on one of them, or over several as a gang. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater.compute.engines.ray_client import GIB, RayNode
from headwater.compute.work import Capacity
from headwater.core.errors import BadInput
from headwater.core.steps import Resources

SPREAD, PACK = "STRICT_SPREAD", "PACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """A placement group: its strategy, and for each bundle what it holds by Ray's resource names (memory in bytes)."""

    strategy: str
    bundles: tuple[Mapping[str, float], ...]


def capacity_of(nodes: Sequence[RayNode]) -> Capacity:
    """Return the sum over nodes that are up."""
    return Capacity(
        cpus=sum(node.cpus for node in nodes), memory_gib=sum(node.memory_gib for node in nodes), accelerators=_accelerators(nodes)
    )


def most_on_a_node(nodes: Sequence[RayNode], chip: str) -> int:
    """Return how many accelerators of a chip the node with most has."""
    return max((node.accelerators.get(chip, 0) for node in nodes), default=0)


def gang_for(asked: Resources, nodes: Sequence[RayNode]) -> Gang | None:
    """Return the gang of a job that asks for more accelerators of a chip than any node has; None for one that fits on a node.

    Where enough nodes have an equal share, each holds one bundle with it; else every accelerator is a bundle, on as few nodes as
    Ray finds. CPUs and memory are shared among the bundles equally. Raises BadInput where neither can ever be.
    """
    wanted = {chip: count for chip, count in asked.accelerators.items() if count > 0}
    large = {chip for chip, count in wanted.items() if count > most_on_a_node(nodes, chip)}
    if not large:
        if not any(_holds(node, asked.cpus, asked.memory_gib, wanted) for node in nodes):
            raise BadInput("No node of the Ray cluster has all that the job asks for.", _hint(nodes))
        return None
    if len(wanted) > 1:
        raise BadInput("A job over several nodes has accelerators of one chip.", f"Ask for one of {', '.join(sorted(wanted))}.")
    [(chip, count)] = wanted.items()
    if count > _accelerators(nodes).get(chip, 0):
        raise BadInput(f"The Ray cluster has {_accelerators(nodes).get(chip, 0)} of '{chip}', the job asks for {count}.", _hint(nodes))
    ranks = math.ceil(count / most_on_a_node(nodes, chip))
    shares = [count // ranks + (rank < count % ranks) for rank in range(ranks)]
    if sum(_holds(node, asked.cpus / ranks, asked.memory_gib / ranks, {chip: shares[0]}) for node in nodes) >= ranks:
        return Gang(strategy=SPREAD, bundles=tuple(_bundle(asked, chip, share, ranks) for share in shares))
    return Gang(strategy=PACK, bundles=(_bundle(asked, chip, 1, count),) * count)


def _bundle(asked: Resources, chip: str, share: int, bundles: int) -> Mapping[str, float]:
    return {"CPU": asked.cpus / bundles, "memory": math.ceil(asked.memory_gib * GIB / bundles), chip: share}


def _holds(node: RayNode, cpus: float, memory_gib: float, accelerators: Mapping[str, int]) -> bool:
    enough = all(node.accelerators.get(chip, 0) >= count for chip, count in accelerators.items())
    return enough and node.cpus >= cpus and node.memory_gib >= memory_gib


def _accelerators(nodes: Sequence[RayNode]) -> dict[str, int]:
    found: dict[str, int] = {}
    for node in nodes:
        for chip, count in node.accelerators.items():
            found[chip] = found.get(chip, 0) + count
    return found


def _hint(nodes: Sequence[RayNode]) -> str:
    """Say what the nodes have, at most a few."""
    told = [
        ", ".join([f"{node.cpus:g} CPUs", f"{node.memory_gib:.1f} GiB", *(f"{n} {chip}" for chip, n in sorted(node.accelerators.items()))])
        for node in nodes
    ]
    return f"Ask for less. Its nodes have: {'; '.join(sorted(set(told))[:5]) or 'nothing, none is up'}."
