"""Score every node for a request, choose one, take it, and replay a stream of requests (compiled).

The one place that knows all rules by number. `packing.py` is the way in for everybody else.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.packing_rules_kernel import (
    best_fit,
    clustering,
    dot_product,
    fits,
    fragmentation_gradient,
    is_share,
    kind_of,
    packing,
    rescale,
    tightest_device,
    whole_devices,
)
from headwater.compute.scheduler.packing_state import CPU, DEVICES, MEMORY, MILLI, Floats, Ints, Nodes
from headwater.compute.scheduler.packing_waste_kernel import Outlook, least_waste

RANDOM, DOT_PRODUCT, CLUSTERING, PACKING, BEST_FIT, FIRST_FIT, FRAGMENTATION_GRADIENT, LEAST_WASTE = range(8)


@compiled
def score_node(rule: int, request: Ints, nodes: Nodes, node: int, ahead: Outlook) -> tuple[float, int]:
    """The score of a node where the request fits, and the devices if the rule itself chooses them, else 0."""
    if rule == LEAST_WASTE:
        return least_waste(request, nodes, node, ahead)
    if rule == FRAGMENTATION_GRADIENT:
        return fragmentation_gradient(request, nodes, node, ahead.shapes, ahead.shares)
    if rule == DOT_PRODUCT:
        return dot_product(request, nodes, node), 0
    if rule == CLUSTERING:
        return clustering(request, nodes, node), 0
    if rule == PACKING:
        return packing(request, nodes, node), 0
    if rule == BEST_FIT:
        return best_fit(request, nodes, node), 0
    return 0.0, 0


@compiled
def score_nodes(rule: int, request: Ints, nodes: Nodes, ahead: Outlook, scores: Floats, devices: Ints) -> None:
    """Fill `scores` (minus infinity where the request does not fit) and `devices`."""
    for node in range(len(scores)):
        scores[node], devices[node] = -np.inf, 0
        if fits(request, nodes, node):
            scores[node], devices[node] = score_node(rule, request, nodes, node, ahead)
    if rule == BEST_FIT:
        rescale(scores)


@compiled
def choose_node(rule: int, scores: Floats, order: Ints, draw: float) -> int:
    """The best node or -1. Among equals the first in the rule's order; the random rule takes a random one.

    Published rules take the first of the node list, as their source does; ours has an order of its own.
    """
    best, top, equals = -1, -np.inf, 0
    for place in range(len(scores)):
        node = order[place] if rule == LEAST_WASTE else place
        if scores[node] > top:
            best, top, equals = node, scores[node], 1
        elif scores[node] == top and top > -np.inf:
            equals += 1
    if rule != RANDOM or best < 0:
        return best
    skip = int(draw * equals)
    for node in range(len(scores)):
        if scores[node] == top:
            if skip == 0:
                return node
            skip -= 1
    return best


@compiled
def choose_devices(rule: int, request: Ints, nodes: Nodes, node: int, draw: float) -> int:
    """The devices of a node for a rule that does not choose them: the tightest, or a random one that has room."""
    if request[DEVICES] == 0:
        return 0
    if not is_share(request):
        return whole_devices(nodes, node, request[DEVICES])
    if rule != RANDOM:
        return 1 << tightest_device(nodes, node, request[MILLI])
    room = 0
    for device in range(nodes.devices[node]):
        room += nodes.device_free_milli[node, device] >= request[MILLI]
    skip = int(draw * room)
    for device in range(nodes.devices[node]):
        if nodes.device_free_milli[node, device] >= request[MILLI]:
            if skip == 0:
                return 1 << device
            skip -= 1
    return 0


@compiled
def move(request: Ints, nodes: Nodes, node: int, devices: int, sign: int) -> None:
    """Take (sign 1) or give back (-1) a request's room on a node, in place."""
    nodes.cpu_free_milli[node] -= sign * request[CPU]
    nodes.memory_free_mib[node] -= sign * request[MEMORY]
    for device in range(nodes.devices[node]):
        if (devices >> device) & 1:
            nodes.device_free_milli[node, device] -= sign * request[MILLI]
    if request[DEVICES]:
        nodes.running[node, kind_of(request)] += sign


@compiled
def replay(rule: int, requests: Ints, draws: Floats, nodes: Nodes, ahead: Outlook) -> tuple[Ints, Ints]:
    """Place requests one after another on `nodes`, in place; return each one's node (-1: none) and devices."""
    chosen, held = np.full(len(requests), -1, np.int64), np.zeros(len(requests), np.int64)
    scores, devices = np.empty(len(nodes.devices)), np.empty(len(nodes.devices), np.int64)
    for at in range(len(requests)):
        request = requests[at]
        score_nodes(rule, request, nodes, ahead, scores, devices)
        node = choose_node(rule, scores, ahead.order, draws[at, 0])
        if node < 0:
            continue
        mask = devices[node] if devices[node] else choose_devices(rule, request, nodes, node, draws[at, 1])
        move(request, nodes, node, mask, 1)
        chosen[at], held[at] = node, mask
    return chosen, held
