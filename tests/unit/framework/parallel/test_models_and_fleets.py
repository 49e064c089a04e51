"""Models by name, by file and by dimensions; fleets from text; what is refused, and with what help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.core.errors import BadFile, BadInput, NotFound
from headwater.framework.parallel.chips import catalogue, find
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.program.model_spec import Block, ModelSpec, decoder
from headwater.framework.program.named import load, named, names


def test_known_models_have_the_parameters_that_their_names_say() -> None:
    billions = {"llama-3-8b": 8.03, "llama-3-70b": 70.55, "llama-3.1-405b": 405.8, "gpt3-175b": 175.2, "mixtral-8x7b": 46.7}
    for name, size in billions.items():
        assert named(name).parameters / 1e9 == pytest.approx(size, rel=0.01), name


def test_every_known_model_is_read_and_an_unknown_one_gets_the_nearest_names() -> None:
    assert all(named(name).layers > 0 for name in names())
    with pytest.raises(NotFound, match="llama-3-70b"):
        named("llama3-70b")


def test_a_hugging_face_configuration_is_read_as_it_is(tmp_path: Path) -> None:
    told = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "max_position_embeddings": 8192,
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    }
    file = tmp_path / "llama-3-70b.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    assert load(str(file)) == named("llama-3-70b")
    assert load(str(file), seq_len=4096).seq_len == 4096


def test_everything_wrong_in_a_model_file_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text('layers = 12\nhidden = "wide"\nffn = 0\nheads = 8\nvocab = 100\nspeed = 3\ngated = 1\n', encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        load(str(file))
    assert {problem.where.split()[-1] for problem in caught.value.problems} == {"hidden", "ffn", "seq_len", "speed", "gated"}


@pytest.mark.parametrize("text", ["[", "[1, 2]", "\udcff"])
def test_a_model_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match="dimensions"):
        load(str(file))


def test_dimensions_that_do_not_fit_together_are_refused_with_the_figures() -> None:
    with pytest.raises(BadInput, match="hidden width of 100 does not divide by 7 heads"):
        decoder(name="odd", layers=2, hidden=100, ffn=400, heads=7, vocab=10, seq_len=16)
    with pytest.raises(BadInput, match="8 heads on 3 key-value heads"):
        decoder(name="odd", layers=2, hidden=64, ffn=128, heads=8, kv_heads=3, vocab=10, seq_len=16)
    with pytest.raises(BadInput, match="uses 3 of 2 experts"):
        decoder(name="odd", layers=2, hidden=64, ffn=128, heads=8, vocab=10, seq_len=16, experts=2, top_k=3)
    with pytest.raises(BadInput, match="0 layers"):
        ModelSpec(name="none", blocks=(Block(count=0, hidden=8, ffn=8),), seq_len=8)


@pytest.mark.parametrize(
    ("text", "chips"),
    [
        ("64xA100-80", ["nvidia/a100/sxm4-80gb"]),
        ("8xnvidia/h200/sxm5-141gb", ["nvidia/h200/sxm5-141gb"]),
        ("2xH100+4xA800-80GB", ["nvidia/h100/sxm5-80gb", "nvidia/a800/sxm4-80gb"]),
    ],
)
def test_a_fleet_is_read_as_people_write_it(text: str, chips: list[str]) -> None:
    assert [pool.chip.id for pool in Fleet.load(text).pools] == chips


def test_a_fleet_may_say_its_own_links_and_price() -> None:
    pool = Fleet.load("16xA100-80/group4/net100/price12.5").pools[0]
    assert (pool.chip.fast_group, pool.chip.network_gb_s, pool.price) == (4, 100.0, 12.5)


def test_an_unknown_chip_is_refused_with_the_nearest_that_are_known() -> None:
    with pytest.raises(NotFound, match="nvidia/h100"):
        Fleet.load("8xH101-80")


def test_a_chip_whose_figures_nobody_has_read_is_refused_with_what_is_lacking() -> None:
    lacking = next(chip_id for chip_id, row in catalogue().items() if "bf16_tflops" not in row and "fp16_tflops" not in row)
    with pytest.raises(BadInput, match="bf16_tflops"):
        find(lacking)


def test_a_name_that_fits_two_chips_is_not_guessed() -> None:
    with pytest.raises(BadInput, match="may be nvidia/a100/sxm4-80gb or nvidia/a100/sxm4-40gb"):
        find("A100")


@pytest.mark.parametrize(
    "text", ["", "A100-80", "0xA100-80", "-1xA100-80", "9999999xA100-80", "8xA100-80/speed3", "8xA100-80+" * 9, "x" * 500]
)
def test_nonsense_is_no_fleet(text: str) -> None:
    with pytest.raises((BadInput, NotFound)):
        Fleet.load(text)
