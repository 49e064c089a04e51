"""A program is handed on in each form, answers as the eager module did, and is not run once a file was changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headwater.core.errors import BadInput, Broken, GateClosed, NotFound
from headwater.framework.program.frozen import Program, freeze
from headwater.framework.runtimes.runtime import deploy, load
from headwater.framework.runtimes.vllm import letters
from headwater.framework.training.tasks.language import Decoder, Shape
from tests.unit.framework.program.modules import Graphs, Perceptron

NEEDS = {"openvino": "openvino", "aoti": "torch", "onnx": "onnxruntime", "vllm": "safetensors"}


@pytest.fixture(scope="module")
def decoder() -> Program:
    torch.manual_seed(0)
    model = Decoder(Shape(layers=2, width=32, heads=2, window=32))
    return freeze(model, [torch.randint(0, 256, (2, 12))], dynamic=[{0: ("n", 1, 8), 1: ("t", 2, 64)}])


@pytest.mark.parametrize("to", NEEDS)
def test_each_form_answers_as_the_eager_module(to: str, decoder: Program, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS[to])
    if to == "aoti" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    form = deploy(decoder, to, tmp_path / to)
    assert form.cosine > 0.9999
    tokens = torch.randint(0, 256, (3, 20))
    (found,) = load(tmp_path / to).run(tokens.numpy())
    assert decoder.model is not None
    with torch.no_grad():
        np.testing.assert_allclose(found, decoder.model(tokens).numpy(), atol=1e-5)


def test_a_model_of_several_inputs_keeps_their_order_and_a_form_that_lacks_an_operator_names_it(tmp_path: Path) -> None:
    model, example = Graphs().eval(), [torch.rand(7, 5), torch.randint(0, 7, (2, 12))]
    program = freeze(model, example, dynamic=[{0: ("nodes", 2, 99)}, {1: ("edges", 2, 99)}])
    deploy(program, "onnx", tmp_path / "g")
    pytest.importorskip("openvino")
    with pytest.raises(BadInput, match=r"into the form 'openvino': .*aten\.index_add"):
        deploy(program, "openvino", tmp_path / "o")
    nodes, edges = torch.rand(4, 5), torch.randint(0, 4, (2, 3))
    with torch.no_grad():
        np.testing.assert_allclose(load(tmp_path / "g").run(nodes.numpy(), edges.numpy())[0], model(nodes, edges).numpy(), atol=1e-5)


def test_transformers_reads_the_folder_for_vllm_and_gives_the_same_logits(decoder: Program, tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    deploy(decoder, "vllm", tmp_path / "v")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "v")
    tokens = torch.randint(0, 256, (2, 16))
    assert decoder.model is not None
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, decoder.model(tokens), rtol=1e-4, atol=1e-5)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "v")
    text = "水 from the hills\n"
    assert reader(text)["input_ids"] == list(text.encode())
    assert reader.decode(list(text.encode())) == text
    assert len(set(letters())) == 256


def test_a_changed_file_an_unknown_form_and_a_wrong_model_are_refused(decoder: Program, tmp_path: Path) -> None:
    deploy(decoder, "onnx", tmp_path / "m")
    with (tmp_path / "m" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Broken, match=r"not as they were written: model\.onnx"):
        load(tmp_path / "m")
    with pytest.raises(BadInput, match="no deployed model"):
        load(tmp_path / "nothing")
    with pytest.raises(NotFound, match="There is no runtime 'tflite'"):
        deploy(decoder, "tflite", tmp_path / "t")
    with pytest.raises(BadInput, match="something there"):
        deploy(decoder, "onnx", tmp_path / "m")
    with pytest.raises(BadInput, match="A Perceptron is no decoder"):
        deploy(freeze(Perceptron(), [torch.rand(2, 6)]), "vllm", tmp_path / "p")


def test_a_form_that_answers_otherwise_leaves_nothing_behind(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(GateClosed, match="differs from the eager module"):
        deploy(freeze(Perceptron(), [torch.rand(2, 6)]), "onnx", tmp_path / "m", tolerance=-1.0)
    assert list(tmp_path.iterdir()) == []
