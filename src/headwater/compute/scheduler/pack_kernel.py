"""A job on nodes with their CPU, memory and devices, by one of the packing rules (compiled).

A job that asks for less than a device gets a share of one; a job for whole devices that fit on one node lies on one; a larger gang
takes whole free nodes and its remainder on one more. CPU and memory go along with the devices.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled_allocating
from headwater.compute.scheduler.packing_kernel import FIRST_FIT, LEAST_WASTE, Packer, choose_on, move, score_nodes
from headwater.compute.scheduler.packing_rules_kernel import fits
from headwater.compute.scheduler.packing_state import CPU, DEVICES, MEMORY, MILLI, TYPES, WHOLE_MILLI, Ints, Nodes
from headwater.compute.scheduler.packing_waste_kernel import ROUND_MILLI
from headwater.compute.scheduler.state import State

BEST_SCORE = 100.0
"""Of the published rules; `least-waste` has costs instead."""


@compiled_allocating
def ask_for(state: State, job: int, site: int, units: int) -> Ints:
    """What the job asks of one node, were so many of its units there; the array is overwritten by the next call."""
    jobs, device, request = state.jobs, state.sites.device_units[site], state.request
    whole = max(jobs.units[job], 1)
    part = units if jobs.units[job] > 0 else 1
    request[CPU] = -(-jobs.cpu_milli[job] * part // whole)
    request[MEMORY] = -(-jobs.memory_mib[job] * part // whole)
    request[DEVICES] = 1 if 0 < units < device else units // device
    request[MILLI] = 0 if units == 0 else min(units * WHOLE_MILLI // device, WHOLE_MILLI)
    request[TYPES] = -1
    return request


@compiled_allocating
def takes(packs: Nodes, node: int, request: Ints) -> bool:
    """Whether the node has room for the request."""
    left = packs.device_free_milli[node, : packs.devices[node]]
    return bool(packs.memory_free_mib[node] >= request[MEMORY] and fits(request, packs.cpu_free_milli[node], left, packs.device_type[node]))


@compiled_allocating
def fits_packed_here(state: State, job: int, site: int, packs: Nodes) -> bool:
    """Whether the job could be placed, were the nodes as free as `packs` says."""
    sites, units, size = state.sites, state.jobs.units[job], state.sites.node_size[site]
    whole, rest = (0, units) if units <= size else (units // size, units % size)
    first, count, empty = sites.first_node[site], sites.node_count[site], 0
    if whole > 0:
        request = ask_for(state, job, site, size)
        for node in range(first, first + count):
            empty += takes(packs, node, request)
        if empty < whole or rest == 0 or empty > whole:
            return bool(empty >= whole)
    for node in range(first, first + count):
        if whole > 0 and takes(packs, node, ask_for(state, job, site, size)):
            continue
        if takes(packs, node, ask_for(state, job, site, rest)):
            return True
    return False


@compiled_allocating
def could_lie_here(state: State, job: int, site: int) -> bool:
    """Whether the job has a place on the site's nodes when they are empty."""
    sites, packs, size = state.sites, state.packs, state.sites.node_size[site]
    units = state.jobs.units[job]
    whole, rest = (0, units) if units <= size else (units // size, units % size)
    found = 0
    for node in range(sites.first_node[site], sites.first_node[site] + sites.node_count[site]):
        request = ask_for(state, job, site, size if whole > 0 else rest)
        found += (
            request[CPU] <= packs.cpu_milli[node] and request[MEMORY] <= packs.memory_mib[node] and request[DEVICES] <= packs.devices[node]
        )
    return bool(found >= max(whole + (1 if rest > 0 and whole > 0 else 0), 1))


@compiled_allocating
def choose_packed_here(packer: Packer, state: State, job: int, site: int, units: int) -> tuple[int, int]:
    """The node for so many units of the job, and the devices as bits."""
    request, draw = ask_for(state, job, site, units), np.zeros(2)
    shape = state.jobs.asks_like[job] if units == state.jobs.units[job] else -1
    return choose_on(packer, request, shape, state.packs, state.sites.first_node[site], state.sites.node_count[site], draw)


@compiled_allocating
def move_pack_here(state: State, job: int, site: int, cell: int, packs: Nodes, sign: int) -> None:
    """Take (sign 1) or give back (-1) what a slice of the job holds."""
    slices = state.slices
    move(ask_for(state, job, site, slices.units[cell]), packs, slices.node[cell], slices.devices[cell], sign)


@compiled_allocating
def stranding_here(packer: Packer, state: State, job: int, site: int) -> float:
    """What the best node's score says the job's place would waste, for each device asked; about 0 to 1."""
    units, rule = state.jobs.units[job], packer.rule
    if units > state.sites.node_size[site] or rule == FIRST_FIT:
        return 0.0
    request = ask_for(state, job, site, units)
    first, count = state.sites.first_node[site], state.sites.node_count[site]
    best = score_nodes(packer, request, state.jobs.asks_like[job], state.packs, first, count).max()
    if best == -np.inf:
        return 0.0
    if rule == LEAST_WASTE:
        return float(-best * ROUND_MILLI / WHOLE_MILLI / max(request[DEVICES], 1))
    return float(1.0 - best / BEST_SCORE)


# What the scheduler calls. Where jobs are not packed the packer is None, and the compiler leaves out what is behind it.


@compiled_allocating
def fits_packed(packer: Packer | None, state: State, job: int, site: int, packs: Nodes) -> bool:
    """Whether the job could be placed, were the nodes as free as `packs` says."""
    return True if packer is None else fits_packed_here(state, job, site, packs)


@compiled_allocating
def could_lie(packer: Packer | None, state: State, job: int, site: int) -> bool:
    """Whether the job has a place on the site's nodes when they are empty."""
    return True if packer is None else could_lie_here(state, job, site)


@compiled_allocating
def is_whole_free(packer: Packer | None, state: State, job: int, site: int, node: int) -> bool:
    """Whether a gang could take the whole node."""
    return False if packer is None else takes(state.packs, node, ask_for(state, job, site, state.sites.node_size[site]))


@compiled_allocating
def choose_packed(packer: Packer | None, state: State, job: int, site: int, units: int) -> tuple[int, int]:
    """The node for so many units of the job, and the devices as bits."""
    return (-1, 0) if packer is None else choose_packed_here(packer, state, job, site, units)


@compiled_allocating
def move_pack(packer: Packer | None, state: State, job: int, site: int, cell: int, packs: Nodes, sign: int) -> None:
    """Take (sign 1) or give back (-1) what a slice of the job holds; scores of the node are out of date then."""
    if packer is not None:
        move_pack_here(state, job, site, cell, packs, sign)
        packer.seen.current[state.slices.node[cell]] += 1


@compiled_allocating
def stranding(packer: Packer | None, state: State, job: int, site: int) -> float:
    """What the best node's score says the job's place would waste, for each device asked; about 0 to 1."""
    return 0.0 if packer is None else stranding_here(packer, state, job, site)
