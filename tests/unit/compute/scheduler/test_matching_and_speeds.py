"""Which class of jobs may run where, how fast, and on what that rests; nothing unknown is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.catalogue.chips import chips
from headwater.compute.scheduler.matching import (
    ALLOWED,
    CHIP,
    LINK_UNKNOWN,
    MEMORY,
    MEMORY_UNKNOWN,
    RESIDENCY,
    SPEED_UNKNOWN,
    matrix,
)
from headwater.compute.scheduler.shapes import ChipFigures, Inbound, Needs, SiteShape
from headwater.compute.scheduler.speeds import BASES, figures_of

ASCEND, B3, A100 = "huawei/ascend910b", "huawei/ascend910b/b3", "nvidia/a100/sxm4-80gb"


def site(name: str = "s", **more: object) -> SiteShape:
    return SiteShape(name=name, node_units=(8,), **more)  # type: ignore[arg-type]


def rule(needs: Needs, where: SiteShape, **more: object) -> int:
    return int(matrix([needs], [where], **more).rule[0, 0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("needs", "where", "expected"),
    [
        (Needs(chips=("huawei",)), site(chip=B3), ALLOWED),
        (Needs(chips=("huawei/ascend910b",)), site(chip=B3), ALLOWED),
        (Needs(chips=("huawei/ascend910",)), site(chip=B3), CHIP),
        (Needs(chips=("nvidia", "huawei/ascend910b/b3")), site(chip=B3), ALLOWED),
        (Needs(chips=("nvidia",)), site(), CHIP),
        (Needs(memory_gib=64), site(memory_gib=32.0), MEMORY),
        (Needs(memory_gib=64), site(), MEMORY_UNKNOWN),
        (Needs(residency=frozenset({"cn", "beijing"})), site(residency=frozenset({"cn"})), RESIDENCY),
        (Needs(residency=frozenset({"cn"})), site(residency=frozenset({"cn", "beijing"})), ALLOWED),
        (Needs(data_at="elsewhere"), site(), LINK_UNKNOWN),
        (Needs(data_at="elsewhere"), site(inbound=(Inbound(place="elsewhere", gib_per_s=None),)), LINK_UNKNOWN),
        (Needs(data_at="elsewhere"), site(inbound=(Inbound(place="elsewhere", gib_per_s=2.0),)), ALLOWED),
        (Needs(data_at="here"), site(place="here"), ALLOWED),
    ],
)
def test_each_forbidden_pair_carries_the_rule_that_forbids_it(needs, where, expected):
    assert rule(needs, where) == expected


def test_staging_takes_the_links_time_and_price_for_each_gib():
    pair = matrix([Needs(data_at="far")], [site(inbound=(Inbound(place="far", gib_per_s=0.5, fen_per_gib=3.0),))])[0, 0]
    assert (pair.stage_s_per_gib, pair.egress_fen_per_gib) == (2.0, 3.0)


def speed(needs: Needs, where: SiteShape, **more: object) -> tuple[float, str]:
    pair = matrix([needs], [where, site("reference", chip="a/one", figures=ChipFigures(compute_tflops=100.0, memory_gb_s=1000.0))], **more)[
        0, 0
    ]  # type: ignore[arg-type]
    return float(pair.speed), BASES[int(pair.basis)]


def test_a_measured_speed_goes_before_a_roofline_and_a_roofline_before_the_declared_speed():
    other = site(chip="a/two", speed=9.0, figures=ChipFigures(compute_tflops=50.0, memory_gb_s=3000.0))
    assert speed(Needs(bound="compute", reference="a/one", measured=(("a/two", 0.7),)), other) == (0.7, "measured")
    assert speed(Needs(bound="compute", reference="a/one"), other) == (0.5, "roofline")
    assert speed(Needs(bound="memory", reference="a/one"), other) == (3.0, "roofline")
    assert speed(Needs(bound="collective", reference="a/one"), other) == (9.0, "declared")
    assert speed(Needs(), other) == (9.0, "declared")
    assert speed(Needs(bound="compute", reference="a/one"), site(chip="a/one", speed=9.0)) == (1.0, "same chip")


def test_a_policy_may_refuse_a_site_whose_speed_is_not_known():
    needs, bare = Needs(bound="collective", reference="a/one"), site(chip="a/two", speed=9.0)
    assert rule(needs, bare) == ALLOWED
    assert rule(needs, bare, unknown_speed="refuse") == SPEED_UNKNOWN
    assert speed(needs, bare, unknown_speed="refuse") == (0.0, "unknown")
    assert rule(Needs(), bare, unknown_speed="refuse") == ALLOWED  # it named no reference, so it asked for no more than the declared speed


def test_rooflines_of_the_catalogue_rank_chips_by_what_binds_the_job():
    """An Ascend 910B computes nearly as fast as an A100 and is far slower between chips; its memory bandwidth nobody has stated."""
    here = [site(chip, chip=chip, figures=figures_of(chips()[chip])) for chip in (ASCEND, A100)]
    found = {bound: matrix([Needs(bound=bound, reference=A100)], here)[0, 0] for bound in ("compute", "memory", "collective")}
    assert 0.9 < found["compute"].speed < 1
    assert found["collective"].speed < 0.05
    assert BASES[int(found["memory"].basis)] == "declared"


@given(st.lists(st.sampled_from(["a/one", "a/two", "b/one", None]), min_size=1, max_size=5), st.sampled_from(["a", "a/one", "b", "c"]))
def test_a_class_that_names_a_chip_is_allowed_only_on_such_chips(held, asked):
    found = matrix([Needs(chips=(asked,))], [site(str(row), chip=chip) for row, chip in enumerate(held)])
    for row, chip in enumerate(held):
        among = chip is not None and (chip + "/").startswith(asked + "/")
        assert (found.rule[0, row] == ALLOWED) == among
        assert (found.speed[0, row] > 0) == among
