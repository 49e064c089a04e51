"""Packing: what never happens, and what each rule prefers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler import packing
from headwater.compute.scheduler.packing_state import CPU, DEVICES, MEMORY, MILLI, TYPES, Nodes, Request, mix_of, nodes_of, requests_of
from headwater.compute.scheduler.packing_waste_kernel import Outlook
from headwater.core.errors import BadInput, NotFound

shares = st.builds(Request, cpu_milli=st.integers(0, 20_000), memory_mib=st.integers(0, 64), devices=st.just(1), milli=st.integers(1, 1000))
cards = st.builds(
    Request,
    cpu_milli=st.integers(0, 64_000),
    memory_mib=st.integers(0, 64),
    devices=st.integers(1, 9),
    milli=st.just(1000),
    types=st.sampled_from([-1, 0b01, 0b10, 0b100]),
)
cores = st.builds(Request, cpu_milli=st.integers(0, 64_000), memory_mib=st.integers(0, 64))
streams = st.lists(st.one_of(shares, cards, cores), min_size=1, max_size=60)
fleets = st.lists(
    st.tuples(st.integers(0, 128_000), st.integers(0, 256), st.integers(0, 8), st.integers(0, 2)), min_size=1, max_size=12
).map(lambda rows: nodes_of(*zip(*rows, strict=True)))
rules = st.sampled_from(list(packing.RULES))


def replayed(nodes: Nodes, stream: list[Request], rule: str, seed: int = 0) -> packing.Replay:
    requests = requests_of(stream)
    draws = np.random.default_rng(seed).random((len(requests), 2))
    return packing.replay(nodes, requests, packing.outlook(nodes, mix_of(requests)), draws, rule=rule)


def nothing_known(nodes: Nodes) -> Outlook:
    return packing.outlook(nodes, mix_of(requests_of([])))


def bits(mask: int) -> list[int]:
    return [device for device in range(64) if mask >> device & 1]


@settings(max_examples=40, deadline=None)
@given(fleets, streams, rules)
def test_no_core_memory_or_device_is_given_twice(nodes, stream, rule):
    run = replayed(nodes, stream, rule)
    cpu, memory = np.zeros(len(nodes.devices), np.int64), np.zeros(len(nodes.devices), np.int64)
    used = np.zeros((len(nodes.devices), 64), np.int64)
    for row, node, mask in zip(run.requests, run.node, run.devices, strict=True):
        if node >= 0:
            cpu[node] += row[CPU]
            memory[node] += row[MEMORY]
            used[node, bits(int(mask))] += row[MILLI]
    assert (cpu <= nodes.cpu_milli).all()
    assert (memory <= nodes.memory_mib).all()
    assert used.max(initial=0) <= 1000
    assert not any(used[node, nodes.devices[node] :].any() for node in range(len(nodes.devices)))


@settings(max_examples=40, deadline=None)
@given(fleets, streams, rules)
def test_a_request_gets_just_its_devices_of_an_accepted_type_on_one_node(nodes, stream, rule):
    run = replayed(nodes, stream, rule)
    for row, node, mask in zip(run.requests, run.node, run.devices, strict=True):
        assert len(bits(int(mask))) == (row[DEVICES] if node >= 0 else 0)
        if node >= 0 and row[DEVICES]:
            assert row[TYPES] < 0 or int(row[TYPES]) >> int(nodes.device_type[node]) & 1


@settings(max_examples=40, deadline=None)
@given(fleets, streams, rules)
def test_a_request_that_fits_somewhere_is_placed(nodes, stream, rule):
    run = replayed(nodes, stream, rule)
    state = nodes
    for request, node, mask in zip(stream, run.node, run.devices, strict=True):
        if node >= 0:
            state = packing.occupied(state, request, packing.Placement(node=int(node), devices=tuple(bits(int(mask)))))
            continue
        assert not any(could_take(state, request, place) for place in range(len(state.devices)))


def could_take(nodes: Nodes, request: Request, node: int) -> bool:
    """A second, slow telling of what fits."""
    room = nodes.cpu_free_milli[node] >= request.cpu_milli and nodes.memory_free_mib[node] >= request.memory_mib
    accepted = request.types < 0 or request.types >> int(nodes.device_type[node]) & 1
    enough = sum(int(free) >= request.milli for free in nodes.device_free_milli[node, : nodes.devices[node]]) >= request.devices
    return bool(room and (request.devices == 0 or (accepted and enough)))


@settings(max_examples=20, deadline=None)
@given(fleets, streams, rules, st.integers(0, 5))
def test_the_same_seed_gives_the_same_placements(nodes, stream, rule, seed):
    one, other = replayed(nodes, stream, rule, seed), replayed(nodes, stream, rule, seed)
    assert (one.node == other.node).all()
    assert (one.devices == other.devices).all()


@settings(max_examples=20, deadline=None)
@given(fleets, streams, rules)
def test_single_placements_are_those_of_the_replay(nodes, stream, rule):
    """The live scheduler places one at a time, the experiment in one sweep that remembers scores."""
    requests = requests_of(stream)
    ahead = packing.outlook(nodes, mix_of(requests))
    draws = np.random.default_rng(0).random((len(requests), 2))
    run = packing.replay(nodes, requests, ahead, draws, rule=rule)
    state = nodes
    for at, request in enumerate(stream):
        placement = packing.place(state, request, ahead, rule=rule, draw=(float(draws[at, 0]), float(draws[at, 1])))
        assert (placement.node if placement else -1, placement.mask if placement else 0) == (run.node[at], run.devices[at])
        state = packing.occupied(state, request, placement) if placement else state


@settings(max_examples=20, deadline=None)
@given(fleets, st.one_of(shares, cards, cores), rules)
def test_what_is_taken_can_be_given_back(nodes, request, rule):
    placement = packing.place(nodes, request, packing.outlook(nodes, mix_of(requests_of([request]))), rule=rule)
    if placement is not None:
        after = packing.vacated(packing.occupied(nodes, request, placement), request, placement)
        assert all((mine == theirs).all() for mine, theirs in zip(nodes, after, strict=True))


@settings(max_examples=20, deadline=None)
@given(fleets, streams)
def test_scores_say_where_a_request_fits(nodes, stream):
    ahead = packing.outlook(nodes, mix_of(requests_of(stream)))
    for request in stream[:5]:
        found = np.isfinite(packing.score(nodes, request, ahead))
        assert found.tolist() == [could_take(nodes, request, node) for node in range(len(nodes.devices))]


def test_learning_uses_only_what_has_arrived():
    nodes = nodes_of([64_000] * 6, [999] * 6, [4] * 6, [0] * 6)
    rng = np.random.default_rng(3)
    stream = [Request(cpu_milli=int(rng.integers(1, 9)) * 1000, devices=1, milli=int(rng.integers(1, 11)) * 100) for _ in range(40)]
    other = [*stream[:30], *(Request(cpu_milli=1000, devices=1, milli=10) for _ in range(10))]
    one, two = (packing.replay_learning(nodes, requests_of(of), np.zeros((40, 2))) for of in (stream, other))
    assert one.node[:30].tolist() == two.node[:30].tolist()
    assert one.devices[:30].tolist() == two.devices[:30].tolist()


def test_least_waste_puts_heavy_cores_where_cores_are_plenty():
    """Two kinds of node; shares with few cores fill the poor one only if the heavy request leaves it alone."""
    nodes = nodes_of([8_000, 104_000], [999, 999], [2, 2], [0, 0])
    heavy = Request(cpu_milli=8_000, devices=1, milli=500)
    light = Request(cpu_milli=1_000, devices=1, milli=500)
    ahead = packing.outlook(nodes, mix_of(requests_of([heavy, light])))
    placement = packing.place(nodes, heavy, ahead)
    assert placement is not None
    assert placement.node == 1


def test_least_waste_closes_a_gap_rather_than_opening_a_device():
    nodes = nodes_of([64_000], [999], [2], [0])
    large, small = Request(cpu_milli=1000, devices=1, milli=700), Request(cpu_milli=1000, devices=1, milli=300)
    ahead = packing.outlook(nodes, mix_of(requests_of([large, small])))
    first = packing.place(nodes, large, ahead)
    assert first is not None
    second = packing.place(packing.occupied(nodes, large, first), small, ahead)
    assert second == first


def test_unconstrained_work_leaves_a_wanted_type_alone():
    nodes = nodes_of([64_000, 64_000], [999, 999], [8, 8], [0, 1])
    anything = Request(cpu_milli=1000, devices=1, milli=1000)
    insists = Request(cpu_milli=1000, devices=1, milli=1000, types=0b01)
    ahead = packing.outlook(nodes, mix_of(requests_of([anything, insists])))
    placement = packing.place(nodes, anything, ahead)
    assert placement is not None
    assert placement.node == 1


def test_the_order_of_the_node_list_does_not_matter_between_unlike_nodes():
    nodes = nodes_of([16_000, 64_000, 96_000], [999] * 3, [1, 4, 8], [0, 0, 0])
    request = Request(cpu_milli=2000, devices=1, milli=1000)
    mix = mix_of(requests_of([request]))
    turned = nodes.reordered(np.array([2, 1, 0]))
    one = packing.place(nodes, request, packing.outlook(nodes, mix))
    other = packing.place(turned, request, packing.outlook(turned, mix))
    assert one is not None
    assert other is not None
    assert nodes.devices[one.node] == turned.devices[other.node]


def test_first_fit_takes_the_first_and_its_tightest_device():
    nodes = nodes_of([9000, 9000], [99, 99], [2, 2], [0, 0])
    nodes.device_free_milli[0] = [800, 500]
    placement = packing.place(nodes, Request(cpu_milli=1, devices=1, milli=400), nothing_known(nodes), rule="first-fit")
    assert placement == packing.Placement(node=0, devices=(1,))


def test_best_fit_takes_the_node_that_is_left_with_least():
    nodes = nodes_of([96_000, 16_000], [99, 99], [8, 2], [0, 0])
    placement = packing.place(nodes, Request(cpu_milli=1, devices=1, milli=400), nothing_known(nodes), rule="best-fit")
    assert placement is not None
    assert placement.node == 1


@pytest.mark.parametrize(
    "request_",
    [
        Request(cpu_milli=-1),
        Request(cpu_milli=1, devices=2, milli=500),
        Request(cpu_milli=1, devices=1, milli=1001),
        Request(cpu_milli=1, devices=1, milli=0),
        Request(cpu_milli=1, devices=0, milli=5),
        Request(cpu_milli=1, devices=-1, milli=1000),
    ],
)
def test_an_impossible_request_is_refused(request_):
    nodes = nodes_of([1000], [10], [1], [0])
    with pytest.raises(BadInput, match="Request 0 asks"):
        packing.place(nodes, request_, nothing_known(nodes))


def test_nothing_to_place_and_nowhere_to_place_it_are_no_errors():
    none, request = nodes_of([], [], [], []), Request(cpu_milli=1, devices=1, milli=500)
    assert packing.place(none, request, nothing_known(none)) is None
    some = nodes_of([1000], [10], [1], [0])
    for run in (replayed(some, [], packing.LEAST_WASTE), packing.replay_learning(some, requests_of([]), np.zeros((0, 2)))):
        assert len(run.node) == 0
        assert run.allocated_at(1.0) == 0.0


def test_a_rule_that_does_not_exist_is_refused():
    nodes = nodes_of([1000], [10], [1], [0])
    with pytest.raises(NotFound, match="Known: random"):
        packing.score(nodes, Request(cpu_milli=1), nothing_known(nodes), rule="worst")


def test_a_node_list_of_uneven_columns_is_refused():
    with pytest.raises(BadInput, match="memory: 1 values for 2 nodes"):
        nodes_of([1, 2], [1], [1, 1], [0, 0])


def test_a_mix_lists_the_commonest_shape_first_and_sums_to_one():
    common, rare = Request(cpu_milli=1000, devices=1, milli=500), Request(cpu_milli=2000)
    mix = mix_of(requests_of([rare, common, common]))
    assert mix.shapes[0, MILLI] == 500
    assert mix.shares.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert mix.typical(0.6).shares.tolist() == [1.0]
    assert mix.cpu_per_device == pytest.approx((2 * 1000 + 2000) / (2 * 0.5))
