"""How a job lies on the nodes of a site (compiled).

Three rules. Count: a site is a bag of units, and nodes do not matter. Consolidated: a job that fits on one node goes on one, the
fullest that can take it; a larger one takes whole empty nodes and its remainder on the fullest other node that can. Packed: the same
for gangs, with CPU, memory and shares of devices, and single nodes chosen by a packing rule. Where topology is weighed, whole nodes
come from as few blocks (racks, switches) as can be.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled, compiled_allocating
from headwater.compute.scheduler.pack_kernel import choose_packed, fits_packed, is_whole_free, move_pack, stranding
from headwater.compute.scheduler.score_kernel import FRAGMENTATION, TOPOLOGY
from headwater.compute.scheduler.state import SLICE_SPARE, Ints, Rules, State, Table

COUNT, CONSOLIDATED, PACKED = range(3)


@compiled
def fits_on_nodes(sites: Table, site: int, units: int, free: Ints) -> bool:
    """Whether `units` could be placed consolidated, were the nodes as free as `free` says."""
    size = sites.node_size[site]
    whole, rest = (0, units) if units <= size else (units // size, units % size)
    empty = 0
    partial = rest == 0
    for node in range(sites.first_node[site], sites.first_node[site] + sites.node_count[site]):
        if free[node] == size:
            empty += 1
        elif free[node] >= rest:
            partial = True
    return bool(empty >= whole and (partial or empty > whole))


@compiled
def fits_nodes(state: State, rules: Rules, job: int, site: int) -> bool:
    """Whether the job's units have a place on the site's nodes now."""
    if rules.placement == COUNT:
        return True
    if rules.placement == CONSOLIDATED:
        return fits_on_nodes(state.sites, site, state.jobs.units[job], state.node_free)
    return fits_packed(state.packer, state, job, site, state.packs)


@compiled
def fits_scratch(state: State, rules: Rules, job: int, site: int) -> bool:
    """The same on the scratch copy of the nodes."""
    if rules.placement == COUNT:
        return True
    if rules.placement == CONSOLIDATED:
        return fits_on_nodes(state.sites, site, state.jobs.units[job], state.node_scratch)
    return fits_packed(state.packer, state, job, site, state.packs_scratch)


@compiled_allocating
def copy_nodes(state: State, rules: Rules) -> None:
    """Make the scratch copy equal to the nodes."""
    if rules.placement == CONSOLIDATED:
        state.node_scratch[:] = state.node_free
    elif rules.placement == PACKED:
        state.packs_scratch.cpu_free_milli[:] = state.packs.cpu_free_milli
        state.packs_scratch.memory_free_mib[:] = state.packs.memory_free_mib
        state.packs_scratch.device_free_milli[:] = state.packs.device_free_milli


@compiled
def move_scratch(state: State, rules: Rules, job: int, sign: int) -> None:
    """Take a running job's slices (sign 1) or give them back (-1) on the scratch copy."""
    cell, slices = state.jobs.slice_head[job], state.slices
    while cell >= 0:
        if rules.placement == PACKED:
            move_pack(state.packer, state, job, state.jobs.site[job], cell, state.packs_scratch, sign)
        else:
            state.node_scratch[slices.node[cell]] -= sign * slices.units[cell]
        cell = slices.next[cell]


@compiled
def best_node(state: State, site: int, units: int, block: int) -> int:
    """The fullest node of a block (-1: of any) with room for `units`, or -1; the first among equals."""
    sites = state.sites
    best, best_free = -1, np.int64(1) << 60
    for node in range(sites.first_node[site], sites.first_node[site] + sites.node_count[site]):
        free = state.node_free[node]
        if units <= free < best_free and block in (-1, state.node_block[node]):
            best, best_free = node, free
    return best


@compiled
def hold_node(state: State, rules: Rules, job: int, site: int, node: int, units: int, devices: int) -> None:
    """Put units of the job on a node."""
    slices, jobs = state.slices, state.jobs
    cell = int(state.marks[SLICE_SPARE])
    state.marks[SLICE_SPARE] = slices.next[cell]
    slices.node[cell] = node
    slices.units[cell] = units
    slices.devices[cell] = devices
    slices.next[cell] = jobs.slice_head[job]
    jobs.slice_head[job] = cell
    if rules.placement == PACKED:
        move_pack(state.packer, state, job, site, cell, state.packs, 1)
    else:
        state.node_free[node] -= units


@compiled
def is_whole(state: State, rules: Rules, job: int, site: int, node: int) -> bool:
    """Whether a gang could take the whole node."""
    if rules.placement == PACKED:
        return is_whole_free(state.packer, state, job, site, node)
    return bool(state.node_free[node] == state.sites.node_size[site])


