"""The probe of the machine it runs on."""

from __future__ import annotations

import tomllib

import pytest

from headwater.compute.catalogue import probe
from headwater.compute.catalogue.chips import FIGURES, chips
from headwater.core.errors import BadInput

pytest.importorskip("torch")


class SteadyTimer:
    """A clock that moves half a second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


def test_the_cpu_is_always_probed_and_gives_figures_of_the_catalogue():
    found = probe.probe("cpu", seconds_each=0.01)
    assert {"memory_gib", "fp32_tflops", "memory_bandwidth_gb_s"} <= set(found.figures) <= set(FIGURES)
    assert all(figure.value > 0 and figure.confidence == "measured" for figure in found.figures.values())


def test_the_rate_is_the_work_over_the_time():
    tflops = probe.matrix_tflops("cpu", "float32", 0.1, timer=SteadyTimer())
    assert tflops == pytest.approx(2 * probe.SMALLEST**3 / 0.5 / 1e12)


def test_its_lines_can_be_put_into_a_catalogue():
    found = probe.probe("cpu", seconds_each=0.01)
    assert tomllib.loads(found.toml())["fp32_tflops"]["confidence"] == "measured"


def test_absent_devices_are_skipped_with_a_reason():
    here, skipped = probe.devices(chips())
    assert here[-1] == "cpu"
    assert {one.what for one in skipped} | set(here) == {chip.software.torch_device for chip in chips()} | {"cpu"}
    assert all(one.reason for one in skipped)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(BadInput, match="cannot be used"):
        probe.probe("npu")
