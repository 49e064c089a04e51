"""The bounds: never below what a rule reaches, and exact where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler import packing
from headwater.compute.scheduler.packing_bound import pattern_bound, vector_bound
from headwater.compute.scheduler.packing_state import Request, mix_of, nodes_of, requests_of
from headwater.core.errors import BadInput

shares = st.builds(Request, cpu_milli=st.integers(0, 20_000), devices=st.just(1), milli=st.sampled_from([160, 470, 650, 810, 1000]))
streams = st.lists(shares, min_size=1, max_size=25)
fleets = st.lists(st.tuples(st.integers(0, 64_000), st.just(9), st.integers(1, 3), st.just(0)), min_size=1, max_size=4).map(
    lambda rows: nodes_of(*zip(*rows, strict=True))
)


@settings(max_examples=10, deadline=None)
@given(fleets, streams)
def test_no_rule_passes_a_bound(nodes, stream):
    requests = requests_of(stream)
    vector, pattern = vector_bound(nodes, requests), pattern_bound(nodes, requests)
    assert pattern <= vector + 1e-6
    ahead = packing.outlook(nodes, mix_of(requests))
    for rule in ("first-fit", "best-fit", packing.LEAST_WASTE):
        run = packing.replay(nodes, requests, ahead, np.zeros((len(requests), 2)), rule=rule)
        assert run.allocated[-1] <= pattern + 1e-6


def test_cores_bound_what_devices_can_be_used():
    nodes = nodes_of([10_000], [99], [8], [0])
    requests = requests_of([Request(cpu_milli=5_000, devices=1, milli=1000)] * 8)
    assert vector_bound(nodes, requests) == pytest.approx(2 / 8)


def test_only_the_pattern_bound_knows_that_two_large_shares_do_not_share_a_device():
    nodes = nodes_of([64_000], [99], [4], [0])
    requests = requests_of([Request(cpu_milli=1, devices=1, milli=810)] * 8)
    assert vector_bound(nodes, requests) == pytest.approx(1.0)
    assert pattern_bound(nodes, requests) == pytest.approx(0.81)


def test_shares_that_fill_a_device_are_found_by_the_columns():
    nodes = nodes_of([64_000], [99], [2], [0])
    requests = requests_of([Request(cpu_milli=1, devices=1, milli=milli) for milli in (810, 160, 30, 530, 470)])
    assert pattern_bound(nodes, requests) == pytest.approx(1.0)


def test_a_type_that_no_node_has_counts_for_nothing():
    nodes = nodes_of([64_000], [99], [2], [0])
    assert vector_bound(nodes, requests_of([Request(cpu_milli=1, devices=1, milli=500, types=0b10), Request(cpu_milli=1)])) == 0


def test_requests_that_must_be_placed_lower_the_bound():
    nodes = nodes_of([64_000], [99], [1], [0])
    requests = requests_of([Request(cpu_milli=1, devices=1, milli=600), Request(cpu_milli=1, devices=1, milli=1000)])
    assert pattern_bound(nodes, requests) == pytest.approx(1.0)
    assert pattern_bound(nodes, requests, must=requests[:1]) == pytest.approx(0.6)
    with pytest.raises(BadInput, match="cannot be"):
        pattern_bound(nodes, requests, must=requests)
