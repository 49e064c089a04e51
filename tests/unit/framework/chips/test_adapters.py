"""Adapters: one for each vendor of the catalogue, and no two that take one device for theirs."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from headwater.core.errors import NotFound
from headwater.framework.chips.adapter import FORMATS, adapters, here
from headwater.framework.chips.examine import device_named

NAMES = {
    "NVIDIA H100 80GB HBM3": "nvidia",
    "NVIDIA A100-SXM4-80GB": "nvidia",
    "AMD Instinct MI300X": "amd",
    "K100_AI": "hygon",
    "MXC500": "metax",
    "MetaX C550": "metax",
    "Iluvatar BI-V150": "iluvatar",
    "KUNLUN P800 OAM": "kunlunxin",
}


def test_every_vendor_of_the_catalogue_has_an_adapter_for_the_same_torch_device() -> None:
    text = files("headwater").joinpath("compute", "catalogue", "chips.toml").read_text(encoding="utf-8")
    vendors = tomllib.loads(text)["vendor"]
    devices = {one.vendor: one.torch_device for one in adapters()}
    assert {vendor: told["torch_device"] for vendor, told in vendors.items()} == {name: devices[name] for name in devices if name != "cpu"}


@pytest.mark.parametrize("name", NAMES)
def test_a_device_that_answers_to_cuda_is_one_vendors_by_its_own_name(name: str) -> None:
    takers = [one.vendor for one in adapters() if one.torch_device == "cuda" and one.is_its(name)]
    assert takers == [NAMES[name]]


def test_every_format_is_kept_or_becomes_another_for_a_reason() -> None:
    for one in adapters():
        told = one.dtypes()
        assert set(told) == set(FORMATS), one.vendor
        for name, fate in told.items():
            assert fate.becomes == name or (fate.why and told[fate.becomes].becomes == fate.becomes), (one.vendor, name)


def test_a_chip_is_known_by_its_devices_name_and_memory_and_never_guessed() -> None:
    (nvidia,) = [one for one in adapters() if one.vendor == "nvidia"]
    assert nvidia.chip_of("NVIDIA H100 80GB HBM3") == "nvidia/h100/sxm5-80gb"
    assert nvidia.chip_of("NVIDIA A100-SXM4-80GB", 79.3) == "nvidia/a100/sxm4-80gb"
    assert nvidia.chip_of("NVIDIA A100-SXM4-40GB", 39.4) == "nvidia/a100/sxm4-40gb"
    assert nvidia.chip_of("NVIDIA A100") is None
    assert nvidia.chip_of("NVIDIA Quadro 400") is None


def test_the_processor_is_always_here_and_last() -> None:
    adapter, device = here()[-1]
    assert (adapter.vendor, device.torch_device) == ("cpu", "cpu")
    assert device.memory_gib is not None
    assert device.memory_gib > 0


def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    with pytest.raises(NotFound, match=r"no device 'npu:7' here.*cpu"):
        device_named("npu:7")
