"""What packing works on: nodes and requests as arrays, and the mix of requests that is expected.

Named tuples of NumPy arrays, because compiled code takes them as they are. CPU is in milli-cores, memory in
MiB, accelerators in thousandths ("milli"): a request asks for so many devices, and for so many milli of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.core.errors import BadInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WHOLE_MILLI = 1000
ANY_TYPE = -1
MAX_DEVICES = 62
"""Devices of a node and types of a fleet are bits of a 64-bit integer."""

CPU, MEMORY, DEVICES, MILLI, TYPES = range(5)
"""Columns of a request row."""


class Nodes(NamedTuple):
    """One row a node. `*_free_*` change as requests come and go; the rest stays."""

    cpu_milli: Ints
    memory_mib: Ints
    devices: Ints
    device_type: Ints
    cpu_free_milli: Ints
    memory_free_mib: Ints
    device_free_milli: Ints
    """[node, device]; columns past the node's own devices are 0."""
    running: Ints
    """[node, kind]: requests that hold devices here, by kind: 1 shares one device, 1 + n holds n whole ones."""

    def copy(self) -> Nodes:
        """Return the same nodes with free room of their own."""
        return self._replace(
            cpu_free_milli=self.cpu_free_milli.copy(),
            memory_free_mib=self.memory_free_mib.copy(),
            device_free_milli=self.device_free_milli.copy(),
            running=self.running.copy(),
        )

    def reordered(self, order: Ints) -> Nodes:
        """Return the nodes in another order."""
        return Nodes(*(column[order] for column in self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one task asks of one node: whole devices, or a share of one device, or none."""

    cpu_milli: int
    memory_mib: int = 0
    devices: int = 0
    milli: int = 0
    """Of each device."""
    types: int = ANY_TYPE
    """Acceptable device types as bits, or -1 for any."""

    @property
    def row(self) -> Ints:
        """The request as a row of a requests array."""
        return np.array([self.cpu_milli, self.memory_mib, self.devices, self.milli, self.types], np.int64)


class Mix(NamedTuple):
    """Shapes of request, the commonest first, and how often each comes. The memory column is not used."""

    shapes: Ints
    shares: Floats
    """Of all requests; they sum to 1."""

    def typical(self, popularity: float) -> Mix:
        """Return the commonest shapes that make up `popularity` of the requests, with shares that sum to 1."""
        if not len(self.shares):
            return self
        kept = min(len(self.shares), 1 + int(np.searchsorted(np.cumsum(self.shares), popularity - 1e-9)))
        return Mix(self.shapes[:kept], self.shares[:kept] / self.shares[:kept].sum())

    @property
    def cpu_per_device(self) -> float:
        """Milli-cores asked for each whole device asked: 0 for an empty mix, infinite where no devices are asked."""
        if not len(self.shares):
            return 0.0
        devices = float((self.shapes[:, DEVICES] * self.shapes[:, MILLI]) @ self.shares) / WHOLE_MILLI
        return float(self.shapes[:, CPU] @ self.shares) / devices if devices else float("inf")


def nodes_of(cpu_milli: Iterable[int], memory_mib: Iterable[int], devices: Sequence[int], device_type: Iterable[int]) -> Nodes:
    """Return empty nodes.

    Raises BadInput for a negative size, or more devices or types than a bit mask holds.
    """
    columns = [np.array(list(column), np.int64) for column in (cpu_milli, memory_mib, devices, device_type)]
    cpu, memory, count, kind = columns
    for name, column in zip(("CPU", "memory", "devices", "device type"), columns, strict=True):
        if len(column) != len(count) or (len(column) and column.min() < 0):
            raise BadInput(f"{name}: {len(column)} values for {len(count)} nodes, none may be negative.", "Mend the node list.")
    if len(count) and max(count.max(), kind.max()) > MAX_DEVICES:
        raise BadInput(f"A node has {count.max()} devices, a type is {kind.max()}; at most {MAX_DEVICES}.", "Split the node or the fleet.")
    width = int(count.max()) if len(count) else 0
    free = np.where(np.arange(width) < count[:, None], WHOLE_MILLI, 0).astype(np.int64)
    return Nodes(cpu, memory, count, kind, cpu.copy(), memory.copy(), free, np.zeros((len(count), width + 2), np.int64))


def requests_of(requests: Iterable[Request]) -> Ints:
    """Return requests as an array, one row each.

    Raises BadInput for a request that no rule covers: a negative amount, or a share of several devices.
    """
    rows = np.array([request.row for request in requests], np.int64).reshape(-1, 5)
    check(rows)
    return rows


def check(rows: Ints) -> None:
    """Raise BadInput for the first row that is not a request."""
    share = (rows[:, MILLI] > 0) & (rows[:, MILLI] <= WHOLE_MILLI) & ((rows[:, DEVICES] == 1) | (rows[:, MILLI] == WHOLE_MILLI))
    bad = (rows[:, [CPU, MEMORY, DEVICES]].min(axis=1, initial=0) < 0) | np.where(rows[:, DEVICES] > 0, ~share, rows[:, MILLI] != 0)
    if bad.any():
        at = int(np.argmax(bad))
        hint = "Ask for whole devices (1000 milli each), for 1 to 1000 milli of one device, or for none."
        raise BadInput(f"Request {at} asks {rows[at, DEVICES]} devices of {rows[at, MILLI]} milli with {rows[at, CPU]} milli-cores.", hint)


def mix_of(rows: Ints) -> Mix:
    """Return how often each shape of request occurs in `rows`: a declared mix, or what has arrived so far.

    Shapes are ordered by count, larger requests first among equals.
    """
    wanted = [CPU, DEVICES, MILLI, TYPES]
    found, counts = np.unique(rows[:, wanted], axis=0, return_counts=True)
    order = np.lexsort((-found[:, 3], -found[:, 1], -found[:, 2], -found[:, 0], -counts))
    shapes = np.zeros((len(found), 5), np.int64)
    shapes[:, wanted] = found[order]
    return Mix(shapes, counts[order] / max(len(rows), 1))
