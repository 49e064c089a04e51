"""The suite tells what works, what differs and what is refused; it must catch a device that computes wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from headwater.framework.chips import collectives, rules
from headwater.framework.chips.adapter import Adapter, Device, Gap
from headwater.framework.chips.calibrate import best, measured
from headwater.framework.chips.conformance import conformance
from headwater.framework.chips.operators import OPERATORS, Operator
from headwater.framework.chips.vendors.cpu import ADAPTER

CPU = Device(torch_device="cpu", name="this")


def test_every_operator_and_gradient_works_here_in_full_precision() -> None:
    told = conformance(CPU)
    plain = [one for one in told if one.dtype in ("fp64", "fp32", "int64", "int32")]
    assert [one for one in plain if one.verdict != "works"] == []
    assert {one.name for one in plain if one.kind == "operator"} == {one.name for one in OPERATORS}


def test_an_operator_that_computes_wrongly_in_one_format_is_told_with_how_far_it_is_off() -> None:
    def coarse(_: Any, make: Any) -> Any:
        given = make(8, 8)
        return given * 1.1 if given.dtype == torch.bfloat16 else given

    told = conformance(CPU, [Operator(name="coarse", run=coarse)])
    (wrong,) = [one for one in told if one.verdict == "differs"]
    assert (wrong.name, wrong.dtype) == ("coarse", "bf16")
    assert wrong.error == pytest.approx(0.1, rel=0.1)


def test_an_operator_that_is_absent_is_told_in_the_devices_own_words() -> None:
    def absent(torch: Any, make: Any) -> Any:
        raise NotImplementedError("aten::absent is not implemented for this device\nand a long trace")

    told = conformance(CPU, [Operator(name="absent", run=absent)])
    assert {(one.verdict, one.said) for one in told if one.name == "absent"} == {
        ("refused", "aten::absent is not implemented for this device")
    }


def test_numbers_that_are_none_never_count_as_right() -> None:
    told = conformance(CPU, [Operator(name="nan", run=lambda _, make: make(4) * float("nan"))])
    assert {one.verdict for one in told if one.name == "nan"} == {"differs"}


def test_collectives_of_three_processes_give_the_right_numbers_and_a_rate() -> None:
    outcomes, rates = collectives.run("gloo", "cpu", ranks=3)
    assert {one.verdict for one in outcomes} == {"works"}
    assert {one.name for one in outcomes} == set(collectives.CALLS)
    assert all(rate > 0 for rate in rates.values())


def test_ladders_measure_only_formats_that_the_device_keeps() -> None:
    figures = measured(CPU, ADAPTER.dtypes(), seconds=0.05)
    kept = {name for name, told in ADAPTER.dtypes().items() if told.becomes == name}
    assert {one.dtype for one in figures if one.name == "matmul"} == kept - {"fp8"}
    assert all(one.least <= one.value <= one.most and one.repeats >= 3 for one in figures)
    assert (best(figures, "matmul", "fp32") or 0) > 0
    assert best(figures, "matmul", "fp8") is None


@pytest.fixture
def alone() -> Iterator[None]:
    """Give a process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_vendors_operator_is_refused_by_dtensor_until_its_rule_is_added(alone: None) -> None:
    @torch.library.custom_op("headwater_test::cast", mutates_args=())
    def cast(given: torch.Tensor) -> torch.Tensor:
        return given.double()

    cast.register_fake(lambda given: torch.empty_like(given, dtype=torch.float64))
    sharded = distribute_tensor(torch.arange(6.0).reshape(3, 2), init_device_mesh("cpu", (1,)), [Shard(0)])
    with pytest.raises(NotImplementedError):
        torch.ops.headwater_test.cast(sharded)
    gap = Gap(what="no rule", instead="this one", source="here", pointwise="headwater_test::cast")
    absent = Gap(what="no rule", instead="this one", source="here", pointwise="headwater_test::absent")
    assert rules.install(Adapter(vendor="v", torch_device="cpu", collective="gloo", gaps=(gap, absent))) == ("headwater_test::cast",)
    done = torch.ops.headwater_test.cast(sharded)
    assert done.placements == (Shard(0),)
    assert done.full_tensor().dtype == torch.float64
