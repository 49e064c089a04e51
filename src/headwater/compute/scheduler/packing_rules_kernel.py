"""How much each node wants a request, by published rules of packing (compiled).

One function a rule: (request, nodes, node) to a score, higher is better, for a node where the request fits.
The published figures come from a Kubernetes simulator that rounds every score to a whole number from 0 to
100; the rounding decides many ties, so it is part of the rule and kept here.

Sources: dot product, Tetris (Grandl et al., SIGCOMM 2014); clustering, Gandiva (Xiao et al., OSDI 2018);
device packing, MLaaS in the wild (Weng et al., NSDI 2022); best fit and first fit, classic, best fit with
the weights of Protean (Hadary et al., OSDI 2020); fragmentation gradient descent, Weng et al., ATC 2023.
The simulator is hkust-adsl/kubernetes-scheduler-simulator, whose defaults (largest node 128 cores and 8
devices, weights 0.5) are the constants here.
"""

from __future__ import annotations

import math

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.packing_state import CPU, DEVICES, MEMORY, MILLI, TYPES, WHOLE_MILLI, Floats, Ints, Nodes

LARGEST_CPU_MILLI = 128_000
LARGEST_MILLI = 8 * WHOLE_MILLI


@compiled
def accepts(types: int, device_type: int) -> bool:
    """Whether a request for these types may use a device of that type."""
    return bool(types < 0 or (types >> device_type) & 1)


@compiled
def fits(request: Ints, nodes: Nodes, node: int) -> bool:
    """Whether the node has the CPU, the memory and enough devices with enough left."""
    if nodes.cpu_free_milli[node] < request[CPU] or nodes.memory_free_mib[node] < request[MEMORY]:
        return False
    if request[DEVICES] == 0:
        return True
    if not accepts(request[TYPES], nodes.device_type[node]):
        return False
    found = 0
    for device in range(nodes.devices[node]):
        if nodes.device_free_milli[node, device] >= request[MILLI]:
            found += 1
    return bool(found >= request[DEVICES])


@compiled
def is_share(request: Ints) -> bool:
    """Whether the request asks for part of one device."""
    return bool(request[DEVICES] == 1 and request[MILLI] < WHOLE_MILLI)


@compiled
def kind_of(request: Ints) -> int:
    """The request's column of `Nodes.running`: 0 no device, 1 a share, 1 + n whole devices."""
    return 1 if is_share(request) else int(request[DEVICES] + 1 if request[DEVICES] else 0)


@compiled
def free_milli(nodes: Nodes, node: int) -> int:
    """Free milli over the node's devices."""
    total = 0
    for device in range(nodes.devices[node]):
        total += nodes.device_free_milli[node, device]
    return total


@compiled
def whole_devices(nodes: Nodes, node: int, count: int) -> int:
    """The first `count` wholly free devices, as a bit mask."""
    mask = 0
    for device in range(nodes.devices[node]):
        if count and nodes.device_free_milli[node, device] == WHOLE_MILLI:
            mask |= 1 << device
            count -= 1
    return mask


@compiled
def tightest_device(nodes: Nodes, node: int, milli: int) -> int:
    """The device with the least left that still has `milli`, the first among equals; -1 for none."""
    best = -1
    for device in range(nodes.devices[node]):
        left = nodes.device_free_milli[node, device]
        if left >= milli and (best < 0 or left < nodes.device_free_milli[node, best]):
            best = device
    return best


@compiled
def dot_product(request: Ints, nodes: Nodes, node: int) -> float:
    """The less the free room looks like the request (over CPU and devices), the better."""
    cpu = nodes.cpu_free_milli[node] / LARGEST_CPU_MILLI * (request[CPU] / LARGEST_CPU_MILLI)
    devices = free_milli(nodes, node) / LARGEST_MILLI * (request[DEVICES] * request[MILLI] / LARGEST_MILLI)
    return float(int(100 * (1 - (cpu + devices) / 2)))


@compiled
def clustering(request: Ints, nodes: Nodes, node: int) -> float:
    """Nodes that run only requests of this kind first, then with others, then empty ones, then the rest."""
    if request[DEVICES] == 0:
        return 0.0
    kinds = 0
    for kind in range(nodes.running.shape[1]):
        kinds += nodes.running[node, kind] > 0
    fullness = 25 * (LARGEST_MILLI - free_milli(nodes, node)) // LARGEST_MILLI
    if nodes.running[node, kind_of(request)] > 0:
        return float(fullness + (75 if kinds == 1 else 50))
    return float(fullness + (25 if kinds == 0 else 0))


