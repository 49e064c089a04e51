"""Score every node for a request, choose one, take it, and replay a stream of requests (compiled).

The one place that knows all rules by number. `packing.py` is the way in for everybody else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headwater.compute.scheduler.compiled import compiled_allocating, compiled_entry
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


class Seen(NamedTuple):
    """Scores that still hold, because their node has not changed since."""

    score: Floats
    devices: Ints
    version: Ints
    """[shape, node]: `current` of the node when it was scored."""
    current: Ints
    """Of each node, how often it changed."""


class Packer(NamedTuple):
    """A rule, what it knows of the future, and what it remembers."""

    rule: int
    ahead: Outlook
    seen: Seen


def packer(rule: int, ahead: Outlook, shapes: int, nodes: int) -> Packer:
    """Return a packer that remembers nothing yet, for so many shapes of request."""
    table = (shapes, nodes)
    seen = Seen(np.empty(table), np.empty(table, np.int64), np.full(table, -1, np.int64), np.zeros(nodes, np.int64))
    return Packer(rule, ahead, seen)


RANDOM, DOT_PRODUCT, CLUSTERING, PACKING, BEST_FIT, FIRST_FIT, FRAGMENTATION_GRADIENT, LEAST_WASTE = range(8)


@compiled_allocating
def score_node(rule: int, request: Ints, nodes: Nodes, node: int, ahead: Outlook) -> tuple[float, int]:
    """The score of a node, memory apart, and the devices if the rule itself chooses them, else 0."""
    cpu, kind = nodes.cpu_free_milli[node], nodes.device_type[node]
    left = nodes.device_free_milli[node, : nodes.devices[node]]
    if not fits(request, cpu, left, kind):
        return -np.inf, 0
    if rule == LEAST_WASTE:
        return least_waste(request, cpu, left.copy(), ahead.waste_milli, ahead.pressure_milli[kind])
    if rule == FRAGMENTATION_GRADIENT:
        return fragmentation_gradient(request, cpu, left.copy(), kind, ahead.shapes, ahead.shares)
    if rule == DOT_PRODUCT:
        return dot_product(request, cpu, left), 0
    if rule == CLUSTERING:
        return clustering(request, left, nodes.running[node]), 0
    if rule == PACKING:
        return packing(request, left), 0
    if rule == BEST_FIT:
        return best_fit(request, cpu, left), 0
    return 0.0, 0


FORGET = -1
"""The number of a shape whose scores are not kept."""


@compiled_entry
def score_nodes(packer: Packer, request: Ints, shape: int, nodes: Nodes, first: int, count: int) -> Floats:
    """Scores of `count` nodes from `first` on, minus infinity where the request does not fit; `shape` is its number in the memory."""
    seen = packer.seen
    scores = np.empty(count)
    for at in range(count):
        node = first + at
        if shape == FORGET or seen.version[shape, node] != seen.current[node]:
            seen.version[shape, node] = seen.current[node]
            seen.score[shape, node], seen.devices[shape, node] = score_node(packer.rule, request, nodes, node, packer.ahead)
        room = nodes.memory_free_mib[node] >= request[MEMORY]
        scores[at] = seen.score[shape, node] if room else -np.inf
    if packer.rule == BEST_FIT:
        rescale(scores)
    return scores


@compiled_allocating
def choose_node(rule: int, scores: Floats, order: Ints, first: int, draw: float) -> int:
    """The best of the nodes from `first` on, or -1. Among equals the first in the rule's order; the random rule takes a random one.

    Published rules take the first of the node list, as their source does; ours has an order of its own.
    """
    best, top, equals = -1, -np.inf, 0
    for place in range(first, first + len(scores)):
        node = order[place] if rule == LEAST_WASTE else place
        score = scores[node - first]
        if score > top:
            best, top, equals = node, score, 1
        elif score == top and top > -np.inf:
            equals += 1
    if rule != RANDOM or best < 0:
        return best
    skip = int(draw * equals)
    for node in range(first, first + len(scores)):
        if scores[node - first] == top:
            if skip == 0:
                return node
            skip -= 1
    return best


@compiled_allocating
def choose_devices(rule: int, request: Ints, left: Ints, draw: float) -> int:
    """The devices of a node for a rule that does not choose them: the tightest, or a random one that has room."""
    if request[DEVICES] == 0:
        return 0
    if not is_share(request):
        return whole_devices(left, request[DEVICES])
    if rule != RANDOM:
        return 1 << tightest_device(left, request[MILLI])
    room = 0
    for free in left:
        room += free >= request[MILLI]
    skip = int(draw * room)
    for device in range(len(left)):
        if left[device] >= request[MILLI]:
            if skip == 0:
                return 1 << device
            skip -= 1
    return 0


@compiled_entry
def move(request: Ints, nodes: Nodes, node: int, devices: int, sign: int) -> None:
    """Take (sign 1) or give back (-1) a request's room on a node, in place."""
    nodes.cpu_free_milli[node] -= sign * request[CPU]
    nodes.memory_free_mib[node] -= sign * request[MEMORY]
    for device in range(nodes.devices[node]):
        if (devices >> device) & 1:
            nodes.device_free_milli[node, device] -= sign * request[MILLI]
    if request[DEVICES]:
        nodes.running[node, kind_of(request)] += sign


@compiled_allocating
def choose_on(packer: Packer, request: Ints, shape: int, nodes: Nodes, first: int, count: int, draw: Floats) -> tuple[int, int]:
    """The same, among `count` nodes from `first` on."""
    scores = score_nodes(packer, request, shape, nodes, first, count)
    node = choose_node(packer.rule, scores, packer.ahead.order, first, draw[0])
    if node < 0:
        return -1, 0
    if packer.seen.devices[shape, node]:
        return node, packer.seen.devices[shape, node]
    return node, choose_devices(packer.rule, request, nodes.device_free_milli[node, : nodes.devices[node]], draw[1])


@compiled_entry
def choose(packer: Packer, request: Ints, shape: int, nodes: Nodes, draw: Floats) -> tuple[int, int]:
    """The node (-1: none) and the devices as bits."""
    return choose_on(packer, request, shape, nodes, 0, len(nodes.devices), draw)


@compiled_entry
def replay(packer: Packer, requests: Ints, shapes: Ints, nodes: Nodes, draws: Floats) -> tuple[Ints, Ints]:
    """Place requests one after another on `nodes`, in place; return each one's node (-1: none) and devices."""
    chosen, held = np.full(len(requests), -1, np.int64), np.zeros(len(requests), np.int64)
    for at in range(len(requests)):
        node, devices = choose(packer, requests[at], shapes[at], nodes, draws[at])
        if node >= 0:
            move(requests[at], nodes, node, devices, 1)
            packer.seen.current[node] += 1
            chosen[at], held[at] = node, devices
    return chosen, held
