"""Which node, and which devices of it, a request for shares or cards gets, so that little is left over.

Pure: nodes, a request and an outlook in, a placement out. The replay of an experiment and the live scheduler
call the same compiled rules. Every rule is work-conserving: a request that fits somewhere is placed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from headwater.compute.scheduler.packing_state import (
    CPU,
    DEVICES,
    MILLI,
    TYPES,
    WHOLE_MILLI,
    Floats,
    Ints,
    Mix,
    Nodes,
    Request,
    check,
    mix_of,
)
from headwater.core.errors import NotFound

if TYPE_CHECKING:
    from headwater.compute.scheduler.packing_waste_kernel import Outlook

LEAST_WASTE = "least-waste"

RULES: Mapping[str, int] = MappingProxyType(
    {
        "random": 0,
        "dot-product": 1,
        "clustering": 2,
        "packing": 3,
        "best-fit": 4,
        "first-fit": 5,
        "fragmentation-gradient": 6,
        LEAST_WASTE: 7,
    }
)
"""The rules by name; the numbers are those of `packing_kernel`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A node and the devices of it, by number."""

    node: int
    devices: tuple[int, ...]

    @property
    def mask(self) -> int:
        """The devices as bits."""
        return sum(1 << device for device in self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of a stream of requests."""

    requests: Ints
    node: Ints
    """By request: its node, or -1."""
    devices: Ints
    """By request: its devices as bits."""
    capacity_milli: int

    @property
    def allocated(self) -> Floats:
        """The part of all devices in use after each request."""
        milli = self.requests[:, DEVICES] * self.requests[:, MILLI]
        return np.asarray(np.cumsum(np.where(self.node >= 0, milli, 0)) / self.capacity_milli)

    @property
    def arrived(self) -> Floats:
        """The devices asked for so far, over all devices."""
        return np.asarray(np.cumsum(self.requests[:, DEVICES] * self.requests[:, MILLI]) / self.capacity_milli)

    def allocated_at(self, arrived: float) -> float:
        """The part in use when that much has arrived."""
        seen = int(np.searchsorted(self.arrived, arrived, side="right"))
        return float(self.allocated[seen - 1]) if seen else 0.0


def outlook(nodes: Nodes, mix: Mix) -> Outlook:
    """Return what the rules need to know of the future, from the mix that is declared or was seen so far.

    Takes milliseconds: make one when the mix or the fleet changes, not for each request.
    """
    from headwater.compute.scheduler import packing_waste_kernel

    return packing_waste_kernel.outlook(nodes, mix)


def score(nodes: Nodes, request: Request, ahead: Outlook, *, rule: str = LEAST_WASTE) -> Floats:
    """Return how much each node wants the request, higher is better; minus infinity where it does not fit.

    Raises NotFound for a rule that does not exist, BadInput for a request that none covers.
    """
    from headwater.compute.scheduler import packing_kernel as kernel

    packer = kernel.packer(_number(rule), ahead, 1, len(nodes.devices))
    return kernel.score_nodes(packer, _row(request), 0, nodes, 0, len(nodes.devices))


def place(
    nodes: Nodes, request: Request, ahead: Outlook, *, rule: str = LEAST_WASTE, draw: tuple[float, float] = (0.0, 0.0)
) -> Placement | None:
    """Return where the request goes, or None where it fits nowhere. The nodes are not changed.

    `draw` are two numbers from [0, 1) that the random rule chooses by. Raises as `score`.
    """
    from headwater.compute.scheduler import packing_kernel as kernel

    packer = kernel.packer(_number(rule), ahead, 1, len(nodes.devices))
    node, mask = kernel.choose(packer, _row(request), 0, nodes, np.array(draw))
    if node < 0:
        return None
    return Placement(node=int(node), devices=tuple(device for device in range(int(nodes.devices[node])) if int(mask) >> device & 1))


def occupied(nodes: Nodes, request: Request, placement: Placement) -> Nodes:
    """Return the nodes with the request on them."""
    return _moved(nodes, request, placement, 1)


def vacated(nodes: Nodes, request: Request, placement: Placement) -> Nodes:
    """Return the nodes without the request."""
    return _moved(nodes, request, placement, -1)


def replay(nodes: Nodes, requests: Ints, ahead: Outlook, draws: Floats, *, rule: str = LEAST_WASTE) -> Replay:
    """Return what becomes of requests that come one after another and stay. `nodes` are not changed.

    `draws` is [request, 2] from [0, 1). Raises as `score`.
    """
    return _replayed(nodes, requests, draws, [(len(requests), ahead)], rule)


def replay_learning(nodes: Nodes, requests: Ints, draws: Floats, *, rule: str = LEAST_WASTE) -> Replay:
    """Return the same for a rule that is told nothing: its mix is what has arrived so far.

    It is counted anew when history has grown by a quarter, and at least every 500 requests.
    """
    steps, until = [], 0
    while until < len(requests):
        ahead = outlook(nodes, mix_of(requests[:until]))
        until = min(until + max(1, min(until // 4, 500)), len(requests))
        steps.append((until, ahead))
    return _replayed(nodes, requests, draws, steps or [(0, outlook(nodes, mix_of(requests)))], rule)


def _replayed(nodes: Nodes, requests: Ints, draws: Floats, steps: Sequence[tuple[int, Outlook]], rule: str) -> Replay:
    """Replay with an outlook for each stretch of the stream, given by its end."""
    from headwater.compute.scheduler import packing_kernel as kernel

    check(requests)
    shapes = np.unique(requests[:, [CPU, DEVICES, MILLI, TYPES]], axis=0, return_inverse=True)[1].reshape(-1)
    state, start, parts = nodes.copy(), 0, []
    for until, ahead in steps:
        packer = kernel.packer(_number(rule), ahead, int(shapes.max(initial=0)) + 1, len(nodes.devices))
        part = slice(start, until)
        parts.append(kernel.replay(packer, requests[part], shapes[part], state, draws[part]))
        start = until
    node, devices = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Replay(requests=requests, node=node, devices=devices, capacity_milli=int(nodes.devices.sum()) * WHOLE_MILLI)


def _number(rule: str) -> int:
    try:
        return RULES[rule]
    except KeyError:
        raise NotFound(f"No packing rule '{rule[:60]}'.", f"Known: {', '.join(RULES)}.") from None


def _row(request: Request) -> Ints:
    row = request.row
    check(row[None])
    return row


def _moved(nodes: Nodes, request: Request, placement: Placement, sign: int) -> Nodes:
    from headwater.compute.scheduler import packing_kernel as kernel

    after = nodes.copy()
    kernel.move(request.row, after, placement.node, placement.mask, sign)
    return after
