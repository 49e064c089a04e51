"""What a cluster may give to jobs, and under which names its nodes offer a chip. Pure: objects in, figures out.

Device plug-ins offer a resource of their vendor's, and often one for all models of it (`nvidia.com/gpu`). A node's chip is then
told by its labels: `headwater/chip`, which an operator sets, or the one that the vendor's feature discovery leaves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headwater.compute.catalogue.chips import Chip, chips
from headwater.compute.work import Capacity
from headwater.core.errors import BadInput

CHIP_LABEL = "headwater/chip"
GIB = 1 << 30
UNITS: Mapping[str, float] = {
    "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}  # fmt: skip
CLOSING = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """How jobs get a chip: the resource to ask for, and the node labels, any one of which a node must have; none: any node with it."""

    resource: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the nodes have in all, and how each of their chips is asked for."""

    capacity: Capacity
    offers: Mapping[str, Offer] = field(default_factory=dict)


def quantity(text: object) -> float:
    """Return a Kubernetes quantity, such as `64Gi`, `3920m` or `1e3`, as a number; 0 for what is none."""
    found = re.fullmatch(r"\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)\s*", str(text))
    return float(found[1]) * UNITS[found[2]] if found and found[2] in UNITS else 0.0


def cluster_of(nodes: Sequence[Mapping[str, Any]]) -> Cluster:
    """Return the sum over the nodes that are ready and take jobs, with their chips by the names that jobs ask for."""
    cpus = memory = 0.0
    counts: dict[str, int] = {}
    labels: dict[str, set[tuple[str, str] | None]] = {}
    resources: dict[str, str] = {}
    known = {one.software.kubernetes_resource for one in chips()}
    for node in filter(_takes_jobs, nodes):
        there = node["status"].get("allocatable") or {}
        cpus += quantity(there.get("cpu", 0))
        memory += quantity(there.get("memory", 0)) / GIB
        for resource in sorted(name for name in known & set(there) if quantity(there[name]) > 0):
            chip, label = _chip_of(resource, node["metadata"].get("labels") or {})
            counts[chip] = counts.get(chip, 0) + int(quantity(there[resource]))
            labels.setdefault(chip, set()).add(label)
            resources[chip] = resource
    offers = {
        chip: Offer(resource=resource, labels=() if None in labels[chip] else tuple(sorted(one for one in labels[chip] if one)))
        for chip, resource in resources.items()
    }
    return Cluster(capacity=Capacity(cpus=cpus, memory_gib=memory, accelerators=counts), offers=offers)


def within_quota(cluster: Cluster, queue: Mapping[str, Any]) -> Capacity:
    """Return what a ClusterQueue lets jobs have of the nodes: the lesser of its nominal quota and what is there.

    What the quota does not name is as the nodes have it. Where no node can be seen, the quota is all that is known.
    """
    quota: dict[str, float] = {}
    for group in queue["spec"].get("resourceGroups") or ():
        for flavor in group["flavors"]:
            for one in flavor["resources"]:
                quota[one["name"]] = quota.get(one["name"], 0.0) + quantity(one["nominalQuota"])
    there = cluster.capacity
    if not there.cpus:
        named = {name: int(count) for name, count in quota.items() if "/" in name}
        return Capacity(cpus=quota.get("cpu", 0.0), memory_gib=quota.get("memory", 0.0) / GIB, accelerators=named)
    return Capacity(
        cpus=min(there.cpus, quota.get("cpu", there.cpus)),
        memory_gib=min(there.memory_gib, quota.get("memory", there.memory_gib * GIB) / GIB),
        accelerators={chip: int(min(n, quota.get(cluster.offers[chip].resource, n))) for chip, n in there.accelerators.items()},
    )


def offer_of(chip: str, offers: Mapping[str, Offer]) -> Offer:
    """Return how a chip is asked for, where no node offers it now by the catalogue's name for it. Raises BadInput for an unknown chip."""
    if chip in offers:
        return offers[chip]
    known = next((one for one in chips() if chip in (_type(one), one.id, one.software.kubernetes_resource)), None)
    if known is not None:
        return Offer(resource=known.software.kubernetes_resource)
    there = ", ".join(sorted(offers)) or "none"
    raise BadInput(f"No chip '{chip[:80]}' is in this cluster or in the catalogue.", f"Chips here: {there}.")


def _takes_jobs(node: Mapping[str, Any]) -> bool:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    # A taint named after the node's own accelerator keeps other jobs off it; jobs that ask for the accelerator tolerate it.
    closed = [one for one in spec.get("taints") or () if one["effect"] in CLOSING and one["key"] not in (status.get("allocatable") or {})]
    return ready and not spec.get("unschedulable") and not closed


def _chip_of(resource: str, labels: Mapping[str, str]) -> tuple[str, tuple[str, str] | None]:
    """Return the name that jobs ask for, and the label that tells it, if one does; the resource's own name where nothing tells."""
    if labels.get(CHIP_LABEL):
        return labels[CHIP_LABEL], (CHIP_LABEL, labels[CHIP_LABEL])
    offered = {_type(one) for one in chips() if one.software.kubernetes_resource == resource}
    if len(offered) == 1:
        return offered.pop(), None
    domain = resource.partition("/")[0]
    for name, value in sorted(labels.items()):
        words = set(re.split(r"[^a-z0-9]+", value.lower()))
        if name.startswith(f"{domain}/") and (told := sorted(words & offered)):
            return told[-1], (name, value)
    return resource, None


def _type(chip: Chip) -> str:
    return chip.software.slurm_gres.rpartition(":")[2]
