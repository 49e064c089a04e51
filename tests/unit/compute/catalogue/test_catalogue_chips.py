"""The chip catalogue: what ships, and how a bad file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.compute.catalogue.chips import FIGURES, SHIPPED, chips
from headwater.compute.catalogue.figures import Figure, Unknown, best
from headwater.core.errors import BadInput, NotFound, Unavailable

VENDORS = {"nvidia", "huawei", "cambricon", "hygon", "kunlunxin", "moorethreads", "metax", "enflame", "biren", "iluvatar", "amd"}

GOOD = """
schema = "headwater.chips/1"
version = "t"
[vendor.v]
torch_device = "cuda"
query_command = "q"
visible_devices = "V_VISIBLE"
kubernetes_resource = "v.com/gpu"
source = "s"
[[chip]]
vendor = "v"
model = "m"
name = "V M"
slurm_gres = "gpu:m"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "chips.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_vendor_of_the_pool_is_there():
    assert {chip.vendor for chip in chips()} == VENDORS


def test_every_figure_is_positive_and_has_a_source_and_is_claimed_or_measured():
    for chip in chips():
        for name in FIGURES:
            for figure in chip.all(name):
                assert figure.value > 0
                assert figure.source.strip()
                assert figure.confidence in ("claimed", "measured")


def test_no_peak_is_a_sparse_one():
    """Sparse tables double the dense peak: 624 for the A100's BF16, 1979 for the H100's."""
    assert {f.value for f in chips()["nvidia/a100/sxm4-80gb"].all("bf16_tflops")} == {312}
    assert {f.value for f in chips()["nvidia/h100/sxm5-80gb"].all("bf16_tflops")} == {989}


def test_a_measured_figure_goes_before_a_claimed_one():
    figure = chips()["nvidia/a100/sxm4-40gb"].figure("bf16_tflops")
    assert isinstance(figure, Figure)
    assert (figure.value, figure.confidence) == (259.2, "measured")


def test_of_two_claims_the_lower_is_used_and_the_dispute_shows():
    chip = chips()["biren/br100"]
    figure = chip.figure("memory_bandwidth_gb_s")
    assert isinstance(figure, Figure)
    assert figure.value == 1640
    assert chip.is_disputed("memory_bandwidth_gb_s")


def test_an_unread_figure_is_unknown_and_says_of_what():
    figure = chips()["biren/br166"].figure("power_w")
    assert isinstance(figure, Unknown)
    assert "power_w of biren/br166" in figure.reason


def test_four_domestic_vendors_answer_to_torch_cuda_so_a_device_names_no_chip():
    vendors = {chip.vendor for chip in chips() if chip.software.torch_device == "cuda"}
    assert {"hygon", "kunlunxin", "metax", "iluvatar"} <= vendors


def test_ascend_variants_have_resources_of_their_own():
    names = {chip.software.kubernetes_resource for chip in chips() if chip.vendor == "huawei"}
    assert {"huawei.com/Ascend910B2", "huawei.com/Ascend910B3", "huawei.com/Ascend910B4", "huawei.com/Ascend910B4-1"} <= names


def test_a_wrong_id_is_answered_with_near_ones():
    with pytest.raises(NotFound, match="huawei/ascend910b/b3"):
        chips()["huawei/ascend910b3"]


def test_a_wrong_figure_name_lists_the_known_ones():
    with pytest.raises(NotFound, match="bf16_tflops"):
        chips()["nvidia/t4/pcie"].figure("flops")


def test_all_problems_of_a_file_come_at_once_with_their_places(tmp_path):
    bad = (
        GOOD
        + """
fp16_tflops = { value = 0, source = "s", confidence = "claimed" }
power_w = { value = "300", source = "s", confidence = "claimed" }
memory_gib = { value = 8, source = "s", confidence = "guessed" }
tflops = 1
"""
    )
    with pytest.raises(BadInput) as refused:
        chips(written(tmp_path, bad))
    text = str(refused.value)
    for place in ("fp16_tflops[0] value", "power_w[0] value", "memory_gib[0] confidence", "tflops"):
        assert f"chip[0] 'V M' {place}" in text
    assert len(refused.value.problems) == 4


def test_a_chip_twice_and_a_vendor_without_a_table_are_refused(tmp_path):
    bad = GOOD + '[[chip]]\nvendor = "v"\nmodel = "m"\nname = "again"\nslurm_gres = "gpu:m"\n'
    bad += '[[chip]]\nvendor = "w"\nmodel = "m"\nname = "lost"\nslurm_gres = "gpu:m"\n'
    with pytest.raises(BadInput, match=r"(?s)v/m is already chip\[0\].*No \[vendor.w\]"):
        chips(written(tmp_path, bad))


def test_an_assumed_figure_has_no_place_among_chips(tmp_path):
    bad = GOOD + 'power_w = { value = 300, source = "s", confidence = "assumed" }\n'
    with pytest.raises(BadInput, match="claimed or measured"):
        chips(written(tmp_path, bad))


def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path):
    with pytest.raises(BadInput, match="line 2"):
        chips(written(tmp_path, 'schema = "headwater.chips/1"\nversion = \n'))


def test_a_missing_file_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="Cannot read"):
        chips(tmp_path / "none.toml")


def test_the_shipped_file_lies_beside_the_code():
    assert SHIPPED.is_file()


def test_best_of_nothing_is_unknown():
    assert best((), reason="why") == Unknown(reason="why")
