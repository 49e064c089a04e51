"""How much each node wants a request, by published rules of packing (compiled).

One function a rule: a request and what a node has free, to a score, higher is better, for a node where the
request fits. `left` is the free milli of each device. Plain arrays and numbers, because a tuple of arrays is
dear to pass in an inner loop.
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

from headwater.compute.scheduler.compiled import compiled_allocating
from headwater.compute.scheduler.packing_state import CPU, DEVICES, MILLI, TYPES, WHOLE_MILLI, Floats, Ints

LARGEST_CPU_MILLI = 128_000
LARGEST_MILLI = 8 * WHOLE_MILLI


@compiled_allocating
def accepts(types: int, device_type: int) -> bool:
    """Whether a request for these types may use a device of that type."""
    return bool(types < 0 or (types >> device_type) & 1)


@compiled_allocating
def fits(request: Ints, cpu_milli: int, left: Ints, device_type: int) -> bool:
    """Whether there are the cores and enough devices with enough left; memory is looked at elsewhere."""
    if cpu_milli < request[CPU]:
        return False
    if request[DEVICES] == 0:
        return True
    if not accepts(request[TYPES], device_type):
        return False
    found = 0
    for free in left:
        found += free >= request[MILLI]
    return bool(found >= request[DEVICES])


@compiled_allocating
def is_share(request: Ints) -> bool:
    """Whether the request asks for part of one device."""
    return bool(request[DEVICES] == 1 and request[MILLI] < WHOLE_MILLI)


@compiled_allocating
def kind_of(request: Ints) -> int:
    """The request's column of `Nodes.running`: 0 no device, 1 a share, 1 + n whole devices."""
    return 1 if is_share(request) else int(request[DEVICES] + 1 if request[DEVICES] else 0)


@compiled_allocating
def total_of(left: Ints) -> int:
    """The milli over all devices."""
    total = 0
    for free in left:
        total += free
    return total


@compiled_allocating
def whole_devices(left: Ints, count: int) -> int:
    """The first `count` wholly free devices, as a bit mask."""
    mask = 0
    for device in range(len(left)):
        if count and left[device] == WHOLE_MILLI:
            mask |= 1 << device
            count -= 1
    return mask


@compiled_allocating
def tightest_device(left: Ints, milli: int) -> int:
    """The device with the least left that still has `milli`, the first among equals; -1 for none."""
    best = -1
    for device in range(len(left)):
        if left[device] >= milli and (best < 0 or left[device] < left[best]):
            best = device
    return best


@compiled_allocating
def dot_product(request: Ints, cpu_milli: int, left: Ints) -> float:
    """The less the free room looks like the request (over CPU and devices), the better."""
    cpu = cpu_milli / LARGEST_CPU_MILLI * (request[CPU] / LARGEST_CPU_MILLI)
    devices = total_of(left) / LARGEST_MILLI * (request[DEVICES] * request[MILLI] / LARGEST_MILLI)
    return float(int(100 * (1 - (cpu + devices) / 2)))


@compiled_allocating
def clustering(request: Ints, left: Ints, running: Ints) -> float:
    """Nodes that run only requests of this kind first, then with others, then empty ones, then the rest."""
    if request[DEVICES] == 0:
        return 0.0
    kinds = 0
    for count in running:
        kinds += count > 0
    fullness = 25 * (LARGEST_MILLI - total_of(left)) // LARGEST_MILLI
    if running[kind_of(request)] > 0:
        return float(fullness + (75 if kinds == 1 else 50))
    return float(fullness + (25 if kinds == 0 else 0))


@compiled_allocating
def packing(request: Ints, left: Ints) -> float:
    """Devices in use first, then free devices of nodes in use, then free nodes, the smaller first."""
    if request[DEVICES] == 0:
        return 0.0
    whole = 0
    for free in left:
        whole += free == WHOLE_MILLI
    if whole == len(left):
        return float(max(33 - whole, whole))
    if not is_share(request):
        return float(max(50 - request[DEVICES], 33))
    free = left[tightest_device(left, request[MILLI])]
    return 49.0 if free == WHOLE_MILLI else float(max(100 - free * 100 // WHOLE_MILLI // 10, 50))


@compiled_allocating
def best_fit(request: Ints, cpu_milli: int, left: Ints) -> float:
    """The less room stays free, the better."""
    cpu = (cpu_milli - request[CPU]) / LARGEST_CPU_MILLI
    devices = (total_of(left) - request[DEVICES] * request[MILLI]) / LARGEST_MILLI
    return float(int((1 - 0.5 * cpu - 0.5 * devices) * 100))


@compiled_allocating
def rescale(scores: Floats) -> None:
    """Stretch the finite scores to 0 .. 100 in whole numbers, as the best-fit rule's source does."""
    low, high = np.inf, -np.inf
    for score in scores:
        if score > -np.inf:
            low, high = min(low, score), max(high, score)
    for node in range(len(scores)):
        if scores[node] > -np.inf:
            scores[node] = float(int(scores[node] - low) * 100 // int(high - low)) if high > low else 0.0


@compiled_allocating
def fragmentation(cpu_milli: int, left: Ints, device_type: int, shapes: Ints, shares: Floats) -> float:
    """Milli of a node that a request drawn from the mix could not use, on average (ATC 2023, section 3.2).

    All of it counts for a shape that does not fit, and for shapes
    without devices, as in the source's program; of a shape that fits, what lies on devices with too little.
    """
    total = total_of(left)
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


@compiled_allocating
def gradient_score(before: float, after: float) -> float:
    """The fall in fragmentation as a whole number from 0 to 100, through the source's sigmoid."""
    return float(int(100 / (1 + math.exp(-(before - after) / WHOLE_MILLI))))


@compiled_allocating
def fragmentation_gradient(request: Ints, cpu_milli: int, left: Ints, device_type: int, shapes: Ints, shares: Floats) -> tuple[float, int]:
    """The score of the placement that lowers fragmentation most, and its devices. `left` is used as scratch."""
    before = fragmentation(cpu_milli, left, device_type, shapes, shares)
    cpu_milli -= request[CPU]
    if not is_share(request):
        mask = whole_devices(left, request[DEVICES])
        for device in range(len(left)):
            if (mask >> device) & 1:
                left[device] = 0
        return gradient_score(before, fragmentation(cpu_milli, left, device_type, shapes, shares)), mask
    best, chosen = -1.0, 0
    for device in range(len(left)):
        if left[device] >= request[MILLI] and not seen_before(left, device):
            left[device] -= request[MILLI]
            score = gradient_score(before, fragmentation(cpu_milli, left, device_type, shapes, shares))
            left[device] += request[MILLI]
            if score > best:
                best, chosen = score, 1 << device
    return best, chosen


@compiled_allocating
def seen_before(left: Ints, device: int) -> bool:
    """Whether an earlier device has as much left: it would score the same."""
    other = 0
    while left[other] != left[device]:
        other += 1
    return other < device
