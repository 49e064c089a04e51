"""A folder that vLLM and every reader of Hugging Face's form can load: configuration, safetensors, tokenizer.

The trainer's decoder is laid out as LLaMA's: same rotation, norm and gate, so its weights carry over as they are. vLLM itself was not
run here: what was checked is that `transformers` loads the folder and gives the same logits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput
from headwater.framework.runtimes.runtime import Ask, Runtime

if TYPE_CHECKING:
    from torch import Tensor

    from headwater.framework.program.frozen import Program

LONGEST = 4096
ENDS = (("embed.weight", ("model.embed_tokens.weight",)), ("norm.weight", ("model.norm.weight",)), ("head.weight", ("lm_head.weight",)))
LAYER = (
    ("attention.qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    ("attention.out", ("self_attn.o_proj",)),
    ("gate_up", ("mlp.gate_proj", "mlp.up_proj")),
    ("down", ("mlp.down_proj",)),
    ("norm", ("input_layernorm",)),
    ("norm_after", ("post_attention_layernorm",)),
)
"""A layer's weights by name here, and the parts that LLaMA has them in."""


def build(program: Program, folder: Path) -> None:
    """Write `config.json`, `model.safetensors`, `tokenizer.json` and its configuration. Raises BadInput for another kind of model."""
    from safetensors.torch import save_file

    from headwater.framework.training.tasks.language import Decoder, without_lora

    model = program.model
    if not isinstance(model, Decoder):
        kind = type(model).__name__ if model is not None else "program without its module"
        raise BadInput(f"A {kind} is no decoder.", "vLLM serves language models: train one with framework.train_text.")
    told = without_lora(model)
    assert isinstance(told, Decoder)
    (folder / "config.json").write_text(json.dumps(configuration(told), indent=1) + "\n", encoding="utf-8")
    save_file(weights(told), folder / "model.safetensors", metadata={"format": "pt"})
    for name, value in tokenizer().items():
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def configuration(model: Any) -> dict[str, Any]:
    """Return the configuration of the same model as a LLaMA."""
    import torch

    shape = model.shape
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": 2 * shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "vocab_size": 256,
        "max_position_embeddings": LONGEST,
        "rms_norm_eps": torch.finfo(torch.float32).eps,
        "rope_theta": 10_000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
        "bos_token_id": 10,
        "eos_token_id": 0,
    }


def names(layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each weight's name here, and the names of the parts that it is cut into there."""
    yield from ENDS
    for place in range(layers):
        for here, there in LAYER:
            yield f"blocks.{place}.{here}.weight", tuple(f"model.layers.{place}.{one}.weight" for one in there)


def weights(model: Any) -> dict[str, Tensor]:
    """Return the weights under the names that LLaMA's have; what is one matrix here and several there is cut."""
    state = model.state_dict()
    cut = [zip(there, state[here].chunk(len(there)), strict=True) for here, there in names(model.shape.layers)]
    return {name: part.contiguous().clone() for parts in cut for name, part in parts}


def tokenizer() -> dict[str, Any]:
    """Return the files of a tokenizer whose tokens are bytes, each with its own value as id."""
    vocabulary = {letter: byte for byte, letter in enumerate(letters())}
    whole: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    return {"tokenizer.json": whole, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LONGEST}}


def letters() -> list[str]:
    """Return the letter by which byte-level tokenizers write each byte: itself where it prints, else one from 256 on (GPT-2)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    strange = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(strange)) for byte in range(256)]


def open_folder(folder: Path) -> Ask:
    """Return a function that gives logits with the weights in a folder, read by this project's own decoder."""
    import torch
    from safetensors.torch import load_file

    from headwater.framework.training.tasks.language import Decoder, Shape

    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Decoder(Shape(layers=told["num_hidden_layers"], width=told["hidden_size"], heads=told["num_attention_heads"])).eval()
    found = load_file(folder / "model.safetensors")
    state = {here: torch.cat([found[one] for one in there]) for here, there in names(told["num_hidden_layers"])}
    model.load_state_dict(state)

    def ask(*arrays: Any) -> Any:
        with torch.inference_mode():
            return [model(torch.from_numpy(arrays[0])).numpy()]

    return ask


RUNTIME = Runtime(name="vllm", build=build, open=open_folder, extra="language")