@compiled
def packing(request: Ints, nodes: Nodes, node: int) -> float:
    """Devices in use first, then free devices of nodes in use, then free nodes, the smaller first."""
    if request[DEVICES] == 0:
        return 0.0
    whole = 0
    for device in range(nodes.devices[node]):
        whole += nodes.device_free_milli[node, device] == WHOLE_MILLI
    if whole == nodes.devices[node]:
        return float(max(33 - whole, whole))
    if not is_share(request):
        return float(max(50 - request[DEVICES], 33))
    left = nodes.device_free_milli[node, tightest_device(nodes, node, request[MILLI])]
    return 49.0 if left == WHOLE_MILLI else float(max(100 - left * 100 // WHOLE_MILLI // 10, 50))


@compiled
def best_fit(request: Ints, nodes: Nodes, node: int) -> float:
    """The less room stays free, the better."""
    cpu = (nodes.cpu_free_milli[node] - request[CPU]) / LARGEST_CPU_MILLI
    devices = (free_milli(nodes, node) - request[DEVICES] * request[MILLI]) / LARGEST_MILLI
    return float(int((1 - 0.5 * cpu - 0.5 * devices) * 100))


@compiled
def rescale(scores: Floats) -> None:
    """Stretch the finite scores to 0 .. 100 in whole numbers, as the best-fit rule's source does."""
    low, high = np.inf, -np.inf
    for score in scores:
        if score > -np.inf:
            low, high = min(low, score), max(high, score)
    for node in range(len(scores)):
        if scores[node] > -np.inf:
            scores[node] = float(int(scores[node] - low) * 100 // int(high - low)) if high > low else 0.0


@compiled
def fragmentation(cpu_milli: int, left: Ints, device_type: int, shapes: Ints, shares: Floats) -> float:
    """Milli of a node that a request drawn from the mix could not use, on average (ATC 2023, section 3.2).

    `left` is the free milli of each device. All of it counts for a shape that does not fit, and for shapes
    without devices, as in the source's program; of a shape that fits, what lies on devices with too little.
    """
    total = 0
    for free in left:
        total += free
    if total == 0:
        return 0.0
    lost = 0.0
    for shape in range(len(shares)):
        wanted, milli = shapes[shape, DEVICES], shapes[shape, MILLI]
        usable, rest = 0, 0
        for free in left:
            if free >= milli:
                usable += 1
            else:
                rest += free
        hosts = wanted > 0 and usable >= wanted and cpu_milli >= shapes[shape, CPU] and accepts(shapes[shape, TYPES], device_type)
        lost += shares[shape] * (rest if hosts else total)
    return lost


@compiled
def gradient_score(before: float, after: float) -> float:
    """The fall in fragmentation as a whole number from 0 to 100, through the source's sigmoid."""
    return float(int(100 / (1 + math.exp(-(before - after) / WHOLE_MILLI))))


@compiled
def fragmentation_gradient(request: Ints, nodes: Nodes, node: int, shapes: Ints, shares: Floats) -> tuple[float, int]:
    """The score of the placement that lowers fragmentation most, and its devices."""
    left = nodes.device_free_milli[node, : nodes.devices[node]].copy()
    kind, cpu = nodes.device_type[node], nodes.cpu_free_milli[node]
    before = fragmentation(cpu, left, kind, shapes, shares)
    if not is_share(request):
        mask = whole_devices(nodes, node, request[DEVICES])
        for device in range(len(left)):
            if (mask >> device) & 1:
                left[device] = 0
        return gradient_score(before, fragmentation(cpu - request[CPU], left, kind, shapes, shares)), mask
    best, chosen = -1.0, 0
    for device in range(len(left)):
        if left[device] >= request[MILLI] and not seen_before(left, device):
            left[device] -= request[MILLI]
            score = gradient_score(before, fragmentation(cpu - request[CPU], left, kind, shapes, shares))
            left[device] += request[MILLI]
            if score > best:
                best, chosen = score, 1 << device
    return best, chosen


@compiled
def seen_before(left: Ints, device: int) -> bool:
    """Whether an earlier device has as much left: it would score the same."""
    other = 0
    while left[other] != left[device]:
        other += 1
    return other < device