@compiled_allocating
def block_for(state: State, rules: Rules, job: int, site: int, whole: int) -> int:
    """The block with the fewest empty nodes that has `whole` of them; where none has, the one with the most."""
    first, count = state.sites.first_node[site], state.sites.node_count[site]
    blocks = state.node_block[first : first + count]
    empty = np.zeros(blocks.max() + 1, np.int64)
    for node in range(first, first + count):
        empty[state.node_block[node]] += is_whole(state, rules, job, site, node)
    best = 0
    for block in range(1, len(empty)):
        enough = empty[block] >= whole
        if (enough and (empty[best] < whole or empty[block] < empty[best])) or (not enough and empty[best] < empty[block]):
            best = block
    return best


@compiled
def hold_whole(state: State, rules: Rules, job: int, site: int, whole: int) -> int:
    """Take whole nodes; returns the block of the last one, -1 where blocks do not matter."""
    first, count, size, block = state.sites.first_node[site], state.sites.node_count[site], state.sites.node_size[site], -1
    while whole > 0:
        if rules.weights[TOPOLOGY] > 0.0:
            block = block_for(state, rules, job, site, whole)
        for node in range(first, first + count):
            if whole > 0 and block in (-1, state.node_block[node]) and is_whole(state, rules, job, site, node):
                devices = (1 << (size // state.sites.device_units[site])) - 1 if rules.placement == PACKED else 0
                hold_node(state, rules, job, site, node, size, devices)
                whole -= 1
    return block


@compiled
def hold_nodes(state: State, rules: Rules, job: int, site: int) -> None:
    """Take the nodes for a job; `fits_nodes` said yes."""
    size, units = state.sites.node_size[site], state.jobs.units[job]
    whole, rest = (0, units) if units <= size else (units // size, units % size)
    block = hold_whole(state, rules, job, site, whole)
    if rules.placement == PACKED:
        if rest > 0 or whole == 0:
            node, devices = choose_packed(state.packer, state, job, site, rest)
            hold_node(state, rules, job, site, node, rest, devices)
    elif rest > 0:
        near = best_node(state, site, rest, block)
        hold_node(state, rules, job, site, near if near >= 0 else best_node(state, site, rest, -1), rest, 0)


@compiled
def leave_nodes(state: State, rules: Rules, job: int) -> None:
    """Give back all nodes of a job."""
    slices, jobs = state.slices, state.jobs
    cell = jobs.slice_head[job]
    while cell >= 0:
        following = slices.next[cell]
        if rules.placement == PACKED:
            move_pack(state.packer, state, job, jobs.site[job], cell, state.packs, -1)
        else:
            state.node_free[slices.node[cell]] += slices.units[cell]
        slices.next[cell] = int(state.marks[SLICE_SPARE])
        state.marks[SLICE_SPARE] = cell
        cell = following
    jobs.slice_head[job] = -1


@compiled_allocating
def blocks_spanned(state: State, rules: Rules, job: int, site: int) -> int:
    """In how many blocks the job's whole nodes would lie."""
    first, count, whole = state.sites.first_node[site], state.sites.node_count[site], state.jobs.units[job] // state.sites.node_size[site]
    empty = np.zeros(state.node_block[first : first + count].max() + 1, np.int64)
    for node in range(first, first + count):
        empty[state.node_block[node]] += is_whole(state, rules, job, site, node)
    found = 0
    for block in np.argsort(-empty):
        if whole <= 0 or empty[block] == 0:
            break
        whole -= empty[block]
        found += 1
    return found


@compiled
def stranded(state: State, rules: Rules, job: int, site: int) -> float:
    """Units of partly used nodes that the job's place would add, over a node's."""
    if rules.placement == PACKED:
        return stranding(state.packer, state, job, site)
    size = state.sites.node_size[site]
    rest = state.jobs.units[job] % size
    if rest == 0:
        return 0.0
    node = best_node(state, site, rest, -1)
    return float((1.0 if node >= 0 and state.node_free[node] == size else 0.0) - rest / size)


@compiled
def node_score(state: State, rules: Rules, job: int, site: int) -> float:
    """The parts of a site's score that look at its nodes, weighed; lowest is wanted most."""
    if rules.placement == COUNT or state.sites.node_size[site] == 0:
        return 0.0
    score = 0.0
    if rules.weights[TOPOLOGY] > 0.0 and state.jobs.units[job] > state.sites.node_size[site]:
        score += rules.weights[TOPOLOGY] * (blocks_spanned(state, rules, job, site) - 1)
    if rules.weights[FRAGMENTATION] > 0.0:
        score += rules.weights[FRAGMENTATION] * stranded(state, rules, job, site)
    return score
