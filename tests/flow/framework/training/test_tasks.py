"""Each kind of model learns what there is to learn, and files that do not fit are refused with the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from headwater.core.errors import BadInput, Unavailable
from headwater.framework.training import constrained
from headwater.framework.training.course import Course
from headwater.framework.training.generated import KINDS, shapes, town
from headwater.framework.training.tasks.images import Images
from headwater.framework.training.tasks.knowledge import Links
from headwater.framework.training.tasks.language import Decoder, Language, Shape, generate, load, save, with_lora, without_lora
from headwater.framework.training.tasks.pairs import Pairs
from headwater.framework.training.trainer import Trained, train


def trained(task: Any, steps: int, rate: float = 0.003) -> Trained:
    return train(task, Course(steps=steps, batch=64, micro=64, learning_rate=rate, evaluate_every=steps, checkpoint_every=steps))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    shapes(folder, 400, seed=1)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_examples_depend_on_the_seed_alone(kind: str, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> dict[str, bytes]:
        KINDS[kind](tmp_path / name, 30, seed)
        return {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}

    assert made("a", 1) == made("b", 1)
    assert made("c", 2) != made("b", 1)


def test_a_network_tells_pictures_apart(pictures: Path) -> None:
    assert trained(Images(pictures, side=24, width=16, seed=0), 120).curve[-1].measures["accuracy"] > 0.7


def test_pictures_find_their_captions(pictures: Path) -> None:
    measures = trained(Pairs(pictures, side=24, width=16, seed=0), 150).curve[-1].measures
    assert measures["recall_at_1"] > 5 / measures["choices"]


def test_words_about_entities_tell_what_the_graph_does_not(tmp_path: Path) -> None:
    town(tmp_path, 200, seed=1)
    hits = {
        read: trained(Links(tmp_path, dimensions=48, read=read, seed=0), 150, 0.01).curve[-1].measures["hits_at_1"]
        for read in (True, False)
    }
    assert hits[True] > hits[False] + 0.05


TEXT = b"one two three four five six seven eight nine ten. " * 80


def test_lora_learns_a_second_text_by_few_weights_and_merges_to_the_same_answers() -> None:
    shape = Shape(layers=2, width=32, heads=2, window=32)
    base = trained(Language(TEXT, shape, seed=0), 40, 0.01).model
    second = Language(b"ten nine eight seven six five four three two one. " * 80, shape, seed=0, base=base, rank=4)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    adapted = trained(second, 60, 0.02)
    weights = [one for one in adapted.model.parameters() if one.requires_grad]
    assert sum(one.numel() for one in weights) < 0.4 * sum(one.numel() for one in base.parameters())
    with torch.no_grad():
        start = second.evaluate(with_lora(_copy(base, shape), 4, 8.0), "cpu")["loss"]
    assert adapted.curve[-1].measures["loss"] < start / 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    tokens = torch.randint(0, 256, (2, 16))
    with torch.no_grad():
        corrected = adapted.model(tokens)
        torch.testing.assert_close(without_lora(adapted.model)(tokens), corrected, rtol=1e-4, atol=1e-4)


def _copy(base: torch.nn.Module, shape: Shape) -> Decoder:
    made = Decoder(shape)
    made.load_state_dict(base.state_dict())
    return made


def test_a_decoder_is_saved_and_read_again_and_writes_what_it_learned(tmp_path: Path) -> None:
    shape = Shape(layers=2, width=32, heads=2, window=32)
    model = trained(Language(TEXT, shape, seed=0), 150, 0.01).model
    assert isinstance(model, Decoder)
    save(tmp_path / "m", model)
    again = load(tmp_path / "m")
    assert generate(again, b"one two three f", 12, window=32) == b"our five six"
    (tmp_path / "m" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match="No decoder can be read"):
        load(tmp_path / "m")


def test_text_stays_within_a_schema_even_where_nothing_was_learned() -> None:
    pytest.importorskip("xgrammar")
    import json

    torch.manual_seed(0)
    model = Decoder(Shape(layers=1, width=16, heads=2)).eval()
    properties = {"kind": {"enum": ["tree", "river"]}, "count": {"type": "integer", "minimum": 1, "maximum": 99}}
    schema = {"type": "object", "properties": properties, "required": ["kind", "count"], "additionalProperties": False}
    for seed in range(5):
        rules = constrained.rules(schema=schema, grammar=None)
        told = json.loads(generate(model, b"", 300, window=64, temperature=1.0, seed=seed, rules=rules))
        assert told["kind"] in ("tree", "river")
        assert 1 <= told["count"] <= 99
    assert generate(model, b"", 50, window=64, rules=constrained.rules(schema=None, grammar='root ::= "yes" | "no"')) in (b"yes", b"no")


def test_rules_that_cannot_be_read_and_both_at_once_are_refused() -> None:
    with pytest.raises(BadInput, match="Both"):
        constrained.rules(schema={}, grammar="root ::= 'a'")
    pytest.importorskip("xgrammar")
    with pytest.raises(BadInput, match="grammar cannot be read"):
        constrained.rules(schema=None, grammar="root = nothing (")


def test_without_xgrammar_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "xgrammar", None)
    with pytest.raises(Unavailable, match=r"headwater\[language\]"):
        constrained.rules(schema={"type": "object"}, grammar=None)


def test_files_that_do_not_fit_are_refused_with_the_line(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(BadInput, match="0 pictures of 0 classes"):
        Images(tmp_path, side=24, width=8, seed=0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"x\.png: This is no picture"):
        Images(tmp_path, side=24, width=8, seed=0)
    (tmp_path / "captions.tsv").write_text("../outside.png\ta picture\n")
    with pytest.raises(BadInput, match=r"captions\.tsv:1.*names no picture"):
        Pairs(tmp_path, side=24, width=8, seed=0)
    (tmp_path / "entities.tsv").write_text("a\tan entity\n")
    (tmp_path / "triples.tsv").write_text("a\tknows\tb\n")
    with pytest.raises(BadInput, match=r"triples\.tsv:1: 'b' is no entity"):
        Links(tmp_path, dimensions=8, read=True, seed=0)
    (tmp_path / "triples.tsv").write_text("a\tknows\n")
    with pytest.raises(BadInput, match=r"triples\.tsv:1.*has 2 columns"):
        Links(tmp_path, dimensions=8, read=True, seed=0)
    with pytest.raises(BadInput, match="Width 30 and 4 heads"):
        Language(TEXT, Shape(width=30, heads=4), seed=0)
