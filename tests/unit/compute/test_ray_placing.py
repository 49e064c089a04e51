"""Where a job can run on the nodes of a Ray: one node, or a gang over several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.engines.ray_client import RayNode
from headwater.compute.engines.ray_placing import PACK, SPREAD, gang_for
from headwater.core.errors import BadInput
from headwater.core.steps import Resources

CHIP = "h20"


def nodes(*counts: int) -> list[RayNode]:
    return [RayNode(name=f"n{i}", cpus=16, memory_gib=64, accelerators={CHIP: count} if count else {}) for i, count in enumerate(counts)]


def cards(count: int, **more: float) -> Resources:
    return Resources(accelerators={CHIP: count}, **more)  # type: ignore[arg-type]


def test_what_fits_on_a_node_is_no_gang() -> None:
    assert gang_for(cards(8), nodes(0, 4, 8)) is None
    assert gang_for(Resources(cpus=16), nodes(0)) is None


def test_equal_nodes_each_hold_an_equal_share_with_its_part_of_cpus_and_memory() -> None:
    gang = gang_for(cards(6, cpus=4, memory_gib=3), nodes(4, 4))
    assert gang is not None
    assert gang.strategy == SPREAD
    assert gang.bundles == ({"CPU": 2, "memory": 1.5 * 2**30, CHIP: 3},) * 2


def test_unequal_nodes_are_packed_by_single_accelerators() -> None:
    gang = gang_for(cards(10), nodes(8, 2))
    assert gang is not None
    assert (gang.strategy, [bundle[CHIP] for bundle in gang.bundles]) == (PACK, [1] * 10)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (cards(9), "has 8 of 'h20', the job asks for 9"),
        (cards(1, cpus=17), "No node of the Ray cluster has all"),
        (Resources(memory_gib=65), "No node of the Ray cluster has all"),
        (Resources(accelerators={CHIP: 6, "mlu370": 1}), "accelerators of one chip"),
    ],
)
def test_what_can_never_be_is_refused_with_what_the_nodes_have(asked: Resources, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        gang_for(asked, nodes(4, 4))


@given(st.lists(st.integers(0, 8), min_size=1, max_size=6), st.integers(1, 48))
def test_a_gang_holds_what_was_asked_and_each_bundle_fits_on_a_node(counts: list[int], asked: int) -> None:
    try:
        gang = gang_for(cards(asked), nodes(*counts))
    except BadInput:
        assert asked > sum(counts)
        return
    assert (gang is None) == (asked <= max(counts))
    if gang is not None:
        assert sum(bundle[CHIP] for bundle in gang.bundles) == asked
        assert max(bundle[CHIP] for bundle in gang.bundles) <= max(counts)
