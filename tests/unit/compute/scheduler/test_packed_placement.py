"""Jobs on nodes with CPU, memory and shares of devices, and in as few racks as can be: the packing rules as a part of the core."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.decide import decide
from headwater.compute.scheduler.policy import BadPolicy, Policy, check
from headwater.compute.scheduler.shapes import NodeShare, Request, SiteShape
from headwater.core.errors import BadInput

SHARES = SiteShape(
    name="shares", node_units=(4000, 4000), device_units=1000, node_cpu_milli=(32_000, 32_000), node_memory_mib=(65_536, 65_536)
)


def packed(rule: str = "least-waste", **placement: object) -> Policy:
    return check({"name": "p", "placement": {"nodes": "packed", "packing": rule, **placement}, "backfill": {"kind": "skip"}}, "t")


def asks(name: str, units: int, cpu_milli: int = 1000, memory_mib: int = 1024, **more: object) -> Request:
    return Request(name=name, submit_s=0.0, units=units, cpu_milli=cpu_milli, memory_mib=memory_mib, **more)  # type: ignore[arg-type]


def test_shares_of_a_device_lie_on_one_device_and_fill_it_before_another_is_opened():
    plan = decide([asks("a", 500), asks("b", 400), asks("c", 300)], [SHARES], packed("best-fit"), 0.0)
    places = {action.job: action.nodes[0] for action in plan.actions}
    assert places["a"].devices == places["b"].devices
    assert places["c"].devices != places["a"].devices
    assert {share.node for share in places.values()} == {0}


def test_a_gang_takes_whole_nodes_and_its_remainder_on_one_more():
    (action,) = decide([asks("gang", 6000)], [SHARES], packed(), 0.0).actions
    assert sorted(share.units for share in action.nodes) == [2000, 4000]
    assert {share.node for share in action.nodes} == {0, 1}


def test_cpu_and_memory_of_a_node_bound_what_lies_on_it():
    plan = decide(
        [asks("a", 500, cpu_milli=20_000), asks("b", 500, cpu_milli=20_000), asks("c", 500, cpu_milli=20_000)], [SHARES], packed(), 0.0
    )
    assert sorted(action.nodes[0].node for action in plan.actions) == [0, 1]
    (reason,) = plan.waiting
    assert reason.code in ("fragmented", "no_host_room")


def test_a_job_that_no_empty_node_could_hold_never_waits_for_one():
    plan = decide([asks("a", 1000, cpu_milli=40_000), asks("odd", 1500)], [SHARES], packed(), 0.0)
    assert [reason.code for reason in plan.never] == ["too_large", "too_large"]


def test_where_running_jobs_lie_is_believed_and_a_place_taken_twice_is_refused():
    there = asks("r", 3000, site="shares", started_s=0.0, starts=1, nodes=(NodeShare(node=1, units=3000, devices=0b111),))
    (action,) = decide([there, asks("two", 2000)], [SHARES], packed("best-fit"), 0.0).actions
    assert action.nodes[0].node == 0
    with pytest.raises(BadInput, match="not free there"):
        decide([there, replace(there, name="again")], [SHARES], packed(), 0.0)


def test_shares_need_a_policy_that_looks_at_devices():
    with pytest.raises(BadInput, match="gives out shares of devices"):
        decide([asks("a", 500)], [SHARES], check({"name": "f"}, "t"), 0.0)


def test_a_packing_rule_must_be_one_that_needs_no_dice():
    with pytest.raises(BadPolicy):
        packed("random")


RACKS = SiteShape(name="racks", node_units=(8,) * 6, node_block=(0, 0, 1, 1, 1, 2))
TOPOLOGY = {"nodes": "consolidated", "topology_weight": 1.0}


def lies(action: object) -> list[int]:
    return [share.node for share in action.nodes]  # type: ignore[attr-defined]


def test_a_gang_lies_in_as_few_racks_as_can_be_and_leaves_the_larger_ones_whole():
    policy = check({"name": "t", "placement": TOPOLOGY, "backfill": {"kind": "skip"}}, "t")
    jobs = [Request(name=name, submit_s=0.0, units=units) for name, units in (("two", 16), ("three", 24), ("one", 8))]
    assert [lies(action) for action in decide(jobs, [RACKS], policy, 0.0).actions] == [[0, 1], [2, 3, 4], [5]]
    plain = check({"name": "t", "placement": {"nodes": "consolidated"}, "backfill": {"kind": "skip"}}, "t")
    assert lies(decide(jobs[1:], [RACKS], plain, 0.0).actions[0]) == [0, 1, 2]


def test_topology_prefers_the_site_where_a_gang_spans_fewer_racks():
    policy = check({"name": "t", "placement": TOPOLOGY}, "t")
    one_rack = SiteShape(name="one rack", node_units=(8,) * 4)
    (action,) = decide([Request(name="j", submit_s=0.0, units=32)], [RACKS, one_rack], policy, 0.0).actions
    assert action.site == "one rack"


@pytest.mark.parametrize(
    "placement",
    [{"nodes": "consolidated"}, {"nodes": "packed", "packing": "least-waste"}, {"nodes": "packed", "packing": "fragmentation-gradient"}],
)
def test_fragmentation_sends_a_small_job_where_a_node_is_already_broken(placement):
    policy = check({"name": "t", "placement": placement | {"fragmentation_weight": 1.0}, "backfill": {"kind": "skip"}}, "t")
    whole, broken = SiteShape(name="whole", node_units=(8, 8)), SiteShape(name="broken", node_units=(8, 8))
    there = Request(name="r", submit_s=0.0, units=5, site="broken", started_s=0.0, starts=1)
    gangs = [Request(name="j", submit_s=0.0, units=3)]
    assert decide([there, *gangs], [whole, broken], policy, 0.0).actions[0].site == "broken"


rows = st.lists(
    st.tuples(st.sampled_from([0, 250, 500, 1000, 2000, 4000, 6000, 8000]), st.integers(0, 16), st.integers(0, 32)), min_size=1, max_size=24
)


@pytest.mark.parametrize("rule", ["least-waste", "best-fit", "fragmentation-gradient"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=rows)
def test_no_device_node_or_host_is_ever_given_out_twice(rule, rows):
    requests = [asks(str(row), units, cpu * 1000 + (0 if units else 1), memory * 1024) for row, (units, cpu, memory) in enumerate(rows)]
    plan = decide(requests, [SHARES], packed(rule), 0.0)
    by_name = {request.name: request for request in requests}
    device, cpu, memory = {}, {}, {}
    for action in plan.actions:
        request = by_name[action.job]
        assert sum(share.units for share in action.nodes) == request.units  # a gang is whole
        for share in action.nodes:
            part = share.units / request.units if request.units else 1.0
            cpu[share.node] = cpu.get(share.node, 0) + request.cpu_milli * part
            memory[share.node] = memory.get(share.node, 0) + request.memory_mib * part
            each = share.units if 0 < share.units < 1000 else 1000
            assert bin(share.devices).count("1") == -(-share.units // 1000)
            for bit in range(4):
                if share.devices >> bit & 1:
                    device[share.node, bit] = device.get((share.node, bit), 0) + each
    assert max(device.values(), default=0) <= 1000
    assert max(cpu.values(), default=0) <= 32_000 + 1
    assert max(memory.values(), default=0) <= 65_536 + 1
