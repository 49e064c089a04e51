"""Our packing rule: place each request where it adds least to the accelerator time expected to be wasted.

For one device with so many milli and so many cores left, the waste that is to be expected at the end has a
closed recursion over the mix of requests: the next request that fits is drawn by its share and leaves a
smaller device; with a small chance nothing more comes, and all that is left is wasted. The table of it is
computed once a mix. A node's expected waste is that of its devices, each with its part of the node's free
cores; a placement costs the rise in waste, and a little for using a type of device that other requests insist
on. Costs are rounded, and among equals the nodes have an order of their own: small ones first. The rule knows
the mix and the nodes, never the requests to come.

This is one step of policy improvement on "take what comes" (Bertsekas, Reinforcement Learning and Optimal
Control, section 2.4). The constants were set on the OpenB default list and its variants with seeds 1 to 8.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from headwater.compute.scheduler.compiled import compiled_allocating, compiled_entry
from headwater.compute.scheduler.packing_rules_kernel import is_share, seen_before, total_of, whole_devices
from headwater.compute.scheduler.packing_state import CPU, DEVICES, MILLI, TYPES, WHOLE_MILLI, Floats, Ints, Mix, Nodes

STEP_MILLI = 10
STEP_CPU_MILLI = 1000
STEPS_MILLI = WHOLE_MILLI // STEP_MILLI + 1
STEPS_CPU = 129
"""Cores for one device beyond 128 are worth no more than 128."""

END_CHANCE = 0.01
"""Weight of "nothing more comes" against one request of the mix."""
SELECTIVITY_MILLI = 1000.0
"""A shape that would waste this much comes e times more seldom: a good dispatcher sends it elsewhere."""
ROUND_MILLI = 30.0
"""Costs are rounded down to multiples of this, so that near-equals are taken in order and large nodes stay whole."""
PRESSURE_MILLI = 250.0
"""Cost of a whole device of a type, times the part of its capacity that other requests insist on."""
POPULARITY = 0.95
"""The fragmentation rule knows the shapes that make up this part of the mix (the source's default)."""


class Outlook(NamedTuple):
    """What the rules know of the future: made from a mix and the nodes, and good as long as these hold."""

    shapes: Ints
    shares: Floats
    """The typical shapes, for the fragmentation rule."""
    waste_milli: Floats
    """[milli left / 10, cores]: expected waste of one device."""
    pressure_milli: Floats
    """By device type: cost of a whole device."""
    order: Ints
    """Nodes, the one to take first among equals first."""


def outlook(nodes: Nodes, mix: Mix) -> Outlook:
    """Return the outlook for these nodes and this mix; an empty mix gives a rule that only keeps order."""
    typical = mix.typical(POPULARITY)
    shapes, shares = device_shapes(mix)
    return Outlook(
        shapes=typical.shapes,
        shares=typical.shares,
        waste_milli=expected_waste(shapes, shares),
        pressure_milli=PRESSURE_MILLI * pressure(nodes, mix),
        order=tie_order(nodes, mix),
    )


def device_shapes(mix: Mix) -> tuple[Ints, Floats]:
    """Return (milli-cores, milli) of each device that the mix asks for, and how many of them a request brings."""
    asking = mix.shapes[mix.shapes[:, DEVICES] > 0]
    shares = mix.shares[mix.shapes[:, DEVICES] > 0]
    per_device = np.stack([asking[:, CPU] // asking[:, DEVICES], asking[:, MILLI]], axis=1)
    return per_device, shares * asking[:, DEVICES]


@compiled_entry
def expected_waste(shapes: Ints, shares: Floats) -> Floats:
    """The table of the expected waste of a device by milli and cores left."""
    table = np.zeros((STEPS_MILLI, STEPS_CPU))
    for milli in range(1, STEPS_MILLI):
        for cores in range(STEPS_CPU):
            wasted, weight = END_CHANCE * milli * STEP_MILLI, END_CHANCE
            for shape in range(len(shares)):
                cpu, asked = shapes[shape, 0], -(-shapes[shape, 1] // STEP_MILLI)
                if asked <= milli and cpu <= cores * STEP_CPU_MILLI:
                    after = table[milli - asked, cores + -cpu // STEP_CPU_MILLI]
                    chance = shares[shape] * math.exp(-after / SELECTIVITY_MILLI)
                    wasted += chance * after
                    weight += chance
            table[milli, cores] = wasted / weight
    return table


def pressure(nodes: Nodes, mix: Mix) -> Floats:
    """Return, by device type, how much of the demand that insists on types falls on it, over its capacity.

    1 means: at a load that fills the fleet, such demand alone would fill the type. Demand that takes several
    types is spread over them by capacity.
    """
    capacity = np.bincount(nodes.device_type, weights=nodes.devices, minlength=int(nodes.device_type.max(initial=0)) + 1)
    demand = mix.shapes[:, DEVICES] * mix.shapes[:, MILLI] * mix.shares
    felt = np.zeros(len(capacity))
    for types in np.unique(mix.shapes[:, TYPES]):
        wanted = np.array([types >= 0 and bool((int(types) >> kind) & 1) for kind in range(len(capacity))])
        if capacity[wanted].sum() > 0:
            felt[wanted] += demand[mix.shapes[:, TYPES] == types].sum() / capacity[wanted].sum()
    return np.asarray(felt * (capacity.sum() / max(float(demand.sum()), 1e-12)))


def tie_order(nodes: Nodes, mix: Mix) -> Ints:
    """Return the nodes in the order in which equals are taken; how the node list is ordered hardly matters.

    Where cores are scarcer than devices, nodes with few cores a device first, to keep cores together;
    else small nodes first, to keep large ones whole for gangs.
    """
    cores = nodes.cpu_milli / np.maximum(nodes.devices, 1)
    fleet = nodes.cpu_milli.sum() / max(nodes.devices.sum(), 1)
    keys = (nodes.devices, cores) if mix.cpu_per_device > fleet else (cores, nodes.devices)
    return np.lexsort(keys).astype(np.int64)


@compiled_allocating
def device_waste(table: Floats, milli: int, cpu_milli: float) -> float:
    """The table's value, linear between cores."""
    row = table[milli // STEP_MILLI]
    cores = cpu_milli / STEP_CPU_MILLI
    if cores >= STEPS_CPU - 1:
        return float(row[STEPS_CPU - 1])
    whole = int(cores)
    return float(row[whole] * (1 + whole - cores) + row[whole + 1] * (cores - whole))


@compiled_allocating
def node_waste(table: Floats, cpu_milli: int, left: Ints) -> float:
    """The expected waste of a node's devices, each with its part of the cores."""
    total = total_of(left)
    wasted = 0.0
    for free in left:
        if free > 0:
            wasted += device_waste(table, free, cpu_milli * free / total)
    return wasted


@compiled_allocating
def least_waste(request: Ints, cpu_milli: int, left: Ints, table: Floats, type_milli: float) -> tuple[float, int]:
    """Minus what the best placement on a node costs, in steps of ROUND_MILLI, and its devices as bits. `left` is scratch.

    `type_milli` is the cost of a whole device of the node's type.
    """
    cost = type_milli * request[DEVICES] * request[MILLI] / WHOLE_MILLI - node_waste(table, cpu_milli, left)
    cpu_milli -= request[CPU]
    if not is_share(request):
        mask = whole_devices(left, request[DEVICES])
        for device in range(len(left)):
            if (mask >> device) & 1:
                left[device] = 0
        return -math.floor((cost + node_waste(table, cpu_milli, left)) / ROUND_MILLI), mask
    least, chosen = np.inf, 0
    for device in range(len(left)):
        if left[device] >= request[MILLI] and not seen_before(left, device):
            left[device] -= request[MILLI]
            wasted = node_waste(table, cpu_milli, left)
            left[device] += request[MILLI]
            if wasted < least:
                least, chosen = wasted, 1 << device
    return -math.floor((cost + least) / ROUND_MILLI), chosen
